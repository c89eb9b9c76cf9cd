"""Volumes read to their last byte, and the comparison of their geometries."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError

__all__ = [
    "HEADER_TOLERANCE", "all_finite", "constant_problem", "geometry_differences", "image_like", "itk_reason",
    "read_header", "read_volume", "shape_problem",
]  # fmt: skip

#: How far two headers may differ: spacing and origin in mm, direction in cosines. The images and labels of
#: the WMH challenge differ by 2e-5 in direction.
HEADER_TOLERANCE = 1e-3


def read_volume(path: Path) -> SimpleITK.Image:
    """Read an image of any format that SimpleITK knows, and be sure that all of it was there.

    ITK reads a NIfTI file that was cut short, or whose compressed bytes are damaged, without a word and makes up the
    rest.

    Raises:
        InputError: the file is absent, empty, damaged or no image; the message starts with the path.
    """
    try:
        if not path.stat().st_size:
            raise InputError(f"{path}: the file is empty (0 bytes)")
        if _is_nifti(path):
            _check_nifti(path)
        return SimpleITK.ReadImage(str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read: {itk_reason(error)}") from error


def read_header(path: Path) -> SimpleITK.ImageFileReader:
    """Read what an image's header says, and none of its voxels.

    Raises:
        InputError: SimpleITK finds no header there; the message starts with the path.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read: {itk_reason(error)}") from error
    return reader


def image_like(values: Any, like: SimpleITK.Image) -> SimpleITK.Image:
    """An image of ``values`` (z, y, x) with the geometry of another of the same size."""
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(like)
    return image


def itk_reason(error: RuntimeError) -> str:
    """The reason in an error of SimpleITK, without the lines about its source code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "unknown reason"


def shape_problem(image: SimpleITK.Image | SimpleITK.ImageFileReader) -> str | None:
    """Say what an image, or one whose header was read, is if it is no 3D image of one channel of real values."""
    axes = image.GetDimension()
    is_header = isinstance(image, SimpleITK.ImageFileReader)
    channels = image.GetNumberOfComponents() if is_header else image.GetNumberOfComponentsPerPixel()
    if (axes, channels) == (3, 1):
        if image.GetPixelID() in (SimpleITK.sitkComplexFloat32, SimpleITK.sitkComplexFloat64):
            return "complex values; expected an image of real ones"
        return None
    return f"{axes} axes and {channels} channels; expected a 3D image of one channel"


def constant_problem(image: SimpleITK.Image) -> str | None:
    """Say that every voxel of an image has the same value."""
    values = SimpleITK.GetArrayViewFromImage(image)
    # ITK, and nnU-Net through it, reads what is no number in a NIfTI file as 0.
    lowest, highest = values.min(), values.max()
    return f"every voxel is {lowest:g}; expected an image" if lowest == highest else None


def all_finite(path: Path, image: SimpleITK.Image) -> bool:
    """Whether every voxel is a number and not infinite.

    Args:
        path: of the file; ITK reads what is no number in a NIfTI file as 0, so those are read again.
        image: read from it.
    """
    if _is_nifti(path):
        stored: Any = nibabel.load(path)
        values = np.asarray(stored.dataobj.get_unscaled())
    else:
        values = SimpleITK.GetArrayViewFromImage(image)
    return not np.issubdtype(values.dtype, np.inexact) or bool(np.isfinite(values).all())


def geometry_differences(expected: Any, found: Any) -> list[str]:
    """Where the geometry of an image differs from another's by more than ``HEADER_TOLERANCE``.

    Args:
        expected: an image, or a reader that has read the header.
        found: likewise.

    Returns:
        The differences in words, one entry a field (size, spacing, origin, direction).
    """
    differences = []
    if expected.GetSize() != found.GetSize():
        differences.append(f"size {_listed(found.GetSize())}, expected {_listed(expected.GetSize())}")
    for field, wanted, is_there in (
        ("spacing", expected.GetSpacing(), found.GetSpacing()),
        ("origin", expected.GetOrigin(), found.GetOrigin()),
        ("direction", expected.GetDirection(), found.GetDirection()),
    ):
        if not np.allclose(wanted, is_there, rtol=0, atol=HEADER_TOLERANCE):
            differences.append(f"{field} {_listed(is_there)}, expected {_listed(wanted)}")
    return differences


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _check_nifti(path: Path) -> None:
    """Read a NIfTI file to its end, with the checksum of the compressed ones, and count its bytes."""
    image: Any = nibabel.load(path)
    values = image.dataobj
    expected = values.offset + int(np.prod(image.shape, dtype=np.int64)) * values.dtype.itemsize
    open_it = gzip.open if path.name.lower().endswith(".gz") else open
    with open_it(path, "rb") as stream:
        found = sum(len(block) for block in iter(lambda: stream.read(1 << 20), b""))
    if found < expected:
        raise EOFError(f"it ends after {found} of {expected} bytes")


def _listed(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
