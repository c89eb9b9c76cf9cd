"""The same mask however the voxels of an image are stored.

Images are turned to the orientation of the training images before the network sees them, and masks are turned back. An
orientation is named by where the axes of an image run, first the fastest one: in ``LPS`` to the left, to the back and
upwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.volumes import read_header
from nnunetv2_sa_unet.nnunet.orientation import ORIENTATION_KEY, direction_code

__all__ = ["Grid", "ModelOrientation", "model_orientation", "nibabel_geometry"]

#: Axial slices as DICOM stores them, from below.
MOST_NATURAL = "LPS"
#: nnU-Net's readers that turn images themselves, and what to.
TURNING_READERS = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}


@dataclass(frozen=True)
class ModelOrientation:
    """How the images were stored that a model was trained on.

    Attributes:
        code: most of them, such as ``LPS``.
        source: where that was found: ``reader``, ``plans``, ``validation`` or ``assumed``.
    """

    code: str
    source: str


def model_orientation(
    folder: Path, folds: Iterable[str], plans: Mapping[str, Any], reader_name: str
) -> ModelOrientation:
    """Find out how the training images of a model were stored.

    In this order: its reader turns all images to one orientation; our trainers noted it in the plans; the masks of
    the validation, which lie on the grids of training images, are beside the checkpoints; else it is assumed.

    Args:
        folder: of the model.
        folds: that are used.
        plans: of the model.
        reader_name: class of nnU-Net that reads its images.
    """
    if reader_name in TURNING_READERS:
        return ModelOrientation(TURNING_READERS[reader_name], "reader")
    noted = plans.get(ORIENTATION_KEY)
    if noted:
        return ModelOrientation(_most_frequent(noted), "plans")
    masks = (path for fold in folds for path in (folder / f"fold_{fold}").glob("validation/*.nii.gz"))
    found = Counter(filter(None, map(_code_of_file, masks)))
    if found:
        return ModelOrientation(_most_frequent(found), "validation")
    return ModelOrientation(MOST_NATURAL, "assumed")


class Grid:
    """The grid of an image as it is stored, and as a model sees it.

    Args:
        image: 3D, as stored.
        code: that the model wants.
    """

    def __init__(self, image: SimpleITK.Image, code: str) -> None:
        self.code = code
        self.stored_code = direction_code(image.GetDirection())
        self._size, self._spacing = image.GetSize(), image.GetSpacing()
        self._origin, self._direction = image.GetOrigin(), image.GetDirection()

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """From the numbers of stored voxels to mm rightwards, forwards and upwards, as NIfTI has it (4×4)."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self._direction, (3, 3)) * self._spacing
        affine[:3, 3] = self._origin
        affine[:2] *= -1
        return affine

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel in mm³."""
        return float(math.prod(self._spacing))

    def is_read_alike(self, file: Path) -> bool:
        """Whether nibabel, and nnU-Net's readers that use it, find the image in a NIfTI file where it is.

        They differ in files that contradict themselves, and in images that lie between two orientations.
        """
        image: Any = nibabel.load(file)
        if image.shape != self._size or not np.allclose(image.affine, self.affine, rtol=1e-3, atol=1e-3):
            return False
        return "".join(nibabel.aff2axcodes(image.affine)) == self.stored_code  # type: ignore[no-untyped-call]

    @property
    def is_turned(self) -> bool:
        """Whether the model sees the voxels in another order than they are stored in."""
        return self.code != self.stored_code

    def turned(self, image: SimpleITK.Image) -> SimpleITK.Image:
        """An image on the stored grid as the model sees it."""
        return SimpleITK.DICOMOrient(image, self.code) if self.is_turned else image

    def to_model(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (z, y, x) on the stored grid as the model sees them."""
        return SimpleITK.GetArrayFromImage(self.turned(self.image(values))) if self.is_turned else values

    def to_stored(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (z, y, x) as the model sees them on the stored grid."""
        if not self.is_turned:
            return values
        image = SimpleITK.GetImageFromArray(values)
        image.SetDirection(_directions_of(self.code))
        return SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, self.stored_code))  # type: ignore[no-any-return]

    def image(self, values: npt.NDArray[Any]) -> SimpleITK.Image:
        """An image of values (z, y, x) on the stored grid."""
        image = SimpleITK.GetImageFromArray(values)
        image.SetSpacing(self._spacing)
        image.SetOrigin(self._origin)
        image.SetDirection(self._direction)
        return image


def nibabel_geometry(file: Path) -> dict[str, Any]:
    """What nnU-Net's writers that use nibabel need to know of the image in a NIfTI file, from its header alone."""
    untyped: Any = nibabel.orientations
    image: Any = nibabel.load(file)
    turn = untyped.inv_ornt_aff(untyped.io_orientation(image.affine), image.shape)
    return {"nibabel_stuff": {"original_affine": image.affine, "reoriented_affine": image.affine @ turn}}


def _code_of_file(path: Path) -> str | None:
    try:
        header = read_header(path)
    except InputError:
        # A model is none the worse for a damaged file that nothing else reads.
        return None
    return direction_code(header.GetDirection()) if header.GetDimension() == 3 else None


def _most_frequent(numbers: Mapping[str, int]) -> str:
    return min(numbers, key=lambda code: (-numbers[code], code))


def _directions_of(code: str) -> tuple[float, ...]:
    directions: tuple[float, ...] = SimpleITK.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code)
    return directions
