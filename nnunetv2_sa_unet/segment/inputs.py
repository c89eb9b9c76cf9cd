"""The subjects in any mix of image files, folders, BIDS data sets and DICOM series."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import case_name, find_flair, mask_path, probabilities_path
from nnunetv2_sa_unet.images.dicom import Series, find_series, is_dicom
from nnunetv2_sa_unet.images.folders import IMAGE_ENDINGS, images_in
from nnunetv2_sa_unet.segment.record import Input

__all__ = ["ALTERNATIVES_FOLDER", "FoundSubject", "find_subjects", "is_bids"]

ALTERNATIVES_FOLDER = "alternatives"
_CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class FoundSubject:
    """A subject as it was found; nothing but headers of DICOM files has been read.

    Attributes:
        name: of the subject.
        inputs: one a channel, not hashed yet.
        problem: why it cannot be segmented; empty if nothing speaks against it so far.
        remark: what is odd about it; empty if nothing is.
        volume: where it lies in its BIDS data set; None outside of one.
    """

    name: str
    inputs: tuple[Input, ...]
    problem: str = ""
    remark: str = ""
    volume: Path | None = None

    @property
    def mask(self) -> Path:
        """Where its mask stands below the folder of the run."""
        return mask_path(self.volume) if self.volume else Path(f"{self.name}_wmh.nii.gz")

    @property
    def probabilities(self) -> Path:
        """Where its map of the probability of WMH stands."""
        return probabilities_path(self.volume) if self.volume else Path(f"{self.name}_wmh_prob.nii.gz")

    @property
    def alternatives(self) -> Path:
        """Where the label maps stand between which that map decides, if the model needs them."""
        return Path(ALTERNATIVES_FOLDER, f"{self.name}.nii.gz")


def find_subjects(inputs: Sequence[Path], channels: int) -> list[FoundSubject]:
    """Find all subjects.

    ==================================  =====================================================================
    an input                            its subjects
    ==================================  =====================================================================
    image files                         one a file; files ``NAME_0000`` … of one folder are NAME's channels
    a folder with images                likewise
    a folder with a data set's          one a FLAIR volume, named as its file without ``_FLAIR``
    description (BIDS)
    any other folder                    one a DICOM series in it or below that looks like FLAIR; a single series
                                        whatever it looks like; named as its folders
    ==================================  =====================================================================

    Args:
        inputs: files and folders.
        channels: of the model.

    Returns:
        The subjects in the order of their names.

    Raises:
        InputError: an input is absent or holds no image, or two subjects have one name.
    """
    if channels > 1 and any(map(is_bids, inputs)):
        raise InputError(f"the model needs {channels} channels, but of BIDS data only FLAIR is read; give it files")
    found: list[FoundSubject] = []
    files: dict[Path, dict[str, list[Path]]] = {}
    for path in map(_absolute, inputs):
        if path.is_file():
            files.setdefault(path.parent, {}).setdefault(_stem(path), []).append(path)
        elif not path.is_dir():
            raise InputError(f"{path}: there is no such file or folder")
        elif is_bids(path):
            found += (
                FoundSubject(case_name(volume), (_file(volume),), volume=volume.relative_to(path))
                for volume in find_flair(path)
            )
        elif images := images_in(path):
            for stem, paths in images.items():
                files.setdefault(path, {}).setdefault(stem, []).extend(paths)
        else:
            found += _dicom_subjects(path, channels)
    for images in files.values():
        found += _file_subjects(images, channels)
    _refuse_repeated(found)
    return sorted(found, key=lambda subject: subject.name)


def is_bids(path: Path) -> bool:
    """Whether a folder is a BIDS data set."""
    return (path / "dataset_description.json").is_file()


def _absolute(path: Path) -> Path:
    # Not resolved: names come from what the user wrote and not from where links lead.
    return Path(os.path.abspath(path))


def _file(path: Path) -> Input:
    return Input(path=str(path), sha256=None)


def _stem(path: Path) -> str:
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    if is_dicom(path):
        raise InputError(f"{path}: one DICOM file is one slice; give the folder of its series")
    raise InputError(f"{path}: not an image by its name; expected one of {', '.join(IMAGE_ENDINGS)}")


def _file_subjects(images: Mapping[str, Sequence[Path]], channels: int) -> Iterator[FoundSubject]:
    """The subjects among the images of one folder.

    Args:
        images: by the file's name without its ending.
        channels: of the model.
    """
    groups: dict[str, dict[int, list[Path]]] = {}
    for stem, paths in images.items():
        match = _CHANNEL.fullmatch(stem)
        # A model of one channel also takes files that are numbered from 0001 on.
        if match and (channels > 1 or f"{match['name']}_0000" in images):
            groups.setdefault(match["name"], {}).setdefault(int(match["channel"]), []).extend(paths)
        else:
            for path in paths:
                missing = f"{path.name}: the model needs {channels} channels: expected {stem}_0000, {stem}_0001 …"
                yield FoundSubject(stem, (_file(path),), problem=missing if channels > 1 else "")
    for name, by_channel in groups.items():
        repeated = [path for paths in by_channel.values() if len(paths) > 1 for path in paths]
        if repeated:
            raise InputError(f"{name}: the same channel twice: {', '.join(map(str, repeated))}: keep one of them")
        found = sorted(by_channel)
        problem = ""
        if found != list(range(channels)):
            listed = ", ".join(f"{channel:04}" for channel in found)
            problem = f"channels {listed} found; the model needs {channels}, numbered from 0000"
        yield FoundSubject(name, tuple(_file(by_channel[channel][0]) for channel in found), problem)


def _dicom_subjects(folder: Path, channels: int) -> Iterator[FoundSubject]:
    every = find_series(folder)
    if not every:
        raise InputError(
            f"{folder}: holds no image and no DICOM series, and is no BIDS data set (dataset_description.json)"
        )
    chosen = [series for series in every if series.flair] if len(every) > 1 else every
    names = set()
    for series in chosen:
        twice = sum(series.folder == other.folder for other in chosen) > 1
        problem, remark = _problem_and_remark(series, every)
        if channels > 1:
            problem = f"a DICOM series is one channel, and the model needs {channels}"
        name = _folder_name(folder, series.folder) + (f"_{series.number}" if twice else "")
        names.add(name)
        files = Input(path=str(series.folder), sha256=None, series_uid=series.uid, files=list(series.files))
        yield FoundSubject(name, (files,), problem, remark)
    studies = {series.study for series in chosen}
    for study in dict.fromkeys(series.study for series in every if series.study not in studies):
        without = [series for series in every if series.study == study]
        listed = ", ".join(series.description or series.number for series in without)
        name = _folder_name(folder, Path(os.path.commonpath([series.folder for series in without])))
        # Several studies may lie in one folder.
        yield FoundSubject(
            f"{name}_{without[0].number}" if name in names else name, (), f"no FLAIR among its DICOM series: {listed}"
        )
        names.add(name)


def _problem_and_remark(series: Series, every: Iterable[Series]) -> tuple[str, str]:
    remarks = [] if series.flair else [f"series '{series.description}' does not look like FLAIR by its DICOM header"]
    if not series.unreadable:
        return "", "; ".join(remarks)
    damaged = f"{len(series.unreadable)} DICOM files cannot be read ({series.unreadable[0]} …)"
    if any(other.folder == series.folder and other != series for other in every):
        return "", "; ".join([*remarks, f"{damaged}; they may belong to another series of the folder"])
    return f"{series.folder}: {damaged}", "; ".join(remarks)


def _folder_name(top: Path, folder: Path) -> str:
    """The folders below ``top``, or ``top`` itself, as one name."""
    return "_".join(folder.relative_to(top).parts) or top.name


def _refuse_repeated(found: Sequence[FoundSubject]) -> None:
    places: dict[str, list[str]] = {}
    for subject in found:
        places.setdefault(subject.name, []).append(subject.inputs[0].path if subject.inputs else subject.problem)
    problems = [f"  {name}: {', '.join(paths)}" for name, paths in sorted(places.items()) if len(paths) > 1]
    if problems:
        raise InputError("\n".join(["several inputs have the name of one subject; rename or leave out:", *problems]))
