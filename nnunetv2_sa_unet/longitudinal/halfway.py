"""Two visits in the space half-way between them: both images are resampled once, and by motions of the same size.

The grid is the same whichever visit comes first. Its axes lie between those of the two images; along each its voxel is
that of the coarser image, to which the finer one is smoothed before, because what only one of the two could show would
count as change. It covers whatever either image shows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.longitudinal.rigid import Matrix, inverse, midpoint, motion, square_root, transform_of

__all__ = ["covered", "halfway"]

#: Part of a voxel that may stick out of the grid: a motion of next to nothing adds no slice.
_TOLERANCE = 0.05
#: How much coarser the other image's voxel is from which an image is smoothed along an axis.
_COARSER = 1.1
#: Full width at half maximum of a Gaussian, in deviations.
_WIDTH = 2.3548


def halfway(first: SimpleITK.Image, second: SimpleITK.Image, matrix: Matrix) -> tuple[SimpleITK.Image, SimpleITK.Image]:
    """Resample two images onto one grid, each in the type that it is stored in.

    Args:
        first: 3D, of one channel.
        second: likewise.
        matrix: takes points (mm, LPS) of the first to those of the second.

    Raises:
        InputError: no place is shown by both.
    """
    oriented = [SimpleITK.DICOMOrient(image, "LPS") for image in (first, second)]
    half = square_root(matrix)
    # From the space half-way to that of either image.
    ways = (inverse(half), half)
    grid = _grid(oriented, ways)
    seen = np.logical_and(*(covered(image, way, grid) for image, way in zip(oriented, ways, strict=True)))
    if not seen.any():
        raise InputError("the two images show no place in common")
    box = ndimage.find_objects(seen.astype(np.uint8))[0]
    grid = grid[tuple(slice(part.start, part.stop) for part in box[::-1])]
    one, other = (_resampled(image, way, grid, seen[box]) for image, way in zip(oriented, ways, strict=True))
    return one, other


def _grid(images: list[SimpleITK.Image], ways: tuple[Matrix, Matrix]) -> SimpleITK.Image:
    """An empty image on the grid half-way."""
    axes, corners = [], []
    for image, way in zip(images, ways, strict=True):
        there = inverse(way)
        axes.append(there[:3, :3] @ np.reshape(image.GetDirection(), (3, 3)))
        ends = itertools.product(*((-0.5, n - 0.5) for n in image.GetSize()))
        points = np.array([image.TransformContinuousIndexToPhysicalPoint(end) for end in ends])
        corners.append(points @ there[:3, :3].T + there[:3, 3])
    direction = midpoint(*(motion(each, np.zeros(3)) for each in axes))[:3, :3]
    spacing = np.max([image.GetSpacing() for image in images], axis=0)
    along = np.concatenate(corners) @ direction
    low, high = along.min(axis=0), along.max(axis=0)
    size = np.maximum(np.ceil((high - low) / spacing - _TOLERANCE), 1).astype(int)
    grid = SimpleITK.Image(size.tolist(), SimpleITK.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((direction @ ((low + high) / 2 - (size - 1) / 2 * spacing)).tolist())
    return grid


def covered(image: SimpleITK.Image, way: Matrix, grid: SimpleITK.Image) -> BoolArray:
    """The voxels (z, y, x) of a grid that an image shows, where a motion takes points of the grid to the image."""
    ones = SimpleITK.Image(image.GetSize(), SimpleITK.sitkUInt8) + 1
    ones.CopyInformation(image)
    nearest = SimpleITK.Resample(ones, grid, transform_of(way), SimpleITK.sitkNearestNeighbor, 0)
    return SimpleITK.GetArrayFromImage(nearest) > 0  # type: ignore[no-any-return]


def _resampled(image: SimpleITK.Image, way: Matrix, grid: SimpleITK.Image, seen: BoolArray) -> SimpleITK.Image:
    """An image on a grid by cubic splines, within its own range of values; 0 where the other shows nothing."""
    stored = SimpleITK.GetArrayViewFromImage(image)
    kind, low, high = stored.dtype, stored.min(), stored.max()
    smooth = SimpleITK.Cast(image, SimpleITK.sitkFloat32)
    for axis, (edge, wanted) in enumerate(zip(image.GetSpacing(), grid.GetSpacing(), strict=True)):
        # The recursive filter needs four voxels.
        if wanted > _COARSER * edge and image.GetSize()[axis] >= 4:
            smooth = SimpleITK.RecursiveGaussian(smooth, float(np.sqrt(wanted**2 - edge**2)) / _WIDTH, direction=axis)
    splines = SimpleITK.Resample(smooth, grid, transform_of(way), SimpleITK.sitkBSpline, 0.0)
    values: NDArray[Any] = SimpleITK.GetArrayFromImage(splines)
    values = np.where(seen, values.clip(low, high), 0)
    made = SimpleITK.GetImageFromArray((np.rint(values) if np.issubdtype(kind, np.integer) else values).astype(kind))
    made.CopyInformation(grid)
    return made
