"""DICOM series as volumes."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom_files import DicomFile, read_dicom_file
from nnunetv2_sa_unet.images.slices import Stack, stacked
from nnunetv2_sa_unet.images.volumes import with_itk
from nnunetv2_sa_unet.text import one_line, printable

__all__ = ["looks_like_flair", "read_order", "read_series", "read_series_remarked"]

_DESCRIPTION, _PROTOCOL, _SEQUENCE = "0008|103e", "0018|1030", "0018|0024"
_ECHO_TIME, _INVERSION_TIME = "0018|0081", "0018|0082"

#: Inversion times (ms) that null the signal of cerebrospinal fluid at 1.5 T and 3 T.
_FLAIR_INVERSION = (1500, 3000)
#: Shorter echoes (ms) are not weighted by T2: MP2RAGE has long inversion times too.
_SHORTEST_ECHO = 60
#: There is one for all threads.
_STANDARD_ERROR = threading.Lock()
#: What stands before the first tag.
_PREAMBLE = bytes(128) + b"DICM"
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
    read, stack = read_order(folder, files)
    # File by file: ITK's reader of series takes the type of the first slice for all, and rounds or wraps the others.
    slices = [part for each in read for part in _pixels(each)]
    image = SimpleITK.GetImageFromArray(np.stack([slices[index] for index in stack.order]))
    image.SetSpacing(stack.spacing)
    image.SetOrigin(stack.origin)
    image.SetDirection(stack.direction)
    said = read[0].images
    count = sum(len(each.planes) for each in read)
    fewer = [f"its header says {said} images in the acquisition, and {count} are there"] if (said or 0) > count else []
    derived = [f"its header calls it {read[0].derived} (ImageType): made of other images"] if read[0].derived else []
    return image, (*derived, *stack.remarks, *fewer)


def read_order(folder: Path, files: Sequence[str]) -> tuple[list[DicomFile], Stack]:
    """Read the headers of one DICOM series, and which of its slices lie where in its volume.

    Args:
        folder: see :func:`read_series`, whose errors it raises.
        files: likewise.

    Returns:
        What the files say, and the order of their planes, one file after the other.
    """
    read = [read_dicom_file(folder / file) for file in files]
    for each in read:
        if each.problem or not each.is_image:
            raise InputError(f"{each.path}: {each.problem or f'holds no image ({each.kind})'}")
    _refuse_twice(folder, read)
    where = read[0].path if len(read) == 1 and len(read[0].planes) > 1 else folder
    try:
        _refuse_other_matrices(read)
        return read, stacked([plane for each in read for plane in each.planes], read[0].shape)
    except InputError as error:
        raise InputError(f"{printable(where)}: its DICOM series: {error}") from None


def _pixels(read: DicomFile) -> NDArray[Any]:
    """The scaled values of a file (frame, rows, columns)."""
    if len({plane.scale for plane in read.planes}) > 1:
        raise InputError(f"{read.path}: its frames have several scales (RescaleSlope); expected one for all")
    try:
        said: AbstractContextManager[list[str]] = _complaints() if "JPEG" in read.syntax else nullcontext([])
        with _with_preamble(read.path) as path, said as complaints:
            values: NDArray[Any] = SimpleITK.GetArrayFromImage(with_itk(path, lambda: SimpleITK.ReadImage(str(path))))
        if complaints:
            raise InputError(f"cannot be read: {complaints[0]}")
    except InputError as error:
        reason = str(error).rpartition("cannot be read: ")[2]
        raise InputError(
            f"{read.path}: its pixels ({read.syntax or 'transfer syntax unknown'}) are damaged, or of an encoding that "
            f"ITK does not decode ({reason})"
        ) from None
    if values.size != len(read.planes) * math.prod(read.shape):
        raise InputError(f"{read.path}: {values.size} voxels are read; expected {len(read.planes)} of {read.shape}")
    return values.reshape(-1, *read.shape)


@contextmanager
def _with_preamble(path: Path) -> Iterator[Path]:
    """A file that ITK knows as DICOM: a copy with the 128 bytes that may be missing before its first group."""
    with path.open("rb") as stream:
        start = stream.read(len(_PREAMBLE))
        if start[:2] != b"\2\0" or start[-4:] == _PREAMBLE[-4:]:
            yield path
            return
        with tempfile.NamedTemporaryFile(suffix=".dcm") as copy:
            copy.write(_PREAMBLE + start)
            shutil.copyfileobj(stream, copy)
            copy.flush()
            yield Path(copy.name)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what libjpeg says of damaged pixels, which it says on standard error alone, and goes on."""
    found: list[str] = []
    with _STANDARD_ERROR, tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                if "JPEG" in line:
                    found.append(one_line(line))
                else:
                    # Of another thread.
                    print(line, file=sys.stderr)


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
