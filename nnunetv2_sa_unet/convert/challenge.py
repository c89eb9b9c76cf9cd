"""The folder tree of the WMH Segmentation Challenge.

The data (60 training and 110 test cases, doi 10.34894/AECRSD) come as ``training`` and ``test``, then
``<site>/[<scanner>/]<id>/``. Each case has ``orig/FLAIR.nii.gz``, ``orig/T1.nii.gz``, the same bias-corrected under
``pre``, and the reference ``wmh.nii.gz``. Second readings of the training cases lie below
``additional_annotations/observer_o3`` and ``observer_o4``, each in a folder with the case's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.convert.raw_cases import SourceCase
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import DANGLING

__all__ = ["CHANNELS", "SCANNERS", "Scanner", "find_cases", "incomplete_scanners"]

#: The sequences on the FLAIR's grid.
CHANNELS = ("FLAIR", "T1")
OBSERVERS = ("o3", "o4")
_PARTS = {"training": True, "test": False}
_READINGS = "additional_annotations"


@dataclass(frozen=True)
class Scanner:
    """A scanner of the challenge.

    Attributes:
        name: in the names of cases.
        site: the folder of its site.
        folder: how the name of its own folder below the site begins; None where the cases lie in the site's folder.
            That of the Philips scanner ends in a dot, which some file systems and archives drop.
        model: of the scanner.
        training: how many training cases the challenge has of it.
        test: how many test cases.
    """

    name: str
    site: str
    folder: str | None
    model: str
    training: int
    test: int

    @property
    def place(self) -> str:
        """The folder below ``training`` or ``test``, in words."""
        return self.site if self.folder is None else f"{self.site}/{self.folder}"

    def cases(self, training: bool) -> int:
        """How many cases the challenge has in one of its parts."""
        return self.training if training else self.test


SCANNERS = (
    Scanner("Utrecht", "Utrecht", None, "Philips Achieva 3T", 20, 30),
    Scanner("Singapore", "Singapore", None, "Siemens TrioTim 3T", 20, 30),
    Scanner("GE3T", "Amsterdam", "GE3T", "GE Signa HDxt 3T", 20, 30),
    Scanner("PhilipsVU", "Amsterdam", "Philips_VU", "Philips Ingenuity 3T", 0, 10),
    Scanner("GE1T5", "Amsterdam", "GE1T5", "GE Signa HDxt 1.5T", 0, 10),
)


@dataclass(frozen=True)
class _Folder:
    """The folder of a case."""

    path: Path
    number: int
    scanner: Scanner
    training: bool


def find_cases(
    source: Path, channels: Sequence[str], stage: str, test: bool | None
) -> tuple[list[SourceCase], list[str]]:
    """Find the cases of the challenge's tree. Whether their files exist is not looked at.

    Args:
        source: the folder with ``training`` (and ``test``), or one of the two itself.
        channels: of ``CHANNELS``, FLAIR first.
        stage: ``pre`` (bias-corrected) or ``orig``.
        test: whether to take the test cases; None takes them where they are.

    Returns:
        The cases, training before test, in the order of their names (``GE3T_100``); and a line for every unknown
        folder, every id that occurs twice and every scanner with more cases than the challenge has.

    Raises:
        InputError: this is not the challenge's tree, or there is nothing in it.
    """
    folders, problems = _case_folders(source, test)
    problems += _repeated_ids(source, folders)
    problems += _too_many(folders)
    readings, repeated = _readings(source)
    problems += repeated
    cases = [_case(folder, channels, stage, readings) for folder in folders]
    if not (cases or problems):
        raise InputError(f"{source}: no case; expected folders such as training/{SCANNERS[0].place}/0")
    return sorted(cases, key=lambda case: (not case.training, case.name)), problems


def incomplete_scanners(cases: Iterable[SourceCase]) -> list[str]:
    """The scanners with fewer cases than the challenge has, in words, for the parts that are there at all."""
    counts = Counter((case.row["scanner"], case.training) for case in cases)
    return [
        f"{scanner.name}: {counts[scanner.name, training]} of the challenge's {scanner.cases(training)} {part} cases"
        for scanner in SCANNERS
        for part, training in _PARTS.items()
        if any(key[1] == training for key in counts) and counts[scanner.name, training] < scanner.cases(training)
    ]


def _case_folders(source: Path, test: bool | None) -> tuple[list[_Folder], list[str]]:
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected the challenge's folder with training and test in it")
    for place in (source / name for name in (*_PARTS, _READINGS)):
        if place.is_symlink() and not place.exists():
            raise InputError(f"{place}: {DANGLING}")
    parts = {part: source / part for part in _PARTS if (source / part).is_dir()}
    if not parts and any((source / scanner.site).is_dir() for scanner in SCANNERS):
        # A part by itself: its name alone tells training cases from test cases.
        part = source.resolve().name.lower()
        if part not in _PARTS:
            raise InputError(
                f"{source}: has the challenge's sites, but is it the training or the test part? Name the folder "
                "training or test, or the one that both lie in"
            )
        parts = {part: source}
    if not parts:
        there = ", ".join(sorted(entry.name for entry in source.iterdir())[:5]) or "nothing"
        raise InputError(
            f"{source}: found {there}; expected folders training and test, or Utrecht, Singapore and Amsterdam"
        )
    if test and "test" not in parts:
        raise InputError(f"{source}: no folder test; add it, or leave out --test")
    if test is False:
        parts = {part: folder for part, folder in parts.items() if _PARTS[part]}
        if not parts:
            raise InputError(f"{source}: holds test cases alone; leave out --no-test")
    folders: list[_Folder] = []
    problems: list[str] = []
    for part, folder in parts.items():
        for place, scanner in _scanner_folders(folder, problems):
            for entry in _folders(place):
                if entry.name.isdecimal():
                    folders.append(_Folder(entry, int(entry.name), scanner, _PARTS[part]))
                else:
                    problems.append(f"{entry}: unknown folder; expected a case's number")
    return folders, problems


def _scanner_folders(part: Path, problems: list[str]) -> Iterator[tuple[Path, Scanner]]:
    """The folders of scanners below ``training`` or ``test``; what is unknown is added to the problems."""
    for site in _folders(part):
        # A bare training folder may have the second readings beside the sites.
        if site.name == _READINGS:
            continue
        scanners = [scanner for scanner in SCANNERS if scanner.site == site.name]
        if not scanners:
            problems.append(f"{site}: unknown folder; expected {', '.join(dict.fromkeys(s.site for s in SCANNERS))}")
        elif scanners[0].folder is None:
            yield site, scanners[0]
        else:
            for place in _folders(site):
                known = [scanner for scanner in scanners if place.name.startswith(str(scanner.folder))]
                if known:
                    yield place, known[0]
                else:
                    problems.append(f"{place}: unknown folder; expected {', '.join(str(s.folder) for s in scanners)}")


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and those of macOS's archives; with links that lead nowhere."""
    entries = (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "__")))
    return [entry for entry in entries if entry.is_dir() or (entry.is_symlink() and not entry.exists())]


def _repeated_ids(source: Path, folders: Iterable[_Folder]) -> list[str]:
    by_number: dict[int, list[Path]] = {}
    for folder in folders:
        by_number.setdefault(folder.number, []).append(folder.path)
    return [
        f"case {number}: occurs {len(paths)} times ({', '.join(str(path.relative_to(source)) for path in paths)}); "
        "keep one of them"
        for number, paths in by_number.items()
        if len(paths) > 1
    ]


def _too_many(folders: Iterable[_Folder]) -> list[str]:
    """Scanners with more cases in a part than the challenge has: test cases must not become training cases."""
    counts = Counter((folder.scanner, folder.training) for folder in folders)
    return [
        f"{'training' if training else 'test'}/{scanner.place}: {number} cases, but the challenge has "
        f"{scanner.cases(training)}; move those of the other part there"
        for (scanner, training), number in counts.items()
        if number > scanner.cases(training)
    ]


def _readings(source: Path) -> tuple[dict[int, dict[str, Path]], list[str]]:
    """The second readings by case and observer."""
    readings: dict[int, dict[str, Path]] = {}
    problems = []
    for observer in OBSERVERS:
        folder = source / _READINGS / f"observer_{observer}"
        for path in sorted(folder.rglob("*.nii.gz")):
            # The path above the case differs between copies of the data; ids are unique.
            if not path.parent.name.isdecimal():
                problems.append(f"{path}: expected in a folder with a case's number")
            elif observer in readings.get(int(path.parent.name), {}):
                problems.append(f"case {path.parent.name}: two readings of observer {observer}; keep one of them")
            else:
                readings.setdefault(int(path.parent.name), {})[observer] = path
    return readings, problems


def _case(folder: _Folder, channels: Sequence[str], stage: str, readings: dict[int, dict[str, Path]]) -> SourceCase:
    scanner = folder.scanner
    return SourceCase(
        name=f"{scanner.name}_{folder.number:03d}",
        training=folder.training,
        images=tuple(folder.path / stage / f"{channel}.nii.gz" for channel in channels),
        label=folder.path / "wmh.nii.gz",
        readings=readings.get(folder.number, {}) if folder.training else {},
        row={"scanner": scanner.name, "model": scanner.model, "site": scanner.site, "id": str(folder.number)},
    )
