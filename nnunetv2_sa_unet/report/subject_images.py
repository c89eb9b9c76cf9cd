"""The volumes of one subject on one grid, turned so that the first axis runs through axial slices from below."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.masks import OTHER, WMH, BoolArray, reference_masks
from nnunetv2_sa_unet.images.volumes import read_volume, shape_problem
from nnunetv2_sa_unet.regions.assignment import VENTRICLES
from nnunetv2_sa_unet.scores.scoring import voxel_axes
from nnunetv2_sa_unet.segmentation.record import Subject
from nnunetv2_sa_unet.segmentation.record_files import read_input

__all__ = ["Volumes", "read_volumes"]

#: Columns run to the patient's left, rows to the back, slices upwards: as stored, that is radiological convention.
ORIENTATION = "LPS"


@dataclass(frozen=True)
class Volumes:
    """What is known of a subject, all on the grid of its mask.

    Attributes:
        labels: the mask as stored (z, y, x): 1 is WMH, 2 other pathology.
        flair: brightness, None without an image that fits.
        probabilities: of WMH, None without a map that fits.
        ventricles: lateral ventricles of the map of regions, None without one that fits.
        reference: labels as in ``labels``, None without a reference that fits.
        spacing: voxel in mm (z, y, x).
        axes: (3, 3), row i is the step in mm along array axis i, for the metrics.
        affine: (4, 4), from voxel (x, y, z) to mm to the right, to the front and up, as in NIfTI.
        remarks: what is missing and why, and how files were read where that is not plain.
    """

    labels: NDArray[np.uint8]
    flair: NDArray[Any] | None
    probabilities: NDArray[np.float32] | None
    ventricles: BoolArray | None
    reference: NDArray[np.uint8] | None
    spacing: tuple[float, float, float]
    axes: NDArray[np.float64]
    affine: NDArray[np.float64]
    remarks: tuple[str, ...]

    @property
    def wmh(self) -> BoolArray:
        """The WMH of the mask (z, y, x)."""
        wmh: BoolArray = self.labels == WMH
        return wmh


def read_volumes(folder: Path, subject: Subject, reference: Path | None) -> Volumes:
    """Read what a subject's section is made from.

    A mask is needed; anything else that is missing, damaged or on another grid becomes a remark.

    Args:
        folder: that the masks were written to.
        subject: one that has a mask.
        reference: its reference mask, if there is one.

    Raises:
        InputError: the mask is missing, damaged or not 3D.
    """
    mask = read_volume(folder / (subject.mask or ""))
    problem = shape_problem(mask)
    if problem:
        raise InputError(f"{subject.mask}: {problem}")
    remarks: list[str] = []

    def fitting(what: str, read: Any) -> SimpleITK.Image | None:
        try:
            image = read()
        except InputError as error:
            remarks.append(f"{what}: {error}")
            return None
        problem = shape_problem(image)
        differences = [problem] if problem else geometry_differences(mask, image)
        if differences:
            remarks.append(f"{what} is not on the mask's grid and was left out: {'; '.join(differences)}")
            return None
        return SimpleITK.DICOMOrient(image, ORIENTATION)

    flair = fitting("FLAIR image", lambda: read_input(subject))
    probabilities = (
        fitting("probability map", lambda: read_volume(folder / str(subject.probabilities)))
        if subject.probabilities
        else None
    )
    regions = (
        fitting("map of regions", lambda: read_volume(folder / str(subject.regions.map)))
        if subject.regions and subject.regions.map
        else None
    )
    truth = fitting("reference", lambda: read_volume(reference)) if reference else None
    labels = None
    if truth is not None:
        try:
            wmh, other, notes = reference_masks(SimpleITK.GetArrayFromImage(truth))
            labels = np.where(wmh, WMH, np.where(other, OTHER, 0)).astype(np.uint8)
            remarks += notes
        except InputError as error:
            remarks.append(f"reference: {error}")
    oriented = SimpleITK.DICOMOrient(mask, ORIENTATION)
    return Volumes(
        labels=SimpleITK.GetArrayFromImage(oriented).astype(np.uint8),
        flair=None if flair is None else _finite(SimpleITK.GetArrayFromImage(flair)),
        probabilities=None if probabilities is None else SimpleITK.GetArrayFromImage(probabilities).astype(np.float32),
        ventricles=None if regions is None else SimpleITK.GetArrayFromImage(regions) == VENTRICLES,
        reference=labels,
        spacing=tuple(reversed(oriented.GetSpacing())),
        axes=voxel_axes(oriented),
        affine=_nifti_affine(oriented),
        remarks=tuple(remarks),
    )


def _finite(brightness: NDArray[Any]) -> NDArray[Any]:
    """NaN and infinities as 0: a warning elsewhere speaks of them, here they must not spoil the window."""
    if not np.issubdtype(brightness.dtype, np.floating):
        return brightness
    finite: NDArray[Any] = np.nan_to_num(brightness, nan=0.0, posinf=0.0, neginf=0.0)
    return finite


def _nifti_affine(image: SimpleITK.Image) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    # ITK's world runs to the left and to the back.
    affine[:2] *= -1
    return affine
