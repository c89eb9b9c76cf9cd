"""From a FLAIR image to the atlas: position and size, then an affine transform, then a smooth deformation.

The image is compared with the atlas as FLAIR would show it, by mutual information (Mattes et al., 2003), in and closely
around the brain, so that scalp and neck do not matter and an image without them is treated alike. All is done on one
thread and without random numbers: the same image gives the same transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.images.brain import brain_mask
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.template import (
    BACKGROUND,
    CSF,
    GREY_MATTER,
    VENTRICLES,
    WHITE_MATTER,
    load_atlas,
)

__all__ = ["ORIENTATION", "Registration", "levelled", "on_cubes", "on_grid", "register"]

#: Axial slices from below, columns to the left, rows to the back.
ORIENTATION = "LPS"
#: Edge of the voxels (mm) on which images are compared.
_SEARCH_MM, _COARSE_MM, _FINE_MM = 6.0, 4.0, 2.0
#: What is compared beyond the brain (mm): fluid and bone, which are dark.
_AROUND_MM = 6.0
#: Brightness of FLAIR relative to white matter.
_BRIGHTNESS = {BACKGROUND: 0.1, CSF: 0.2, GREY_MATTER: 1.15, WHITE_MATTER: 1.0, VENTRICLES: 0.2}
_BLUR_MM = 1.5
#: Beyond the brain (mm): bone, then scalp, then air; scalp as bright as this; how far an image is looked at for it.
_BONE_MM, _HEAD_MM, _SCALP, _SCALP_MM = 7.0, 13.0, 1.5, 18.0
#: From so much above the lowest of the atlas (mm) there is scalp around the brain.
_FACE_MM = 50
#: Share of what lies around a brain that is bright where there is scalp.
_SCALP_SHARE = 0.1
#: Averaging has filled the sulci of the template: so much of its cortex is fluid, by the distance to white matter (mm).
_SULCUS = ((2.4, 4.0, 5.5, 8.0), (0.0, 0.9, 0.9, 0.35))
#: Turns about the left-right axis (rad) from which the search starts.
_PITCHES = (-0.3, -0.15, 0.0, 0.15, 0.3)
_BINS = 32
#: Of an optimiser: longest and shortest step (mm), how many, and what a step is shortened to where the slope turns. The
#: slopes of mutual information are rough: where steps shorten fast, they end anywhere.
_SEARCH, _COARSE = (4.0, 0.05, 80, 0.8), (4.0, 0.01, 300, 0.9)
#: How often the affine transform is begun anew at most, and what it has to gain to be begun once more.
_RESTARTS, _GAIN = 6, 0.001
#: The deformation: iterations, and how far it is smoothed after each (mm).
_STEPS, _STIFFNESS_MM = 30, 4.5
#: How far the brightness of white matter is averaged (mm); what is brighter than this is as this; tissue and no fluid.
_LEVEL_MM, _BRIGHTEST, _TISSUE = 25.0, 1.3, 0.8


@dataclass(frozen=True)
class Registration:
    """How an image lies on the atlas.

    Attributes:
        affine: from points of the image to points of the atlas.
        transform: the same with the deformation.
        information: mutual information of image and atlas under the affine transform; higher is better.
        image: the image on axes of ``ORIENTATION``, float32, from 0 (dark) to 1 (bright).
        brain: the brain by brightness alone, likewise.
    """

    affine: SimpleITK.AffineTransform
    transform: SimpleITK.Transform
    information: float
    image: SimpleITK.Image
    brain: SimpleITK.Image


def register(flair: SimpleITK.Image) -> Registration | None:
    """Find where a FLAIR image lies on the atlas.

    Args:
        flair: 3D, of one channel, in any orientation.

    Returns:
        None where the image shows nothing like a brain. What comes of others is to be judged; see ``quality``.
    """
    oriented = SimpleITK.Cast(SimpleITK.DICOMOrient(flair, ORIENTATION), SimpleITK.sitkFloat32)
    values = np.nan_to_num(SimpleITK.GetArrayFromImage(oriented), nan=0.0, posinf=0.0, neginf=0.0)
    # In other units, or windowed to 8 bit, the same head has the same values here, and what is dark is 0.
    dark, bright = np.percentile(values, (1, 99.9))
    if not dark < bright:
        return None
    values = ((np.clip(values, dark, bright) - dark) / (bright - dark)).astype(np.float32)
    oriented = image_like(values, oriented)
    mask = brain_mask(values, oriented.GetSpacing()[::-1])
    if mask is None or not mask.any():
        return None
    brain = image_like(mask.astype(np.uint8), oriented)
    has_scalp = _has_scalp(oriented, brain)
    atlas, start = _atlas_as_flair(has_scalp), _start(brain)
    search, coarse, fine = (on_cubes(oriented, edge) for edge in (_SEARCH_MM, _COARSE_MM, _FINE_MM))
    looked_at = on_grid(brain, search)
    # Brightness alone takes scalp for brain now and then, and not every scalp is like the atlas's.
    starts = [
        _found(search, _around(looked_at, margin), atlas, start)
        for margin in ((_AROUND_MM, _SCALP_MM) if has_scalp else (_AROUND_MM,))
    ]
    affine, information = max((_refined(coarse, each, atlas) for each in starts), key=lambda refined: refined[1])
    for _ in range(_RESTARTS):
        again, more = _refined(coarse, affine, atlas)
        gain = more - information
        if gain > 0:
            affine, information = again, more
        if gain < _GAIN:
            break
    transform = _deformed(fine, _near_brain(fine, affine), atlas.image, affine)
    return Registration(affine, transform, information, oriented, brain)


def _has_scalp(image: SimpleITK.Image, brain: SimpleITK.Image) -> bool:
    """Whether there is more than nothing around the brain."""
    values = SimpleITK.GetArrayViewFromImage(image)
    inside = SimpleITK.GetArrayViewFromImage(brain) > 0
    around = SimpleITK.GetArrayFromImage(_around(brain, _SCALP_MM)) > 0
    beside = values[around & ~inside]
    return beside.size > 0 and float((beside > 0.5 * np.median(values[inside])).mean()) > _SCALP_SHARE


@dataclass(frozen=True)
class _Atlas:
    """The atlas as FLAIR shows a head, whole or stripped, and which of its voxels are known."""

    image: SimpleITK.Image
    known: SimpleITK.Image


@lru_cache(maxsize=2)
def _atlas_as_flair(has_scalp: bool) -> _Atlas:
    atlas = load_atlas()
    brightness = np.array([_BRIGHTNESS[label] for label in range(len(_BRIGHTNESS))], np.float32)[atlas.tissue]
    to_white = distance_mm(atlas.tissue == WHITE_MATTER, 1.0)
    fluid = np.where(atlas.cortex, np.interp(to_white, *_SULCUS), 0)
    brightness += (fluid * (_BRIGHTNESS[CSF] - brightness)).astype(np.float32)
    margin = int(_SCALP_MM)
    padded = np.pad(brightness, margin, constant_values=_BRIGHTNESS[BACKGROUND])
    beyond = distance_mm(np.pad(atlas.tissue, margin) != BACKGROUND, 1.0)
    known = np.ones(padded.shape, bool)
    if has_scalp:
        padded[(beyond > _BONE_MM) & (beyond <= _HEAD_MM)] = _SCALP
        padded[beyond > _HEAD_MM] = 0
        known = beyond <= _SCALP_MM
        # Below the brain is no scalp, but face and neck.
        known[: margin + _FACE_MM] &= beyond[: margin + _FACE_MM] <= _AROUND_MM
    else:
        padded[beyond > 0] = 0

    def image(values: npt.NDArray[Any]) -> SimpleITK.Image:
        made = SimpleITK.GetImageFromArray(values)
        made.SetDirection(atlas.image.GetDirection())
        made.SetOrigin(atlas.image.TransformIndexToPhysicalPoint((-margin,) * 3))
        return made

    blurred = SimpleITK.SmoothingRecursiveGaussian(image(padded), _BLUR_MM)
    return _Atlas(SimpleITK.Shrink(blurred, (2, 2, 2)), image(known.astype(np.uint8)))


def on_cubes(image: SimpleITK.Image, edge: float) -> SimpleITK.Image:
    """An image on cubic voxels, smoothed where that makes them larger."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    cubes = np.maximum(1, np.ceil(size * spacing / edge)).astype(int)
    sigma = np.where(spacing < edge, edge / 3, 1e-3)
    if (size >= 4).all():
        image = SimpleITK.SmoothingRecursiveGaussian(image, sigma.tolist())
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin = np.array(image.GetOrigin()) + direction @ ((edge - spacing) / 2 + (size * spacing - cubes * edge) / 2)
    grid = SimpleITK.Image(cubes.tolist(), SimpleITK.sitkUInt8)
    grid.SetSpacing([edge] * 3)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(origin.tolist())
    # Thick slices end half a slice before their border: what lies beyond their middle is as bright as there.
    return SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0, image.GetPixelID(), True)


def on_grid(mask: SimpleITK.Image, grid: SimpleITK.Image) -> SimpleITK.Image:
    """A mask on the grid of an image, 0 beyond its own."""
    return SimpleITK.Resample(mask, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)


def _around(mask: SimpleITK.Image, margin: float) -> SimpleITK.Image:
    distance = SimpleITK.SignedMaurerDistanceMap(mask, False, False, True)
    return SimpleITK.Cast(distance <= margin, SimpleITK.sitkUInt8)


def _near_brain(grid: SimpleITK.Image, affine: SimpleITK.AffineTransform) -> SimpleITK.Image:
    brain = SimpleITK.Cast(load_atlas().image > BACKGROUND, SimpleITK.sitkUInt8)
    return _around(SimpleITK.Resample(brain, grid, affine, SimpleITK.sitkNearestNeighbor, 0), _AROUND_MM)


def _start(brain: SimpleITK.Image) -> SimpleITK.Similarity3DTransform:
    """Lay the brain on the atlas by its top and its widest parts: what lies low may be cut off."""
    points = _points(brain)
    atlas = _points(SimpleITK.Cast(load_atlas().image > BACKGROUND, SimpleITK.sitkUInt8))
    low, high = np.percentile(points, (1, 99), axis=0)
    atlas_low, atlas_high = np.percentile(atlas, (1, 99), axis=0)
    centre, atlas_centre = (low + high) / 2, (atlas_low + atlas_high) / 2
    scale = float(np.clip(np.mean((atlas_high - atlas_low)[:2] / np.maximum(high - low, 1)[:2]), 0.8, 1.25))
    start = SimpleITK.Similarity3DTransform()
    start.SetScale(scale)
    # The atlas is as tall from its top as it is; so much of the image is looked at, whatever there is.
    centre[2] = high[2] - (atlas_high - atlas_low)[2] / 2 / scale
    start.SetCenter(centre.tolist())
    start.SetTranslation((atlas_centre - centre).tolist())
    return start


def _points(mask: SimpleITK.Image) -> npt.NDArray[np.float64]:
    """The places (x, y, z in mm) of the voxels of a mask."""
    index = np.argwhere(SimpleITK.GetArrayViewFromImage(mask))[:, ::-1]
    matrix = np.array(mask.GetDirection()).reshape(3, 3) * mask.GetSpacing()
    places: npt.NDArray[np.float64] = index @ matrix.T + mask.GetOrigin()
    return places


def _found(
    image: SimpleITK.Image, mask: SimpleITK.Image, atlas: _Atlas, start: SimpleITK.Similarity3DTransform
) -> SimpleITK.AffineTransform:
    """The position, turn and size of the head, from several turns: of as few parameters as tell heads apart."""
    found = []
    for pitch in _PITCHES:
        transform = SimpleITK.Similarity3DTransform(start)
        transform.SetRotation((1.0, 0.0, 0.0), pitch)
        found.append((_optimised(image, mask, atlas, transform, _SEARCH), transform))
    best = max(found, key=lambda each: each[0])[1]
    affine = SimpleITK.AffineTransform(3)
    affine.SetCenter(best.GetCenter())
    affine.SetMatrix(best.GetMatrix())
    affine.SetTranslation(best.GetTranslation())
    return affine


def _refined(
    image: SimpleITK.Image, start: SimpleITK.AffineTransform, atlas: _Atlas
) -> tuple[SimpleITK.AffineTransform, float]:
    """A better affine transform and its mutual information, near the brain as the atlas says by the one before."""
    transform = SimpleITK.AffineTransform(start)
    return transform, _optimised(image, _near_brain(image, start), atlas, transform, _COARSE)


def _optimised(
    image: SimpleITK.Image,
    mask: SimpleITK.Image,
    atlas: _Atlas,
    transform: SimpleITK.Transform,
    steps: tuple[float, float, int, float],
) -> float:
    """Move a transform to where image and atlas share most information, which is returned."""
    longest, shortest, number, shortened = steps
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(mask)
    method.SetMetricMovingMask(atlas.known)
    method.SetMetricSamplingStrategy(SimpleITK.ImageRegistrationMethod.NONE)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(longest, shortest, number, shortened, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(image, atlas.image)
    return -float(method.GetMetricValue())


def _deformed(
    image: SimpleITK.Image, mask: SimpleITK.Image, atlas: SimpleITK.Image, affine: SimpleITK.AffineTransform
) -> SimpleITK.Transform:
    """The affine transform after a smooth displacement (demons with symmetric forces; Vercauteren et al., 2009)."""
    near = SimpleITK.GetArrayViewFromImage(mask) > 0
    moving = SimpleITK.Resample(atlas, image, affine, SimpleITK.sitkLinear, _BRIGHTNESS[BACKGROUND])
    expected = SimpleITK.GetArrayViewFromImage(moving)
    fixed = levelled(SimpleITK.GetArrayViewFromImage(image), expected, near, _FINE_MM)
    demons = SimpleITK.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfThreads(1)
    demons.SetNumberOfIterations(_STEPS)
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(_STIFFNESS_MM / image.GetSpacing()[0])
    demons.SetSmoothUpdateField(False)
    field = demons.Execute(image_like(fixed, image), image_like(np.where(near, expected, 0).astype(np.float32), image))
    return SimpleITK.CompositeTransform([affine, SimpleITK.DisplacementFieldTransform(field)])


def levelled(
    values: npt.NDArray[Any], expected: npt.NDArray[Any], near: BoolArray, edge: float
) -> npt.NDArray[np.float32]:
    """Brightness relative to that of white matter nearby, cut where no healthy tissue is so bright.

    Args:
        values: brightness (z, y, x).
        expected: that of the atlas there, white matter being 1.
        near: where the brain is and what is closely around it; 0 elsewhere.
        edge: of the voxels in mm.
    """
    tissue = near & (expected > _TISSUE) & (values > 0)
    found, wanted = (
        ndimage.gaussian_filter(np.where(tissue, each, 0).astype(np.float32), _LEVEL_MM / edge, truncate=2)
        for each in (values, expected)
    )
    level = found / np.maximum(wanted, 1e-3 * wanted.max(initial=1e-6))
    relative = values / np.maximum(level, 1e-3 * level.max(initial=1e-6))
    return np.where(near, np.clip(relative, 0, _BRIGHTEST), 0).astype(np.float32)
