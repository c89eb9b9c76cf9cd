"""Rigid registration of two FLAIR images of one head.

Each image is registered to the other and the motion half-way between the two results is taken, so that it does not
matter which of them comes first; how far the two results differ says how sure they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.brain import brain_mask
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.longitudinal.rigid import Matrix, distance_mm, inverse, midpoint, motion, transform_of

__all__ = ["Registration", "Work", "agreement", "register", "working"]

#: Edge of the voxels in which images are registered.
_WORKING_MM = 2.0
#: Registered by the brain, and this much around it: what lies further out moves on its own.
_AROUND_MM = 4.0
#: Of the pyramid, coarse to fine: shrinkage, and the deviation of the smoothing in mm.
_SHRINK, _SMOOTH = (4, 2, 1), (6.0, 3.0, 1.5)
#: Of a motion: 1e-4 mm at the edge of a head.
_DECIMALS = 6
#: Of the measure's histogram; of the optimiser the smallest step in mm, and the number of steps a level.
_BINS, _STEP, _ITERATIONS = 32, 0.002, 100
#: What ITK says of two images that have no place in common.
_APART = "All samples map outside moving image buffer"


@dataclass(frozen=True)
class Registration:
    """How a head moved from one visit to the other.

    Attributes:
        matrix: takes points (mm, LPS) of the first image to those of the second.
        disagreement_mm: of the registrations in either direction; see ``rigid.distance_mm``.
        centre: of the first image's brain (mm, LPS).
    """

    matrix: Matrix
    disagreement_mm: float
    centre: tuple[float, ...]


@dataclass(frozen=True)
class Work:
    """An image as it is registered, on a grid of 2 mm.

    Attributes:
        image: 32 bit, brightness of the brain about 1.
        inside: its brain and what is around it.
        centre: of that in mm.
    """

    image: SimpleITK.Image
    inside: SimpleITK.Image
    centre: tuple[float, ...]


def register(first: Work, second: Work) -> Registration:
    """Find the motion from one image to another; the same images give the same motion."""
    forward, backward = _one_way(first, second), inverse(_one_way(second, first))
    # Sums in ITK differ in their last bits from run to run; images resampled by the rounded motion do not.
    matrix: Matrix = np.round(midpoint(forward, backward), _DECIMALS)
    return Registration(matrix, distance_mm(forward, backward, first.centre), first.centre)


def working(image: SimpleITK.Image) -> Work:
    """Prepare an image (3D) for its registration."""
    image = SimpleITK.Cast(SimpleITK.DICOMOrient(image, "LPS"), SimpleITK.sitkFloat32)
    size = [max(1, round(n * edge / _WORKING_MM)) for n, edge in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    grid = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    grid.SetSpacing([_WORKING_MM] * 3)
    grid.SetDirection(image.GetDirection())
    # The first voxels begin at one corner.
    corner = image.TransformContinuousIndexToPhysicalPoint([-0.5] * 3)
    half = np.reshape(image.GetDirection(), (3, 3)) @ np.full(3, _WORKING_MM / 2)
    grid.SetOrigin((np.array(corner) + half).tolist())
    coarse = SimpleITK.Resample(image, grid, SimpleITK.Transform(3, SimpleITK.sitkIdentity), SimpleITK.sitkLinear, 0.0)
    values: NDArray[np.float32] = SimpleITK.GetArrayFromImage(coarse)
    inside = _inside(values)
    mask = SimpleITK.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(coarse)
    middle = ndimage.center_of_mass(inside)[::-1]
    return Work(
        coarse / max(float(np.median(values[inside])), 1e-12),
        mask,
        coarse.TransformContinuousIndexToPhysicalPoint([float(place) for place in middle]),
    )


def _inside(values: NDArray[np.float32]) -> BoolArray:
    """The brain and what is around it; everything where no brain is found."""
    brain = brain_mask(values, (_WORKING_MM,) * 3)
    if brain is None or not brain.any():
        return np.ones(values.shape, bool)
    around: BoolArray = ndimage.distance_transform_edt(~brain) * _WORKING_MM <= _AROUND_MM
    return around


def _one_way(fixed: Work, moving: Work) -> Matrix:
    """The motion from one image to the other."""
    shift = np.subtract(moving.centre, fixed.centre)
    starts = [_optimised(fixed, moving, shift, slice(0, 1))]
    try:
        starts.append(_optimised(fixed, moving, np.zeros(3), slice(0, 1)))
    except RuntimeError as error:
        # The origins of two visits may have nothing to do with each other.
        if _APART not in str(error):
            raise
    _, best = min(starts, key=lambda found: found[0])
    _, found = _optimised(fixed, moving, best, slice(1, None))
    return _matrix(found)


def _optimised(
    fixed: Work, moving: Work, start: SimpleITK.Euler3DTransform | NDArray[np.float64], levels: slice
) -> tuple[float, SimpleITK.Euler3DTransform]:
    """The measure and the transform at the end of some levels of the pyramid."""
    if not isinstance(start, SimpleITK.Euler3DTransform):
        shift, start = start, SimpleITK.Euler3DTransform()
        start.SetCenter(fixed.centre)
        start.SetTranslation(shift.tolist())
    method = SimpleITK.ImageRegistrationMethod()
    # Sums depend on how many threads share them.
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(fixed.inside)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, _STEP, _ITERATIONS, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_SHRINK[levels])
    method.SetSmoothingSigmasPerLevel(_SMOOTH[levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed.image, moving.image)
    return method.GetMetricValue(), start


def _matrix(transform: SimpleITK.Euler3DTransform) -> Matrix:
    rotation = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    return motion(rotation, centre + transform.GetTranslation() - rotation @ centre)


def agreement(first: Work, second: Work, matrix: Matrix) -> tuple[float, float]:
    """How alike two images are after registration: correlation of brightness in the brain, and Dice of the brains."""
    smooth = [SimpleITK.SmoothingRecursiveGaussian(work.image, _WORKING_MM) for work in (first, second)]
    moved = SimpleITK.Resample(smooth[1], smooth[0], transform_of(matrix), SimpleITK.sitkLinear, 0.0)
    inside = SimpleITK.Resample(
        second.inside, first.inside, transform_of(matrix), SimpleITK.sitkNearestNeighbor, 0, SimpleITK.sitkUInt8
    )
    masks = [SimpleITK.GetArrayFromImage(mask) > 0 for mask in (first.inside, inside)]
    both = masks[0] & masks[1]
    if both.sum() < 2:
        return 0.0, 0.0
    values = [SimpleITK.GetArrayFromImage(image)[both] for image in (smooth[0], moved)]
    correlation = float(np.corrcoef(*values)[0, 1])
    return correlation if np.isfinite(correlation) else 0.0, float(2 * both.sum() / (masks[0].sum() + masks[1].sum()))
