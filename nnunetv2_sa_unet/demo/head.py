"""One head: the anatomy under a random deformation, sampled on the grid of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunetv2_sa_unet.demo.anatomy import Anatomy, Floats

__all__ = ["Head", "deformed_head", "smooth_noise"]


_AIR = 20.0  # mm from the brain's hull, beyond the scalp


@dataclass(frozen=True)
class Head:
    """One deformed head on the fine grid: position in MNI152 space (3, z, y, x), maps as in ``Anatomy``.

    ``csf``, ``grey`` and ``white`` are fractions; CSF includes the ventricles.
    """

    position: Floats
    csf: Floats
    grey: Floats
    white: Floats
    to_white: Floats
    to_ventricles: Floats
    to_brain: Floats
    to_hull: Floats


def deformed_head(
    anatomy: Anatomy,
    shape: tuple[int, int, int],
    centre: tuple[float, float, float],
    tilt: float,
    rng: np.random.Generator,
) -> Head:
    """Sample the anatomy under a random deformation.

    Args:
        anatomy: what to deform: by some degrees, per cent and millimetres, smoothly, with wider ventricles.
        shape: samples of the grid (z, y, x), 1 mm apart.
        centre: of the grid, in MNI152 space (z, y, x).
        tilt: of the grid about the x axis, in rad.
        rng: of the deformation.
    """
    turn = np.deg2rad(rng.uniform(-5, 5, 3)) + np.array([tilt, 0, 0])
    stretch = np.diag(1 / rng.uniform(0.94, 1.04, 3))
    matrix = (stretch @ _rotation(turn)).astype(np.float32)
    shift = rng.uniform(-3, 3, 3)
    offsets = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*offsets, indexing="ij"))
    position = np.tensordot(matrix, grid, axes=1)
    for axis in range(3):
        position[axis] += centre[axis] + shift[axis]
        position[axis] += 1.8 * smooth_noise(rng, shape, 14) + 0.5 * smooth_noise(rng, shape, 5)

    # Ventricles widen with age: a point beside them reads the anatomy nearer to them. That shift is smooth,
    # so every other sample is enough to compute it.
    distance = _sample(anatomy.to_ventricles, position[:, ::2, ::2, ::2], anatomy.origin)
    pull = rng.uniform(1.0, 3.5) * np.exp(-np.abs(distance) / 9)
    for axis, gradient in enumerate(np.gradient(distance, 2.0)):
        position[axis] -= _upsample(pull * gradient, shape, (2.0, 2.0, 2.0))

    maps = {"to_hull": _sample(anatomy.to_hull, position[:, ::2, ::2, ::2], anatomy.origin)}
    maps["to_hull"] = _upsample(maps["to_hull"], shape, (2.0, 2.0, 2.0))
    # Nothing in the air needs more than its distance to the head: most time goes into these samples.
    near = maps["to_hull"] < _AIR
    for name, far in (("csf", 0), ("to_white", _AIR), ("to_ventricles", _AIR), ("to_brain", _AIR)):
        maps[name] = np.full(shape, far, np.float32)
        maps[name][near] = _sample(getattr(anatomy, name), position[:, near], anatomy.origin)
    ventricles = _inside(maps["to_ventricles"])
    white = np.clip(_inside(maps["to_white"]) - ventricles, 0, 1)
    csf = np.maximum(np.minimum(maps.pop("csf"), 1 - white), ventricles)
    grey = np.clip(_inside(maps["to_brain"]) - white - csf, 0, 1)
    return Head(position=position, csf=csf, grey=grey, white=white, **maps)


def _rotation(angles: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rotation matrix for (z, y, x) vectors, angles in rad about the x, y and z axes in turn."""
    about_x, about_y, about_z = np.asarray(angles, np.float64)
    matrix = np.eye(3)
    for (first, second), angle in (((0, 1), about_x), ((0, 2), about_y), ((1, 2), about_z)):
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


def _sample(values: Floats, position: Floats, origin: tuple[float, float, float]) -> Floats:
    """Linear interpolation at positions in mm; outside of ``values`` their nearest voxel."""
    index = position - np.array(origin, np.float32).reshape(3, *[1] * (position.ndim - 1))
    sampled: Floats = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    return sampled


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    width: float,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Floats:
    """Gaussian noise of mean 0 and deviation 1, smooth over ``width`` mm (the deviation of its kernel)."""
    # Made on a grid as coarse as the smoothness allows, then interpolated.
    step = [max(1.0, width / (2 * edge)) for edge in spacing]
    coarse = [int(np.ceil(n / s)) + 2 for n, s in zip(shape, step, strict=True)]
    sigma = [width / (s * edge) for s, edge in zip(step, spacing, strict=True)]
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse, np.float32), sigma, mode="wrap")
    return _upsample((noise - noise.mean()) / noise.std(), shape, step)


def _upsample(coarse: Floats, shape: tuple[int, ...], step: Sequence[float]) -> Floats:
    """Linear interpolation of samples that lie ``step`` voxels apart, first on first."""
    for axis, (size, distance) in enumerate(zip(shape, step, strict=True)):
        place = np.minimum(np.arange(size, dtype=np.float32) / np.float32(distance), coarse.shape[axis] - 1)
        below = np.minimum(place.astype(int), coarse.shape[axis] - 2)
        extent = [1, 1, 1]
        extent[axis] = size
        weight = (place - below).astype(np.float32).reshape(extent)
        low = np.take(coarse, below, axis)
        coarse = low + weight * (np.take(coarse, below + 1, axis) - low)
    return coarse


def _inside(distance: Floats) -> Floats:
    """Fraction of a voxel that is inside a surface at this signed distance (mm)."""
    fraction: Floats = np.clip(0.5 - distance, 0, 1)
    return fraction
