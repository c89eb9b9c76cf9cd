"""The subjects in any mix of image files, folders, BIDS data sets and DICOM series."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import DESCRIPTION, case_name, find_flair, mask_path, probabilities_path, regions_path
from nnunetv2_sa_unet.images.dicom_files import is_dicom
from nnunetv2_sa_unet.images.dicom_series import Series, find_series
from nnunetv2_sa_unet.images.folders import DANGLING, IMAGE_ENDINGS, PassedOver, images_and_others, walk
from nnunetv2_sa_unet.segmentation.record import Input
from nnunetv2_sa_unet.segmentation.record_files import RECORD_NAME
from nnunetv2_sa_unet.text import is_utf8, one_line, printable

__all__ = ["ALTERNATIVES_FOLDER", "Found", "FoundSubject", "find_subject", "find_subjects", "is_bids"]

ALTERNATIVES_FOLDER = "alternatives"
#: The longest name of a subject in bytes: file systems take 255, of which the ends of our files' names are a part.
_LONGEST_NAME = 190
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
    def regions(self) -> Path:
        """Where its map of regions stands."""
        return regions_path(self.volume) if self.volume else Path(f"{self.name}_regions.nii.gz")

    @property
    def is_dicom(self) -> bool:
        """Whether it is a DICOM series."""
        return bool(self.inputs) and self.inputs[0].files is not None

    @property
    def dicom_seg(self) -> Path:
        """Where its mask stands as a DICOM object, if it is a DICOM series."""
        return Path(f"{self.name}_wmh.dcm")

    @property
    def alternatives(self) -> Path:
        """Where the label maps stand between which that map decides, if the model needs them."""
        return Path(ALTERNATIVES_FOLDER, f"{self.name}.npz")


@dataclass(frozen=True)
class Found:
    """What there is in the inputs.

    Attributes:
        subjects: in the order of their names.
        passed_over: files, folders and series that were looked at and are no subject, by path.
    """

    subjects: list[FoundSubject]
    passed_over: list[PassedOver]

    @property
    def is_complete(self) -> bool:
        """Whether all that was passed over plainly is nothing to segment."""
        return all(each.harmless for each in self.passed_over)


def find_subjects(inputs: Sequence[Path], channels: int) -> Found:
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

    Raises:
        InputError: an input is absent or holds no image, or two subjects have one name.
    """
    if channels > 1 and any(map(is_bids, inputs)):
        raise InputError(f"the model needs {channels} channels, but of BIDS data only FLAIR is read; give it files")
    found: list[FoundSubject] = []
    passed_over: list[PassedOver] = []
    files: dict[Path, dict[str, list[Path]]] = {}
    for path in map(_absolute, inputs):
        if path.is_file() or (path.is_symlink() and not path.exists()):
            files.setdefault(path.parent, {}).setdefault(_stem(path), []).append(path)
        elif not path.is_dir():
            raise InputError(f"{printable(path)}: there is no such file or folder")
        elif is_bids(path):
            volumes, left = find_flair(path)
            found += (FoundSubject(case_name(each.path), (_file(each.path),), volume=each.place) for each in volumes)
            passed_over += left
        else:
            images, others = images_and_others(path)
            if images:
                passed_over += (_of_a_folder_of_images(each) for each in others)
                for stem, paths in images.items():
                    files.setdefault(path, {}).setdefault(stem, []).extend(paths)
            else:
                subjects, left = _dicom_subjects(path, channels)
                found += subjects
                passed_over += left
    for images in files.values():
        found += _file_subjects(images, channels)
    found = [_with_a_usable_name(subject) for subject in found]
    _refuse_repeated(found)
    return Found(
        sorted(found, key=lambda subject: subject.name), sorted(set(passed_over), key=lambda each: str(each.path))
    )


def find_subject(path: Path, channels: int) -> FoundSubject:
    """Find the one subject of a file or folder, as :func:`find_subjects` does, without a problem.

    Raises:
        InputError: there is none, there are several, or it cannot be segmented; the message starts with a path.
    """
    subjects = find_subjects([path], channels).subjects
    if len(subjects) != 1:
        names = ", ".join(subject.name for subject in subjects[:3])
        raise InputError(f"{path}: found {len(subjects)} images ({names} …), expected one: give them one by one")
    (found,) = subjects
    if found.problem:
        raise InputError(found.problem if found.problem.startswith(f"{path}: ") else f"{path}: {found.problem}")
    return found


def is_bids(path: Path) -> bool:
    """Whether a folder is a BIDS data set."""
    return (path / DESCRIPTION).is_file()


def _absolute(path: Path) -> Path:
    # Not resolved: names come from what the user wrote and not from where links lead.
    return Path(os.path.abspath(path))


def _file(path: Path) -> Input:
    return Input(path=str(path), sha256=None)


def _of_a_folder_of_images(other: PassedOver) -> PassedOver:
    """Say that a folder beside images holds images, too, or a DICOM file lies there."""
    if other.path.is_dir():
        # What an earlier run wrote is no input.
        if not (other.path / RECORD_NAME).exists() and _holds_images(other.path):
            return PassedOver(other.path, "a folder with images beside images: give it as an input of its own", False)
    elif other.harmless and is_dicom(other.path):
        return PassedOver(other.path, "a DICOM file beside images: give its folder as an input of its own", False)
    return other


def _holds_images(folder: Path) -> bool:
    return any(
        name.lower().endswith(IMAGE_ENDINGS) or is_dicom(place / name)
        for place, names in walk(folder, [])
        for name in names
    )


def _with_a_usable_name(subject: FoundSubject) -> FoundSubject:
    """A subject of a name or place that no file or record can take has a problem, and a name that can be shown."""
    paths = [each.path for each in subject.inputs]
    if not all(map(is_utf8, [subject.name, *paths])):
        where = printable(paths[0]) if paths else printable(subject.name)
        return FoundSubject(printable(subject.name), (), f"{where}: its name is no UTF-8: rename it")
    for path in map(Path, paths):
        if path.is_symlink() and not path.exists():
            return FoundSubject(subject.name, (), f"{printable(path)}: {DANGLING}")
        if path.exists() and not (path.is_file() or path.is_dir()):
            return FoundSubject(subject.name, (), f"{printable(path)}: is a pipe or a device; expected a file")
    if len(subject.name.encode()) > _LONGEST_NAME:
        problem = f"a name of {len(subject.name.encode())} bytes; expected at most {_LONGEST_NAME}: rename it"
        return FoundSubject(subject.name, subject.inputs, problem, subject.remark, subject.volume)
    return subject


def _stem(path: Path) -> str:
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    if is_dicom(path):
        raise InputError(f"{printable(path)}: one DICOM file is one slice; give the folder of its series")
    raise InputError(f"{printable(path)}: not an image by its name; expected one of {', '.join(IMAGE_ENDINGS)}")


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


def _dicom_subjects(folder: Path, channels: int) -> tuple[list[FoundSubject], list[PassedOver]]:
    """The subjects among the DICOM series in a folder and below it, and what is none."""
    tree = find_series(folder)
    every = tree.series
    # What an earlier run wrote is no input.
    passed_over = [each for each in tree.passed_over if not _lies_in_a_run(each.path, folder)]
    if not every:
        seen = "; ".join(f"{printable(each.path)}: {each.reason}" for each in passed_over if not each.harmless)
        raise InputError(
            f"{printable(folder)}: holds no image and no DICOM series, and is no BIDS data set "
            f"(dataset_description.json){seen and '; ' + seen}"
        )
    magnitudes = {series.study for series in every if series.flair and not series.part}
    chosen = [series for series in every if series.flair] if len(every) > 1 else every
    chosen = [series for series in chosen if not (series.part and series.study in magnitudes)]
    passed_over += (_as_passed_over(series) for series in every if series not in chosen)
    names = _names(folder, chosen)
    found = []
    for series, name in zip(chosen, names, strict=True):
        remarks = list(series.remarks)
        if not series.flair:
            remarks.append(f"series '{one_line(series.description)}' does not look like FLAIR by its DICOM header")
        problem = f"a DICOM series is one channel, and the model needs {channels}" if channels > 1 else series.problem
        files = Input(path=str(series.folder), sha256=None, series_uid=series.uid, files=list(series.files))
        found.append(FoundSubject(name, (files,), problem, "; ".join(remarks)))
    studies = {series.study for series in chosen}
    for study in dict.fromkeys(series.study for series in every if series.study not in studies):
        without = [series for series in every if series.study == study]
        listed = ", ".join(one_line(series.description) or _safe(series.number) for series in without)
        name = _folder_name(folder, Path(os.path.commonpath([series.folder for series in without])))
        # Several studies may lie in one folder.
        name = f"{name}_{_safe(without[0].number)}" if name in names else name
        found.append(FoundSubject(name, (), f"no FLAIR among its DICOM series: {listed}"))
        names.append(name)
    return found, passed_over


def _lies_in_a_run(path: Path, top: Path) -> bool:
    """Whether a file lies in a folder, below the one that was given, that ``segment`` wrote."""
    return any((place / RECORD_NAME).exists() for place in path.parents if place != top and place.is_relative_to(top))


def _as_passed_over(series: Series) -> PassedOver:
    what = f"DICOM series {_safe(series.number)} '{one_line(series.description)}'"
    path = series.folder / series.files[0] if series.files else series.folder
    if series.part:
        return PassedOver(path, f"{what} holds the {series.part} of a complex image", True)
    if series.problem:
        return PassedOver(path, f"{what} does not look like FLAIR, and cannot be read", True)
    return PassedOver(path, f"{what} does not look like FLAIR by its header", True)


def _names(top: Path, chosen: Sequence[Series]) -> list[str]:
    """Their folders, with the number of the series where a folder has several, and a count where those are the same."""
    folders = [series.folder for series in chosen]
    names = [
        _folder_name(top, series.folder) + (f"_{_safe(series.number)}" if folders.count(series.folder) > 1 else "")
        for series in chosen
    ]
    return [
        f"{name}_{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def _safe(number: str) -> str:
    """The number of a series as part of a file's name, whatever its header holds."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", number).strip(".-") or "unnumbered"


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
