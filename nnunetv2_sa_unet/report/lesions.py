"""The lesions of a mask one by one: size, place, and what about them is worth a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.scores.metrics import TOUCHING_BY_FACE_EDGE_OR_CORNER

__all__ = ["INSIDE_BRAIN", "Lesion", "find_lesions", "touched"]

#: A lesion lies outside the brain if a smaller share of its voxels than this lies inside the brain's mask.
INSIDE_BRAIN = 0.5


@dataclass(frozen=True)
class Lesion:
    """One connected component.

    Attributes:
        ml: its volume.
        place_mm: a voxel of it in the middle of its largest slice; mm to the right, to the front and up.
        cut: it reaches the first or last voxel of the volume along some axis, so that a part may be missing.
        outside: it lies outside the brain; None if nobody knows where the brain is.
        counterpart: the other mask (reference or prediction) touches it; None if there is no other.
    """

    ml: float
    place_mm: tuple[float, float, float]
    cut: bool
    outside: bool | None
    counterpart: bool | None


def find_lesions(
    mask: BoolArray, affine: NDArray[np.float64], brain: BoolArray | None, other: BoolArray | None = None
) -> list[Lesion]:
    """The components of a mask that are connected by faces, edges or corners, the largest first.

    Args:
        mask: lesions (z, y, x).
        affine: (4, 4), from voxel (x, y, z) to mm to the right, to the front and up.
        brain: mask of the brain on the same grid, if there is one.
        other: the mask that this one is compared with, on the same grid, if there is one.
    """
    labels, _ = ndimage.label(mask, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    voxel_ml = float(np.prod(np.linalg.norm(affine[:3, :3], axis=0))) / 1000
    lesions = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[box] == number
        start = [extent.start for extent in box]
        stop = [extent.stop for extent in box]
        z, y, x = _middle(part, start)
        place = affine[:3] @ (x, y, z, 1)
        lesions.append(
            Lesion(
                ml=int(part.sum()) * voxel_ml,
                place_mm=(float(place[0]), float(place[1]), float(place[2])),
                cut=min(start) == 0 or any(end == size for end, size in zip(stop, mask.shape, strict=True)),
                outside=None if brain is None else bool(brain[box][part].mean() < INSIDE_BRAIN),
                counterpart=None if other is None else bool(other[box][part].any()),
            )
        )
    return sorted(lesions, key=lambda lesion: -lesion.ml)


def touched(mask: BoolArray, other: BoolArray) -> BoolArray:
    """The part of a mask whose components (as in :func:`find_lesions`) the other mask touches."""
    labels, count = ndimage.label(mask, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    hit = np.zeros(count + 1, dtype=bool)
    hit[np.unique(labels[mask & other])] = True
    hit[0] = False
    found: BoolArray = hit[labels]
    return found


def _middle(part: BoolArray, start: list[int]) -> tuple[int, int, int]:
    """The voxel of a component that is nearest to the centre of its largest slice."""
    plane = int(part.sum(axis=(1, 2)).argmax())
    voxels: NDArray[np.intp] = np.argwhere(part[plane])
    nearest = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return start[0] + plane, start[1] + int(nearest[0]), start[2] + int(nearest[1])
