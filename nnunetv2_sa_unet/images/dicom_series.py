"""The DICOM series in a folder and below it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.images.dicom import looks_like_flair
from nnunetv2_sa_unet.images.dicom_files import DicomFile, is_dicom, read_dicom_file
from nnunetv2_sa_unet.images.folders import PassedOver, reason_for_passing, walk
from nnunetv2_sa_unet.text import printable

__all__ = ["DicomTree", "Series", "find_series"]

#: As many files are listed in a message.
_MOST_NAMES = 20
_BY_NAME = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class Series:
    """One series of DICOM files.

    Attributes:
        folder: that holds the files, itself or in folders below it.
        uid: the series' identifier.
        files: their paths below the folder, in the order of the slices where they give one; empty if none of the
            folder's files can be read.
        study: identifier of the study, one visit to the scanner.
        number: of the series in its study.
        description: as the scanner's user reads it.
        flair: whether it looks like FLAIR; so does what cannot be read at all.
        part: what of a complex image all of it is (phase …); empty for one with a magnitude.
        problem: why it cannot be read as a volume; empty if nothing speaks against it so far.
        remarks: what is odd about it.
    """

    folder: Path
    uid: str
    files: tuple[str, ...]
    study: str
    number: str
    description: str
    flair: bool
    part: str = ""
    problem: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DicomTree:
    """What lies in a folder and below it: series, and what is none."""

    series: list[Series]
    passed_over: list[PassedOver]


@dataclass
class _Found:
    """What a walk comes upon.

    Attributes:
        files: images that pydicom reads.
        broken: by folder, what may be a slice and cannot be read, with the reason.
        passed_over: what is no slice.
    """

    files: list[DicomFile] = field(default_factory=list)
    broken: dict[Path, list[tuple[str, str]]] = field(default_factory=dict)
    passed_over: list[PassedOver] = field(default_factory=list)


def find_series(folder: Path) -> DicomTree:
    """Find every DICOM series in a folder and the folders below it, by folder and number. Reads headers only.

    A series whose files lie in several folders is one; linked folders are followed.
    """
    found = _Found()
    for place, names in walk(folder, found.passed_over):
        _look(place, names, found)
    groups: dict[tuple[str, ...], list[DicomFile]] = {}
    for each in found.files:
        groups.setdefault((each.patient, each.study, each.series or str(each.path.parent)), []).append(each)
    volumes = (files for group in groups.values() for files in _volumes(group))
    series = [one for files in volumes for one in _series(files, found)]
    series += _without_header(series, found)
    series.sort(key=lambda one: (one.folder, len(one.number), one.number, one.files))
    return DicomTree([_with_broken(one, series, found) for one in series], found.passed_over)


def _volumes(files: Sequence[DicomFile]) -> list[list[DicomFile]]:
    """The files of one identifier by volume: a file of many slices is one of its own where slices lie at one place."""
    many = [each for each in files if len(each.planes) > 1]
    places = [(plane.position, plane.orientation) for each in many for plane in each.planes]
    if len(many) < 2 and len(many) in (0, len(files)):
        return [list(files)]
    places += [(plane.position, plane.orientation) for each in files if each not in many for plane in each.planes]
    if len(set(places)) == len(places) and len({orientation for _, orientation in places}) == 1:
        return [list(files)]
    by_instance: dict[str, list[DicomFile]] = {}
    for each in many:
        by_instance.setdefault(each.instance, []).append(each)
    single = [each for each in files if each not in many]
    return [*by_instance.values(), *([single] if single else [])]


def _look(place: Path, names: Sequence[str], found: _Found) -> None:
    """Sort the files of a folder."""
    others = []
    patterns: set[str] = set()
    for name in names:
        path = place / name
        if not is_dicom(path):
            others.append(path)
            continue
        patterns.add(_pattern(name))
        try:
            read = read_dicom_file(path)
        except InputError as error:
            found.broken.setdefault(place, []).append((name, str(error).removeprefix(f"{printable(path)}: ")))
            continue
        if read.is_image:
            found.files.append(read)
        else:
            found.passed_over.append(PassedOver(path, f"holds no image ({read.kind})", True))
    for path in others:
        # What is named as the slices beside it is one that was lost, and not another file.
        if path.name != "DICOMDIR" and (_pattern(path.name) in patterns or path.name.lower().endswith(_BY_NAME)):
            found.broken.setdefault(place, []).append((path.name, _loss(path)))
        else:
            found.passed_over.append(reason_for_passing(path))


def _pattern(name: str) -> str:
    return re.sub(r"[0-9A-F]{8}|[0-9]+", "#", name)


def _loss(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "is a link to a file that is not there"
    if not os.access(path, os.R_OK):
        return "cannot be read: no permission"
    return "is no DICOM file by its first bytes" if path.stat().st_size else "is empty (0 bytes)"


def _series(files: Sequence[DicomFile], found: _Found) -> Iterator[Series]:
    """The series of one identifier: one, unless whole copies of it differ."""
    by_folder: dict[Path, list[DicomFile]] = {}
    for each in files:
        by_folder.setdefault(each.path.parent, []).append(each)
    folders = sorted(by_folder)
    places = {place: {plane.position for each in by_folder[place] for plane in each.planes} for place in folders}
    if all(places[first].isdisjoint(places[second]) for first in folders for second in folders if first < second):
        yield _one(files, found)
        return
    if all(places[first] == places[second] for first, second in pairwise(folders)):
        distinct: list[Path] = []
        for place in folders:
            same = next((first for first in distinct if _same_bytes(by_folder[first], by_folder[place])), None)
            if same is None:
                distinct.append(place)
            else:
                found.passed_over.append(PassedOver(place, f"a copy of the DICOM series in {printable(same)}", True))
        others = "its identifier (SeriesInstanceUID) is that of another series of other content in {}"
        for place in distinct:
            listed = ", ".join(printable(other) for other in distinct if other != place)
            yield _one(by_folder[place], found, remark=others.format(listed) if listed else "")
        return
    listed = ", ".join(map(printable, folders))
    yield _one(files, found, f"the files of its DICOM series lie in several folders and overlap: {listed}")


def _one(files: Sequence[DicomFile], found: _Found, problem: str = "", remark: str = "") -> Series:
    first = files[0]
    folders = {each.path.parent for each in files}
    folder = Path(os.path.commonpath(folders))
    damaged = [(each.path.name, each.problem) for each in files if each.problem]
    if damaged and not problem:
        problem = f"{printable(folder)}: of {len(files)} files of its series {_listed(damaged)}"
    parts = {plane.part for each in files for plane in each.planes}
    part = "" if "" in parts else " and the ".join(sorted(parts))
    if part and not problem:
        problem = f"{printable(folder)}: holds the {part} of a complex image; expected its magnitude"
    return Series(
        folder=folder,
        uid=first.series,
        files=tuple(each.path.relative_to(folder).as_posix() for each in _in_order(files)),
        study=first.study,
        number=first.number,
        description=first.header.get("0008|103e") or first.header.get("0018|1030", ""),
        flair=first.modality in ("MR", "") and looks_like_flair(first.header) and not first.is_localizer,
        part=part,
        problem=problem,
        remarks=(remark,) if remark else (),
    )


def _in_order(files: Sequence[DicomFile]) -> list[DicomFile]:
    """By the place of the slices where they give one, by name where not."""

    def key(each: DicomFile) -> tuple[float, str]:
        position, orientation = each.planes[0].position, each.planes[0].orientation
        if position is None or orientation is None:
            return 0.0, str(each.path)
        r, c = orientation[:3], orientation[3:]
        normal = (r[1] * c[2] - r[2] * c[1], r[2] * c[0] - r[0] * c[2], r[0] * c[1] - r[1] * c[0])
        return round(sum(a * b for a, b in zip(normal, position, strict=True)), 3), str(each.path)

    return sorted(files, key=key)


def _same_bytes(first: Sequence[DicomFile], second: Sequence[DicomFile]) -> bool:
    if sorted(each.instance for each in first) != sorted(each.instance for each in second):
        return False
    by_instance = {each.instance: each.path for each in first}
    return all(sha256([by_instance[each.instance]]) == sha256([each.path]) for each in second)


def _without_header(series: Iterable[Series], found: _Found) -> Iterator[Series]:
    """Folders whose DICOM files can none be read."""
    known = {(one.folder / file).parent for one in series for file in one.files}
    for place, broken in found.broken.items():
        if place not in known:
            problem = f"{printable(place)}: {_listed(broken)}"
            yield Series(place, "", (), "", "", "", True, problem=problem)


def _with_broken(one: Series, every: Sequence[Series], found: _Found) -> Series:
    """A series with what is said about the files beside it that cannot be read."""
    folders = {(one.folder / file).parent for file in one.files}
    broken = [each for place in sorted(folders) for each in found.broken.get(place, ())]
    if not broken:
        return one
    said = _listed(broken)
    if any(other is not one and (other.folder / file).parent in folders for other in every for file in other.files):
        said += "; they may belong to another series of the folder"
        return Series(**{**vars(one), "remarks": (*one.remarks, said)})
    problem = f"{one.problem}; {said}" if one.problem else f"{printable(one.folder)}: {said}"
    return Series(**{**vars(one), "problem": problem})


def _listed(broken: Sequence[tuple[str, str]]) -> str:
    """Files that cannot be read, with the reason of the first."""
    names = [printable(name) for name, _ in broken]
    listed = ", ".join(names[:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "")
    return f"{len(names)} DICOM files cannot be read ({listed}: {broken[0][1]})"
