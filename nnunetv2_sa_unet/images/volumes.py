"""Volumes read to their last byte."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import DANGLING, IMAGE_ENDINGS
from nnunetv2_sa_unet.images.geometry import Header, geometry_problem
from nnunetv2_sa_unet.images.nifti import is_nifti, nifti_remarks, read_nifti_header, read_nifti_values
from nnunetv2_sa_unet.images.text_headers import check_bytes, read_stored
from nnunetv2_sa_unet.text import is_utf8, one_line, printable

__all__ = [
    "constant_problem", "itk_reason", "kind_problem", "read_header", "read_remarked", "read_volume", "shape_problem",
    "with_itk",
]  # fmt: skip

_Read = TypeVar("_Read")
#: The largest value of an image, and the smallest difference of its largest and smallest.
_LARGEST, _SMALLEST = 1e15, 1e-4
# What ITK warns of is checked here, and refused or remarked with the name of the file.
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def read_volume(path: Path) -> SimpleITK.Image:
    """Read an image of any format that SimpleITK knows, and be sure that all of it was there and is what it says.

    ITK reads a file that was cut short, or whose compressed bytes are damaged, without a word and makes up the rest;
    likewise what its header leaves out.

    Raises:
        InputError: the file is absent, empty, damaged or no image, its geometry is missing, makes no sense or
            contradicts itself, or it holds other than finite numbers; the message starts with the path.
    """
    return read_remarked(path)[0]


def read_remarked(path: Path) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    """As :func:`read_volume`, with remarks on how it was read where its header leaves a choice."""

    def read() -> tuple[SimpleITK.Image, tuple[str, ...]]:
        if is_nifti(path):
            return _read_nifti(path)
        stored = read_stored(path)
        header = _itk_header(path)
        _refuse(path, shape_problem(header) or kind_problem(header) or _grid_problem(header))
        if stored is not None:
            check_bytes(stored)
        image = with_itk(path, lambda: SimpleITK.ReadImage(str(path)))
        values = SimpleITK.GetArrayViewFromImage(image)
        if np.issubdtype(values.dtype, np.floating):
            wrong = int(values.size - np.isfinite(values).sum())
            _refuse(path, f"{wrong} voxels hold no number (NaN) or are infinite" if wrong else None)
        return image, () if stored is None else stored.remarks

    return _of_a_file(path, read)


def read_header(path: Path) -> Header:
    """Read what an image's header says, and none of its voxels.

    Raises:
        InputError: the file is absent or no image, or its geometry is missing, makes no sense or contradicts itself;
            the message starts with the path.
    """

    def read() -> Header:
        nifti = read_nifti_header(path) if is_nifti(path) else None
        if nifti is None:
            read_stored(path)
        header = _itk_header(path)
        if shape_problem(header) is None:
            _refuse(path, _grid_problem(header))
            if nifti is not None:
                nifti_remarks(nifti, header)
        return header

    return _of_a_file(path, read)


def with_itk(path: Path, call: Callable[[], _Read]) -> _Read:
    """Call SimpleITK to read a file or folder; the one place where its exceptions become ours.

    Raises:
        InputError: with the reason; the message starts with the path.
    """
    _refuse_other_bytes(path)
    try:
        return call()
    except RuntimeError as error:
        raise InputError(f"{printable(path)}: cannot be read: {itk_reason(error)}") from error
    except MemoryError:
        raise InputError(f"{printable(path)}: cannot be read: there is not enough memory") from None


def itk_reason(error: RuntimeError) -> str:
    """The reason in an error of SimpleITK: of several lines those that are not about its source code."""
    reasons = []
    for line in str(error).splitlines():
        text = line.strip()
        for start in ("ITK ERROR:", "sitk::ERROR:"):
            text = text.removeprefix(start).strip()
        # "NiftiImageIO(0x55b4): the reason"
        head, colon, rest = text.partition("): ")
        text = rest if colon and "(0x" in head else text
        if text and not text.startswith(("Exception thrown in", "in /", "/", "#")):
            reasons.append(text.rstrip(":"))
    return one_line(": ".join(reasons[:3])) or "unknown reason"


def shape_problem(image: SimpleITK.Image | Header) -> str | None:
    """Say what an image, or one whose header was read, is if it is no 3D image of one channel."""
    axes, channels = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if (axes, channels) == (3, 1):
        return None
    return f"{axes} axes and {channels} channels; expected a 3D image of one channel"


def kind_problem(image: SimpleITK.Image | Header) -> str | None:
    """Say that voxels are no single real numbers."""
    kind = image.GetPixelIDTypeAsString()
    if "complex" in kind:
        return "holds complex numbers; expected one number a voxel, as of a magnitude image"
    return "holds vectors; expected one number a voxel" if "vector" in kind else None


def constant_problem(image: SimpleITK.Image) -> str | None:
    """Say that every voxel of an image has the same value, or that a network would see them so."""
    values = SimpleITK.GetArrayViewFromImage(image)
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        # Not -0.
        return f"every voxel is {lowest + 0:g}; expected an image"
    # nnU-Net standardises in 32 bits, and divides by no less than 1e-8.
    if max(abs(float(lowest)), abs(float(highest))) > _LARGEST:
        return f"values from {lowest:g} to {highest:g}; expected at most {_LARGEST:g}: scale them down"
    if float(highest) - float(lowest) < _SMALLEST:
        return f"values from {lowest:g} to {highest:g}; expected a range of at least {_SMALLEST:g}: scale them up"
    return None


def _of_a_file(path: Path, read: Callable[[], _Read]) -> _Read:
    """Turn what may go wrong with a file into one line."""
    where = printable(path)
    _refuse_other_bytes(path)
    try:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{where}: is {DANGLING}")
        if path.is_dir():
            raise InputError(f"{where}: is a folder; expected a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{where}: is a pipe or a device; expected a file")
        _refuse_mixed_case(path)
        if not path.stat().st_size:
            raise InputError(f"{where}: the file is empty (0 bytes)")
        return read()
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file") from None
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        reason = "there is not enough memory" if isinstance(error, MemoryError) else one_line(error)
        raise InputError(f"{where}: cannot be read: {reason}") from error


def _refuse_mixed_case(path: Path) -> None:
    """ITK tells formats by their endings in small letters, and NIfTI's in capitals too."""
    name, lower = path.name, path.name.lower()
    ending = next((name[-len(ending) :] for ending in IMAGE_ENDINGS if lower.endswith(ending)), "")
    if ending != ending.lower() and ending not in (".NII", ".NII.GZ"):
        raise InputError(f"{printable(path)}: the ending {ending} is not read: rename it to {ending.lower()}")


def _refuse_other_bytes(path: Path) -> None:
    """ITK ends the whole process where a name is no text."""
    if not is_utf8(path):
        raise InputError(f"{printable(path)}: cannot be read: its name is no UTF-8: rename it")


def _read_nifti(path: Path) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    nifti = read_nifti_header(path)
    header = _itk_header(path)
    _refuse(path, shape_problem(header) or kind_problem(header) or _grid_problem(header))
    remarks = nifti_remarks(nifti, header)
    stored = read_nifti_values(nifti)
    image = with_itk(path, lambda: SimpleITK.ReadImage(str(path)))
    found = SimpleITK.GetArrayViewFromImage(image)
    if stored.shape != found.shape or not _same(stored, found, nifti.slope, nifti.intercept):
        raise InputError(
            f"{path}: ITK, and nnU-Net with it, reads other values than are stored (scl_slope {nifti.slope:g}, "
            f"scl_inter {nifti.intercept:g}, {stored.dtype}): write it again as 32-bit floats"
        )
    return image, tuple(remarks)


def _same(stored: NDArray[Any], found: NDArray[Any], slope: float, intercept: float) -> bool:
    if (slope, intercept) == (1, 0):
        return np.array_equal(stored, found)
    # ITK keeps scaled numbers in 32 bits.
    return np.allclose(stored * np.float64(slope) + intercept, found, rtol=1e-5, atol=abs(slope) * 1e-3)


def _itk_header(path: Path) -> Header:
    def read() -> Header:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        return Header.of(reader)

    return with_itk(path, read)


def _grid_problem(header: Header) -> str | None:
    return geometry_problem(header.size, header.spacing, header.origin, header.direction)


def _refuse(path: Path, problem: str | None) -> None:
    if problem is not None:
        raise InputError(f"{path}: {problem}")
