"""DICOM series as volumes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.volumes import itk_reason, read_header

__all__ = ["Series", "find_series", "is_dicom", "looks_like_flair", "read_series"]

_MODALITY, _STUDY = "0008|0060", "0020|000d"
_DESCRIPTION, _PROTOCOL, _SEQUENCE = "0008|103e", "0018|1030", "0018|0024"
_ECHO_TIME, _INVERSION_TIME, _NUMBER = "0018|0081", "0018|0082", "0020|0011"

#: Inversion times (ms) that null the signal of cerebrospinal fluid at 1.5 T and 3 T.
_FLAIR_INVERSION = (1500, 3000)
#: Shorter echoes (ms) are not weighted by T2: MP2RAGE has long inversion times too.
_SHORTEST_ECHO = 60
_FLAIR_WORDS = re.compile(r"flair|dark.?fluid|tirm")
#: How far a step between slices may be from the others, as a fraction of it.
_UNEVEN = 0.05


@dataclass(frozen=True)
class Series:
    """One series of DICOM files in one folder.

    Attributes:
        folder: that holds the files.
        uid: the series' identifier.
        files: names, in the order of the slices; empty if none of the folder's files can be read.
        study: identifier of the study, one visit to the scanner.
        number: of the series in its study.
        description: as the scanner's user reads it.
        flair: whether it looks like FLAIR; so does what cannot be read at all.
        unreadable: names of files in the folder that are DICOM by their first bytes and belong to no series.
    """

    folder: Path
    uid: str
    files: tuple[str, ...]
    study: str
    number: str
    description: str
    flair: bool
    unreadable: tuple[str, ...]


def find_series(folder: Path) -> list[Series]:
    """Find every DICOM series in a folder and the folders below it, by folder and number. Reads headers only."""
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        files = [name for name in names if is_dicom(Path(place, name))]
        if files:
            found += sorted(_series_in(Path(place), files), key=lambda one: (one.folder, len(one.number), one.number))
    return found


def is_dicom(path: Path) -> bool:
    """Whether a file says in its first bytes that it is DICOM; not so a DICOMDIR."""
    if path.name == "DICOMDIR":
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


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
        folder: that they lie in.
        files: their names in the order of the slices.

    Raises:
        InputError: a file is absent or damaged, slices are missing, or they make up more than one volume; the message
            starts with the path of the file or of the folder.
    """
    paths = [folder / file for file in files]
    try:
        origins = _origins(paths)
        if len(np.unique(origins.round(3), axis=0)) < len(origins):
            raise InputError(f"{folder}: its DICOM series holds several slices at one place; expected a single volume")
        steps = np.linalg.norm(np.diff(origins, axis=0), axis=1)
        if steps.size and np.abs(steps / np.median(steps) - 1).max() > _UNEVEN:
            raise InputError(
                f"{folder}: slices of its DICOM series are missing or unevenly spaced: steps from {steps.min():g} to "
                f"{steps.max():g} mm"
            )
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in paths])
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{folder}: its DICOM series cannot be read: {itk_reason(error)}") from error


def _series_in(folder: Path, files: Sequence[str]) -> Iterator[Series]:
    by_uid = {
        uid: tuple(Path(name).name for name in SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid))
        for uid in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    unreadable = tuple(sorted(set(files).difference(*by_uid.values())))
    if not by_uid:
        yield Series(folder, "", (), "", "", "", True, unreadable)
    for uid, names in by_uid.items():
        header = _header(folder / names[0])
        yield Series(
            folder,
            uid,
            names,
            header.get(_STUDY, ""),
            header.get(_NUMBER, ""),
            header.get(_DESCRIPTION) or header.get(_PROTOCOL, ""),
            header.get(_MODALITY, "MR") == "MR" and looks_like_flair(header),
            unreadable,
        )


def _header(path: Path) -> dict[str, str]:
    reader = read_header(path)
    # DICOM pads values to an even length.
    return {key: reader.GetMetaData(key).strip(" \0") for key in reader.GetMetaDataKeys()}


def _origins(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Where slices lie in mm, (slice, xyz); nothing of a single file, which may hold a whole volume."""
    readers = [read_header(path) for path in paths] if len(paths) > 1 else []
    return np.array([reader.GetOrigin() for reader in readers]).reshape(-1, 3)


def _number(header: Mapping[str, str], tag: str) -> float:
    """A number in a header, 0 if there is none."""
    try:
        return float(header.get(tag, "0"))
    except ValueError:
        return 0.0
