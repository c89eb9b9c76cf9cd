"""Synthetic FLAIR volumes with labelled white matter hyperintensities, for trying the software.

A head is the embedded tissue map under a random affine and elastic deformation with widened ventricles, seen
by a simulated 2D FLAIR sequence: contrasts of FLAIR, slices thicker than their pixels with partial volume, a
bias field, Rician noise. It resembles a FLAIR volume enough to train a network within minutes; it carries no
physics of the sequence and no statistics of any population, and nothing measured on it holds for patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage, special
from scipy.spatial.transform import Rotation

from nnunetv2_sa_unet.demo.anatomy import Floats, load_anatomy
from nnunetv2_sa_unet.demo.head import Head, deformed_head, smooth_noise
from nnunetv2_sa_unet.errors import InputError

__all__ = ["SHAPE", "SPACING", "SyntheticCase", "Visit", "make_case", "make_visits"]

SHAPE = (42, 224, 192)
"""Voxels of a volume (z, y, x)."""
SPACING = (3.0, 1.0, 1.0)
"""Edges of a voxel in mm (z, y, x)."""
_FINE = 3  # samples through a slice, so a sample is 1 mm long along every axis
_CENTRE = (22.0, -18.0, 0.0)  # of the volume, in MNI152 space (z, y, x): from the brain stem to the vertex

# Brightness relative to white matter.
_CSF, _WHITE, _GREY = 0.16, 1.0, 1.17
_RIM = 0.35  # added at the ventricles' wall, fading over _RIM_WIDTH mm
_RIM_WIDTH = 1.3
_LESION = (0.5, 0.85)  # added at most in a lesion, uniform between these
_LESION_EDGE = 0.7  # mm over which a lesion fades
_BONE, _MARROW, _FAT, _BELOW_BRAIN = 0.1, 0.35, 1.9, 0.3
# Layers outside of the brain, mm from its hull: CSF, bone, marrow, bone, scalp, air.
_LAYERS = (2.5, 4.5, 7.5, 9.0, 14.5)

# The scan; brightness relative to white matter, random values uniform between the two given.
_TILT = (-0.15, 0.15)  # rad
_BLUR = (0.8, 0.55, 0.55)  # deviation in mm (z, y, x), beside the averaging through the slice
_BIAS = 0.12  # deviation of the logarithm of the bias field
_NOISE = (0.025, 0.045)  # deviation of each channel
_GAIN = (250, 900)

_FAR = 10.0  # mm: a voxel so far from all lesions is far enough


@dataclass(frozen=True)
class SyntheticCase:
    """A volume, its labels (0 background, 1 WMH, 2 other), both with the same geometry.

    Attributes:
        image: int16.
        label: uint8.
    """

    image: SimpleITK.Image
    label: SimpleITK.Image


def make_case(seed: int | Sequence[int], lesion_load: float, others: int = 0) -> SyntheticCase:
    """Make one head; the same arguments make the same voxels.

    Args:
        seed: of everything random about the case.
        lesion_load: volume of label 1 in ml. Met within one voxel (0.003 ml).
        others: how many cortical lesions of label 2 (old infarcts: a bright margin around a dark core).

    Raises:
        InputError: the lesion load is negative or more than the white matter holds.
    """
    if not 0 <= lesion_load < np.inf:
        raise InputError(f"lesion load: {lesion_load} ml, expected 0 or more")
    rng = np.random.default_rng(seed)
    fine = (SHAPE[0] * _FINE, *SHAPE[1:])
    tilt = rng.uniform(*_TILT)
    head = deformed_head(load_anatomy(), fine, _CENTRE, tilt, rng)

    infarct, core = _infarcts(head, others, rng)
    score = _lesion_score(head, lesion_load, rng)
    score[infarct > 0] = -np.inf
    label = (_middle(infarct) > 0).astype(np.uint8) * np.uint8(2)
    middle = _middle(score)
    middle[label > 0] = -np.inf
    threshold = _threshold(middle, lesion_load)
    label[middle >= threshold] = 1

    signal = _signal(head, score - threshold, infarct, core, rng)
    image = _acquire(signal, rng)
    return SyntheticCase(_with_geometry(image, tilt), _with_geometry(label, tilt))


@dataclass(frozen=True)
class Visit:
    """How a head is seen at a visit.

    Attributes:
        lesion_load: volume of label 1 in ml.
        turn: of the head in degrees, about the x, the y and the z axis in turn.
        shift: of the head in mm (z, y, x).
    """

    lesion_load: float
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


def make_visits(seed: int, visits: Sequence[Visit]) -> list[SyntheticCase]:
    """Make one head, scanned again at each visit: another position, noise, bias field and gain, and other lesions.

    Lesions of a larger load are those of a smaller one, grown, and some more. The same arguments make the same voxels.

    Args:
        seed: of everything random.
        visits: one or more.

    Raises:
        InputError: a lesion load is more than the white matter holds.
    """
    rng = np.random.default_rng(seed)
    head = deformed_head(load_anatomy(), (SHAPE[0] * _FINE, *SHAPE[1:]), _CENTRE, 0.0, rng)
    infarct, core = _infarcts(head, 0, rng)
    score = _lesion_score(head, max(visit.lesion_load for visit in visits), rng)
    made = []
    for number, visit in enumerate(visits):
        threshold = _threshold(_middle(score), visit.lesion_load)
        # The texture of the tissue is the head's, and the noise the scan's.
        signal = _signal(head, score - threshold, infarct, core, np.random.default_rng((seed, 1)))
        image = _acquire(_moved(signal, visit, 3).clip(0), np.random.default_rng((seed, 2, number)))
        label = (_middle(_moved(score.clip(-_FAR), visit, 1)) >= threshold).astype(np.uint8)
        made.append(SyntheticCase(_with_geometry(image, 0.0), _with_geometry(label, 0.0)))
    return made


def _moved(fine: Floats, visit: Visit, order: int) -> Floats:
    """A map of the fine grid where the head was moved on it, interpolated by splines of an order."""
    # The maps have their axes in the other order.
    back = Rotation.from_euler("xyz", visit.turn, degrees=True).as_matrix().T[::-1, ::-1]
    centre = (np.array(fine.shape) - 1) / 2
    moved: Floats = ndimage.affine_transform(
        fine, back, centre - back @ (centre + visit.shift), order=order, mode="nearest"
    )
    return moved


def _lesion_score(head: Head, lesion_load: float, rng: np.random.Generator) -> Floats:
    """Millimetres by which a voxel lies inside a lesion, up to a common growth of all lesions.

    Periventricular lesions reach outwards from the ventricles, furthest at the horns (caps), unevenly in
    between (bands). Deep ones are ellipsoids with uneven borders. -inf where no lesion can be.
    """
    shape = head.white.shape
    z, y, x = head.position
    cerebral = (z > -8) & (head.white > 0.5) & (head.to_white < -0.8)
    score = np.full(shape, -np.inf, np.float32)
    if lesion_load > 0.5:
        # Horns of the lateral ventricles in MNI152 space: frontal y = 30, occipital y = -50.
        caps = np.exp(-(((y - 31) / 9) ** 2)) + np.exp(-(((y + 48) / 11) ** 2))
        reach = 3.0 + 5.0 * caps + 2.5 * smooth_noise(rng, shape, 7) + 0.7 * smooth_noise(rng, shape, 2.5)
        # The corpus callosum between the ventricles stays free.
        reach -= 6 * np.exp(-((x / 7) ** 2))
        score = (reach - head.to_ventricles).astype(np.float32)
    possible = np.flatnonzero(cerebral & (head.to_white < -2.5) & (head.to_ventricles > 7))
    uneven = smooth_noise(rng, shape, 2)
    for _ in range(min(45, round(1 + 2.5 * lesion_load**0.75)) if lesion_load > 0 else 0):
        radius = min(6.0, 2.2 * rng.lognormal(0, 0.35))
        centre = np.unravel_index(rng.choice(possible), shape)
        window, inside = _ellipsoid(shape, centre, radius * rng.uniform(0.75, 1.35, 3))
        score[window] = np.maximum(score[window], radius * (1 - inside) + 0.5 * uneven[window])
    return np.where(cerebral, score, -np.inf).astype(np.float32)


def _infarcts(head: Head, number: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Cortical lesions: millimetres inside them (-inf elsewhere), and the fraction of their liquid core."""
    shape = head.white.shape
    inside_mm = np.full(shape, -np.inf, np.float32)
    core = np.zeros(shape, np.float32)
    brain = head.to_brain < -0.5
    possible = np.flatnonzero(
        (np.abs(head.to_white) < 1.5) & brain & (head.to_ventricles > 22) & (head.position[0] > -5)
    )
    uneven = smooth_noise(rng, shape, 3)
    for _ in range(number):
        radius = rng.uniform(8, 13)
        centre = np.unravel_index(rng.choice(possible), shape)
        window, inside = _ellipsoid(shape, centre, radius * rng.uniform(0.7, 1.2, 3))
        depth: Floats = np.float32(radius) * (1 - inside) + 1.5 * uneven[window]
        inside_mm[window] = np.maximum(inside_mm[window], depth)
        core[window] = np.maximum(core[window], _rising(depth - 0.55 * radius, 0.8))
    free = brain & (head.to_ventricles > 10)
    return np.where(free, inside_mm, -np.inf).astype(np.float32), np.where(free, core, 0).astype(np.float32)


def _threshold(score: Floats, lesion_load: float) -> float:
    """The score at and above which the voxels of ``score`` make up ``lesion_load`` ml."""
    voxels = round(lesion_load * 1000 / float(np.prod(SPACING)))
    candidates = score[np.isfinite(score)]
    if voxels > candidates.size:
        most = candidates.size * float(np.prod(SPACING)) / 1000
        raise InputError(f"lesion load: {lesion_load} ml, expected at most the {most:.0f} ml this head can hold")
    return float(np.partition(candidates, -voxels)[-voxels]) if voxels else np.inf


def _signal(head: Head, inside_lesion: Floats, infarct: Floats, core: Floats, rng: np.random.Generator) -> Floats:
    """Noise-free brightness on the fine grid, white matter = 1."""
    shape = head.white.shape
    brain = head.csf * _CSF + head.grey * _GREY + head.white * _WHITE
    tissue = head.grey + head.white
    wall = np.exp(-np.clip(head.to_ventricles, 0, None) / _RIM_WIDTH)
    brain += tissue * _RIM * wall * np.clip(1 + 0.4 * smooth_noise(rng, shape, 6), 0.2, 2)
    brain *= 1 + 0.03 * smooth_noise(rng, shape, 3)

    strength = rng.uniform(*_LESION) * np.clip(1 + 0.2 * smooth_noise(rng, shape, 5), 0.5, 1.5)
    lesion = strength * _rising(inside_lesion + 0.3, _LESION_EDGE)
    brain += tissue * np.maximum(lesion, 0.5 * _rising(infarct, _LESION_EDGE))
    brain += core * (_CSF - brain)

    # Head around the brain, by layers of uneven thickness.
    outside = head.to_hull + 0.8 * smooth_noise(rng, shape, 20)
    layers = np.array([_CSF, _BONE, _MARROW, _BONE, _FAT, 0], np.float32)
    around = layers[np.searchsorted(np.array(_LAYERS, np.float32), outside)]
    base = np.where(head.to_brain < 4, _CSF, _BELOW_BRAIN * np.clip(1 + smooth_noise(rng, shape, 3), 0, 3))
    around = np.where(head.to_hull < 0, base, around)
    around *= np.clip(1 + 0.15 * smooth_noise(rng, shape, 8), 0.3, 2)
    inside = np.clip(head.csf + tissue, 0, 1)
    signal: Floats = inside * brain + (1 - inside) * around
    return signal


def _acquire(signal: Floats, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Blur in plane, average through the slice, apply bias field, Rician noise and gain; (z, y, x) int16."""
    blurred = ndimage.gaussian_filter(signal, _BLUR)
    sliced = blurred.reshape(SHAPE[0], _FINE, *SHAPE[1:]).mean(axis=1)
    bias = np.exp(_BIAS * smooth_noise(rng, SHAPE, 45, SPACING))
    noise = rng.uniform(*_NOISE)
    real = sliced * bias + noise * rng.standard_normal(SHAPE, np.float32)
    imaginary = noise * rng.standard_normal(SHAPE, np.float32)
    gain = rng.uniform(*_GAIN)
    magnitude: npt.NDArray[np.int16] = np.rint(gain * np.hypot(real, imaginary)).clip(0, 32767).astype(np.int16)
    return magnitude


def _with_geometry(array: npt.NDArray[np.generic], tilt: float) -> SimpleITK.Image:
    """An image oriented as DICOM converters leave axial slices (LAS), tilted about the x axis."""
    # Right is the end of x in the maps; ITK counts x to the left and y to the back.
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array[:, :, ::-1]))
    cosine, sine = np.cos(tilt), np.sin(tilt)
    direction = np.array([[1, 0, 0], [0, -cosine, -sine], [0, -sine, cosine]])
    spacing = np.array(SPACING[::-1])
    half = (np.array(SHAPE[::-1]) - 1) / 2 * spacing
    centre = np.array([-_CENTRE[2], -_CENTRE[1], _CENTRE[0]])
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((centre - direction @ half).tolist())
    return image


def _ellipsoid(
    shape: tuple[int, ...], centre: tuple[np.intp, ...], axes: npt.NDArray[np.float64]
) -> tuple[tuple[slice, ...], Floats]:
    """The window around an ellipsoid, and in it the distance from its centre in units of its semi-axes."""
    reach = np.ceil(2.5 * axes).astype(int)
    window = tuple(
        slice(max(0, int(c) - r), min(n, int(c) + r + 1)) for c, r, n in zip(centre, reach, shape, strict=True)
    )
    offsets = np.ogrid[window]
    square = sum(((o - c) / a) ** 2 for o, c, a in zip(offsets, centre, axes, strict=True))
    return window, np.sqrt(square).astype(np.float32)


def _middle(fine: Floats) -> Floats:
    """Median through each slice: a slice is inside where most of its samples are."""
    return np.median(fine.reshape(SHAPE[0], _FINE, *SHAPE[1:]), axis=1).astype(np.float32)


def _rising(distance: Floats, width: float) -> Floats:
    """From 0 to 1 across ``distance`` = 0, within some ``width``."""
    rising: Floats = special.expit(distance / np.float32(width))
    return rising
