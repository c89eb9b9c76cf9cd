"""The parts of a registered head in its own space: the atlas laid over it, its ventricles as the image shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.registration import Registration, levelled, on_cubes, on_grid
from nnunetv2_sa_unet.regions.template import BACKGROUND, CSF, VENTRICLES, WHITE_MATTER, load_atlas

__all__ = ["Parcellation", "parcellate"]

#: Edge of the voxels (mm).
_EDGE_MM = 1.0
#: Of those on which the whole head is measured.
_WHOLE_EDGE_MM = 3.0
#: Fluid is darker than this: halfway from it (0.2) to the ventricles' wall, which is brighter than white matter (1).
_FLUID = 0.8
#: How far ventricles may reach beyond those of the registered atlas (mm).
_WIDER_MM = 12.0
#: Beyond the brain (mm), for what is looked at.
_MARGIN_MM = 15.0


@dataclass(frozen=True)
class Parcellation:
    """The parts of a head on a grid of its own, of cubic voxels around the part of the brain that the image shows.

    Attributes:
        grid: an image with that geometry.
        relative: brightness, that of white matter nearby being 1 (z, y, x).
        intracranial: brain and fluid (z, y, x).
        white: white matter of the atlas (z, y, x).
        atlas_ventricles: lateral ventricles of the atlas (z, y, x).
        ventricles: lateral ventricles as the image shows them (z, y, x).
        cortex: of the cerebrum (z, y, x).
        infratentorial: cerebellum and brain stem (z, y, x).
        right: the right half (z, y, x).
        icv_ml: intracranial volume, whatever part of it the image shows.
        shown: share of the intracranial volume that the image shows.
        ventricles_shown: likewise of the atlas's ventricles.
    """

    grid: SimpleITK.Image
    relative: npt.NDArray[np.float32]
    intracranial: BoolArray
    white: BoolArray
    atlas_ventricles: BoolArray
    ventricles: BoolArray
    cortex: BoolArray
    infratentorial: BoolArray
    right: BoolArray
    icv_ml: float
    shown: float
    ventricles_shown: float


def parcellate(registration: Registration) -> Parcellation:
    """Lay the atlas over an image and look for the ventricles in it.

    A voxel belongs to the lateral ventricles if it is as dark as fluid, lies in or near those of the registered atlas
    and nearer to them than to other fluid of the atlas, and is connected to such a voxel within them.
    """
    code, whole = _atlas_code(), _whole_grid(registration)
    everywhere = SimpleITK.GetArrayFromImage(_resampled(code, whole, registration.transform))
    voxel_ml = float(np.prod(whole.GetSpacing())) / 1000
    within = SimpleITK.Cast(registration.image * 0 + 1, SimpleITK.sitkUInt8)
    seen = SimpleITK.GetArrayFromImage(on_grid(within, whole)) > 0
    head, fluid = everywhere & _LABELS != BACKGROUND, everywhere & _LABELS == VENTRICLES

    image = _cropped(on_cubes(registration.image, _EDGE_MM), registration.brain)
    parts = SimpleITK.GetArrayFromImage(_resampled(code, image, registration.transform))
    labels = parts & _LABELS
    intracranial = labels != BACKGROUND
    expected = np.where((labels == CSF) | (labels == VENTRICLES) | ~intracranial, 0, 1)
    relative = levelled(SimpleITK.GetArrayViewFromImage(image), expected, intracranial, _EDGE_MM)
    return Parcellation(
        grid=image,
        relative=relative,
        intracranial=intracranial,
        white=labels == WHITE_MATTER,
        atlas_ventricles=labels == VENTRICLES,
        ventricles=_ventricles(labels, relative),
        cortex=parts & _CORTEX > 0,
        infratentorial=parts & _INFRATENTORIAL > 0,
        right=parts & _RIGHT > 0,
        icv_ml=float(head.sum()) * voxel_ml,
        shown=float((head & seen).sum()) / max(1, int(head.sum())),
        ventricles_shown=float((fluid & seen).sum()) / max(1, int(fluid.sum())),
    )


#: What a voxel of the atlas is in one number.
_LABELS, _CORTEX, _INFRATENTORIAL, _RIGHT = 7, 8, 16, 32


@lru_cache(maxsize=1)
def _atlas_code() -> SimpleITK.Image:
    atlas = load_atlas()
    code = atlas.tissue + _CORTEX * atlas.cortex + _INFRATENTORIAL * atlas.infratentorial + _RIGHT * atlas.right
    # Sides and tentorium go on beyond the map.
    margin = 20
    image = SimpleITK.GetImageFromArray(np.pad(code.astype(np.uint8), margin, mode="edge"))
    labels = SimpleITK.GetArrayFromImage(image)
    inside = np.zeros(labels.shape, bool)
    inside[(slice(margin, -margin),) * 3] = True
    labels[~inside] &= _INFRATENTORIAL | _RIGHT
    image = SimpleITK.GetImageFromArray(labels)
    image.SetDirection(atlas.image.GetDirection())
    image.SetOrigin(atlas.image.TransformIndexToPhysicalPoint((-margin,) * 3))
    return image


def _resampled(code: SimpleITK.Image, grid: SimpleITK.Image, transform: SimpleITK.Transform) -> SimpleITK.Image:
    return SimpleITK.Resample(code, grid, transform, SimpleITK.sitkNearestNeighbor, 0)


def _whole_grid(registration: Registration) -> SimpleITK.Image:
    """A grid around all of the atlas where it lies in the image's space, whether the image reaches so far or not."""
    atlas = load_atlas().image
    back = registration.affine.GetInverse()
    size = np.array(atlas.GetSize()) - 1.0
    corners = [
        back.TransformPoint(atlas.TransformContinuousIndexToPhysicalPoint((size * corner).tolist()))
        for corner in np.ndindex(2, 2, 2)
    ]
    low, high = np.min(corners, axis=0) - _MARGIN_MM, np.max(corners, axis=0) + _MARGIN_MM
    edge = _WHOLE_EDGE_MM
    grid = SimpleITK.Image(np.ceil((high - low) / edge).astype(int).tolist(), SimpleITK.sitkUInt8)
    grid.SetSpacing([edge] * 3)
    grid.SetOrigin(low.tolist())
    return grid


def _cropped(image: SimpleITK.Image, brain: SimpleITK.Image) -> SimpleITK.Image:
    """The part of an image around a brain."""
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(brain)
    start, size = np.array(shape.GetBoundingBox(1)).reshape(2, 3)
    corners = [
        image.TransformPhysicalPointToContinuousIndex(
            brain.TransformContinuousIndexToPhysicalPoint((start + size * corner - 0.5).tolist())
        )
        for corner in np.ndindex(2, 2, 2)
    ]
    margin = _MARGIN_MM / _EDGE_MM
    low = np.maximum(0, np.floor(np.min(corners, axis=0) - margin)).astype(int)
    high = np.minimum(image.GetSize(), np.ceil(np.max(corners, axis=0) + margin)).astype(int)
    return SimpleITK.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _ventricles(labels: npt.NDArray[Any], relative: npt.NDArray[np.float32]) -> BoolArray:
    atlas: BoolArray = labels == VENTRICLES
    if not atlas.any():
        return atlas
    to_ventricles = distance_mm(atlas, _EDGE_MM)
    nearer = (to_ventricles <= _WIDER_MM) & (to_ventricles < distance_mm(labels == CSF, _EDGE_MM))
    dark = nearer & (relative < _FLUID) & (labels != BACKGROUND)
    parts, _ = ndimage.label(dark)
    connected = np.unique(parts[atlas & dark])
    found: BoolArray = np.isin(parts, connected[connected > 0])
    return found
