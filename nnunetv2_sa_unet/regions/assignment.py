"""Which region a voxel, or a lesion, belongs to. Definitions and their sources: ``docs/reference/regions.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.parcellation import Parcellation
from nnunetv2_sa_unet.scores.metrics import TOUCHING_BY_FACE_EDGE_OR_CORNER

__all__ = [
    "CONFLUENT_MM", "JUXTACORTICAL_MM", "LABELS", "PERIVENTRICULAR_MM", "REGIONS", "SIDES", "VENTRICLES", "RegionLoad",
    "Rule", "Surroundings", "joined", "region_load", "region_map", "surroundings",
]  # fmt: skip

Rule = Literal["voxel", "confluent"]
REGIONS = ("periventricular", "deep", "juxtacortical", "infratentorial")
SIDES = ("left", "right")
#: Values of a map of regions by name: a region and its side; last the lateral ventricles.
LABELS = {
    **{f"{region}_{side}": 2 * index + 1 + is_right for index, region in enumerate(REGIONS)
       for is_right, side in enumerate(SIDES)},
    "lateral_ventricles": 2 * len(REGIONS) + 1,
}  # fmt: skip
VENTRICLES = LABELS["lateral_ventricles"]

#: Distances in mm: to the ventricles, to the ventricles for a lesion as a whole, and to the cortex.
PERIVENTRICULAR_MM, CONFLUENT_MM, JUXTACORTICAL_MM = 10.0, 3.0, 4.0
_PERIVENTRICULAR, _DEEP, _JUXTACORTICAL, _INFRATENTORIAL = range(len(REGIONS))


@dataclass(frozen=True)
class Surroundings:
    """What lies around each voxel of an image (z, y, x).

    Attributes:
        to_ventricles: distance to the lateral ventricles in mm, negative inside.
        to_cortex: likewise to the cerebral cortex.
        intracranial: brain and fluid.
        infratentorial: cerebellum and brain stem.
        right: the right half.
    """

    to_ventricles: npt.NDArray[np.float32]
    to_cortex: npt.NDArray[np.float32]
    intracranial: BoolArray
    infratentorial: BoolArray
    right: BoolArray


@dataclass(frozen=True)
class RegionLoad:
    """WMH by region.

    Attributes:
        ml: volume by region and side (``periventricular_left`` …).
        lesions: number of lesions by the region that holds most of their voxels.
    """

    ml: dict[str, float]
    lesions: dict[str, int]


def surroundings(parcellation: Parcellation, image: SimpleITK.Image) -> Surroundings:
    """What lies around each voxel of an image that was parcellated; what lies beyond is as at its nearest border."""
    edge = parcellation.grid.GetSpacing()[0]

    def there(values: npt.NDArray[Any], interpolator: int) -> npt.NDArray[Any]:
        part = SimpleITK.GetImageFromArray(values)
        part.CopyInformation(parcellation.grid)
        found = SimpleITK.Resample(part, image, SimpleITK.Transform(), interpolator, 0.0, part.GetPixelID(), True)
        array: npt.NDArray[Any] = SimpleITK.GetArrayFromImage(found)
        return array

    parts = parcellation.intracranial + 2 * parcellation.infratentorial + 4 * parcellation.right
    parts = there(parts.astype(np.uint8), SimpleITK.sitkNearestNeighbor)
    return Surroundings(
        to_ventricles=there(distance_mm(parcellation.ventricles, edge), SimpleITK.sitkLinear),
        to_cortex=there(distance_mm(parcellation.cortex, edge), SimpleITK.sitkLinear),
        intracranial=parts & 1 > 0,
        infratentorial=parts & 2 > 0,
        right=parts & 4 > 0,
    )


def region_map(around: Surroundings, wmh: BoolArray, rule: Rule) -> npt.NDArray[np.uint8]:
    """The map of regions (z, y, x), with the values of ``LABELS`` and 0 outside of the head.

    Where several apply to a voxel, the first of these holds: infratentorial, periventricular, juxtacortical; the rest
    is deep. What lies outside of the head is no region, but WMH there count as juxtacortical or infratentorial, so that
    the regions add up to the whole.

    Args:
        around: see there.
        wmh: (z, y, x). A voxel of WMH has the region that it is counted in.
        rule: ``voxel``: each voxel is asked alone; ``confluent``: a lesion belongs to one region as a whole, see
            :func:`joined`.
    """
    region = np.select(
        [around.infratentorial, around.to_ventricles <= PERIVENTRICULAR_MM, around.to_cortex <= JUXTACORTICAL_MM],
        [_INFRATENTORIAL, _PERIVENTRICULAR, _JUXTACORTICAL],
        np.where(around.intracranial, _DEEP, _JUXTACORTICAL),
    )
    if rule == "confluent":
        region = joined(region, around, wmh)
    labels = 2 * region + 1 + around.right
    labels[~wmh & (around.to_ventricles < 0)] = VENTRICLES
    labels[~wmh & ~around.intracranial] = 0
    return labels.astype(np.uint8)


def joined(region: npt.NDArray[Any], around: Surroundings, wmh: BoolArray) -> npt.NDArray[Any]:
    """Regions (z, y, x; indices of ``REGIONS``) in which each lesion has one.

    A lesion that comes within ``CONFLUENT_MM`` of the ventricles is periventricular, unless most of it is
    infratentorial. Any other belongs to the region of most of its voxels; what is periventricular by the distance of
    the voxel alone counts as deep, or juxtacortical if it is so near to the cortex.
    """
    lesions, count = ndimage.label(wmh, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    if not count:
        return region
    of_wmh = lesions[wmh]
    near_cortex = around.to_cortex[wmh] <= JUXTACORTICAL_MM
    alone = np.where(region[wmh] == _PERIVENTRICULAR, np.where(near_cortex, _JUXTACORTICAL, _DEEP), region[wmh])
    whole = _most_frequent(of_wmh, alone, count)
    nearest = ndimage.minimum(around.to_ventricles, lesions, np.arange(1, count + 1))
    whole[(nearest <= CONFLUENT_MM) & (whole != _INFRATENTORIAL)] = _PERIVENTRICULAR
    made: npt.NDArray[Any] = region.copy()
    made[wmh] = whole[of_wmh - 1]
    return made


def region_load(regions: npt.NDArray[np.uint8], wmh: BoolArray, voxel_mm3: float) -> RegionLoad:
    """Measure and count WMH by region.

    Args:
        regions: of :func:`region_map` (z, y, x).
        wmh: (z, y, x).
        voxel_mm3: volume of a voxel in mm³.
    """
    voxels = np.bincount(regions[wmh], minlength=VENTRICLES + 1)
    lesions, count = ndimage.label(wmh, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    whole = _most_frequent(lesions[wmh], (regions[wmh] - 1) // 2, count)
    numbers = np.bincount(whole, minlength=len(REGIONS))
    return RegionLoad(
        ml={
            name: round(int(voxels[label]) * voxel_mm3 / 1000, 6)
            for name, label in LABELS.items()
            if label != VENTRICLES
        },
        lesions={region: int(number) for region, number in zip(REGIONS, numbers, strict=True)},
    )


def _most_frequent(lesions: npt.NDArray[Any], regions: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """The region (an index of ``REGIONS``) of most voxels of each lesion; of several the first.

    Args:
        lesions: from 1 on, of each voxel of WMH.
        regions: of the same voxels.
        count: of lesions.
    """
    votes = np.bincount((lesions.astype(np.int64) - 1) * len(REGIONS) + regions, minlength=count * len(REGIONS))
    frequent: npt.NDArray[np.int64] = votes.reshape(count, len(REGIONS)).argmax(1)
    return frequent
