"""How much lesion there is in a mask, and how it spreads over sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.scores.metrics import TOUCHING_BY_FACE_EDGE_OR_CORNER

__all__ = ["SIZE_CLASSES", "LesionLoad", "SizeClass", "lesion_load", "without_small"]


@dataclass(frozen=True)
class SizeClass:
    """Lesions of ``smallest`` mm³ and more, below ``limit`` mm³; no limit if None."""

    smallest: float
    limit: float | None

    @property
    def name(self) -> str:
        """As in the columns: ``below_15_mm3``, ``15_to_500_mm3``, ``from_4000_mm3``."""
        if self.limit is None:
            return f"from_{self.smallest:g}_mm3"
        return f"{self.smallest:g}_to_{self.limit:g}_mm3" if self.smallest else f"below_{self.limit:g}_mm3"


#: Spheres of these volumes are 3, 10 and 20 mm wide. Smaller than 3 mm is often not counted as a lesion; 10 and 20 mm
#: part punctate, early confluent and confluent lesions in the ratings that follow Fazekas' scale.
_BOUNDS = (0.0, 15.0, 500.0, 4000.0)
SIZE_CLASSES = tuple(SizeClass(*pair) for pair in zip(_BOUNDS, (*_BOUNDS[1:], None), strict=True))


@dataclass(frozen=True)
class LesionLoad:
    """Lesions and their volume in ml, in all and by the name of the size class."""

    volume_ml: float
    lesions: int
    largest_ml: float
    lesions_by_size: dict[str, int]
    ml_by_size: dict[str, float]


def lesion_load(wmh: BoolArray, voxel_mm3: float) -> LesionLoad:
    """Count and measure lesions: components connected by faces, edges or corners in 3D, as in ``evaluate``.

    Args:
        wmh: (z, y, x).
        voxel_mm3: volume of a voxel in mm³.
    """
    voxels = _component_voxels(_components(wmh))
    # Headers keep the spacing in 32 bit: five voxels of 3 mm³ are 15 mm³ and not a millionth less.
    volumes = np.round(voxels * voxel_mm3, 3)
    lesions, ml = {}, {}
    for size in SIZE_CLASSES:
        inside = (volumes >= size.smallest) & (volumes < (np.inf if size.limit is None else size.limit))
        lesions[size.name] = int(inside.sum())
        ml[size.name] = _ml(int(voxels[inside].sum()), voxel_mm3)
    largest = int(voxels.max()) if voxels.size else 0
    return LesionLoad(_ml(int(voxels.sum()), voxel_mm3), voxels.size, _ml(largest, voxel_mm3), lesions, ml)


def without_small(wmh: BoolArray, voxel_mm3: float, smallest_mm3: float) -> BoolArray:
    """The mask (z, y, x) without the lesions of less than ``smallest_mm3``; see :func:`lesion_load` for lesions."""
    components = _components(wmh)
    kept = np.round(_component_voxels(components) * voxel_mm3, 3) >= smallest_mm3
    return np.concatenate([[False], kept])[components]


def _components(wmh: BoolArray) -> NDArray[np.int32]:
    components: NDArray[np.int32] = ndimage.label(wmh, TOUCHING_BY_FACE_EDGE_OR_CORNER)[0]
    return components


def _component_voxels(components: NDArray[np.int32]) -> NDArray[np.int64]:
    """The number of voxels of each component."""
    # Of the few voxels in components: it makes numbers of 64 bit of all that it is given.
    return np.bincount(components[components > 0])[1:]


def _ml(voxels: int, voxel_mm3: float) -> float:
    return round(voxels * voxel_mm3 / 1000, 6)
