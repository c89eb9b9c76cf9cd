"""DICOM series as volumes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom_files import DicomFile, read_dicom_file
from nnunetv2_sa_unet.images.slices import Stack, stacked
from nnunetv2_sa_unet.images.volumes import with_itk
from nnunetv2_sa_unet.text import printable

__all__ = ["looks_like_flair", "read_series", "read_series_remarked"]

_DESCRIPTION, _PROTOCOL, _SEQUENCE = "0008|103e", "0018|1030", "0018|0024"
_ECHO_TIME, _INVERSION_TIME = "0018|0081", "0018|0082"

#: Inversion times (ms) that null the signal of cerebrospinal fluid at 1.5 T and 3 T.
_FLAIR_INVERSION = (1500, 3000)
#: Shorter echoes (ms) are not weighted by T2: MP2RAGE has long inversion times too.
_SHORTEST_ECHO = 60
_FLAIR_WORDS = re.compile(r"flair|dark.?fluid|tirm")


def looks_like_flair(header: Mapping[str, str]) -> bool:
    """Tell FLAIR by the header of a slice.

    With an inversion time: it suppresses fluid, and the name or a long echo says FLAIR. Without one: the name says
    FLAIR and not T1, as there is a T1 FLAIR, in which fluid is dark but lesions are not bright.

    Args:
        header: values by tag, such as ``0018|0082``.
    """
    name = " ".join(header.get(tag, "") for tag in (_DESCRIPTION, _PROTOCOL, _SEQUENCE)).lower()
    named = _FLAIR_WORDS.search(name) is not None
    inversion = _number(header, _INVERSION_TIME)
    if inversion > 0:
        suppresses_fluid = _FLAIR_INVERSION[0] <= inversion <= _FLAIR_INVERSION[1]
        return suppresses_fluid and (named or _number(header, _ECHO_TIME) >= _SHORTEST_ECHO)
    return named and "t1" not in name


def read_series(folder: Path, files: Sequence[str]) -> SimpleITK.Image:
    """Read the files of one DICOM series as a volume.

    Args:
        folder: that they lie in or below.
        files: their paths below the folder; or one file that holds all slices (enhanced MR).

    Raises:
        InputError: a file is absent or damaged, slices are missing, they make up more than one volume, or are no
            magnitude; the message starts with the path of the file or of the folder.
    """
    return read_series_remarked(folder, files)[0]


def read_series_remarked(folder: Path, files: Sequence[str]) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    """As :func:`read_series`, with remarks on what was left out and on what may be missing."""
    read = [read_dicom_file(folder / file) for file in files]
    for each in read:
        if each.problem or not each.is_image:
            raise InputError(f"{each.path}: {each.problem or f'holds no image ({each.kind})'}")
    _refuse_twice(folder, read)
    where = read[0].path if len(read) == 1 and len(read[0].planes) > 1 else folder
    try:
        if len(read) > 1 and any(len(each.planes) > 1 for each in read):
            raise InputError("its DICOM series is spread over several files of many slices")
        _refuse_other_matrices(read)
        stack = stacked([plane for each in read for plane in each.planes], read[0].shape)
    except InputError as error:
        raise InputError(f"{printable(where)}: its DICOM series: {error}") from None
    image = _frames(read[0], stack) if len(read[0].planes) > 1 else _slices(read, stack)
    image.SetSpacing(stack.spacing)
    image.SetOrigin(stack.origin)
    image.SetDirection(stack.direction)
    said = read[0].images
    count = sum(len(each.planes) for each in read)
    fewer = [f"its header says {said} images in the acquisition, and {count} are there"] if (said or 0) > count else []
    return image, (*stack.remarks, *fewer)


def _slices(read: Sequence[DicomFile], stack: Stack) -> SimpleITK.Image:
    # One by one: ITK's reader of series takes the type of the first slice for all, and rounds or wraps the others.
    return SimpleITK.GetImageFromArray(np.concatenate([_pixels(read[index]) for index in stack.order]))


def _pixels(read: DicomFile) -> NDArray[Any]:
    """The scaled values of a file (frame, rows, columns)."""
    values: NDArray[Any] = SimpleITK.GetArrayFromImage(with_itk(read.path, lambda: SimpleITK.ReadImage(str(read.path))))
    if values.size != len(read.planes) * math.prod(read.shape):
        raise InputError(f"{read.path}: {values.size} voxels are read; expected {len(read.planes)} of {read.shape}")
    return values.reshape(-1, *read.shape)


def _frames(read: DicomFile, stack: Stack) -> SimpleITK.Image:
    if len({plane.scale for plane in read.planes}) > 1:
        raise InputError(f"{read.path}: its frames have several scales (RescaleSlope); expected one for all")
    return SimpleITK.GetImageFromArray(_pixels(read)[list(stack.order)])


def _refuse_twice(folder: Path, read: Sequence[DicomFile]) -> None:
    seen: dict[str, DicomFile] = {}
    for each in read:
        first = seen.setdefault(each.instance, each)
        if first is not each and each.instance:
            raise InputError(
                f"{printable(folder)}: {printable(first.path.name)} and {printable(each.path.name)} are the same "
                "slice of its DICOM series: remove one of them"
            )


def _refuse_other_matrices(read: Sequence[DicomFile]) -> None:
    odd = next((each for each in read if each.shape != read[0].shape), None)
    if odd is not None:
        counts = [each.shape for each in read]
        # The odd one out, and not the first of many that differ from it.
        fewest = min(read, key=lambda each: counts.count(each.shape))
        most = max(counts, key=counts.count)
        raise InputError(
            f"{printable(fewest.path.name)} has {fewest.shape[0]} rows and {fewest.shape[1]} columns; expected "
            f"{most[0]} and {most[1]} as in the others"
        )


def _number(header: Mapping[str, str], tag: str) -> float:
    """A number in a header, 0 if there is none."""
    try:
        return float(header.get(tag, "0"))
    except ValueError:
        return 0.0
