"""The folder of a run: what an earlier run left there, and whose files they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import ValidationError

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, remove_unfinished, write_json, write_rows
from nnunetv2_sa_unet.longitudinal.matching import KINDS
from nnunetv2_sa_unet.longitudinal.pairs import VisitPair
from nnunetv2_sa_unet.longitudinal.record import LONGITUDINAL_VERSION, ROLES, Changes, Pair
from nnunetv2_sa_unet.report.section import file_stem
from nnunetv2_sa_unet.segmentation.journal import append_line, read_lines
from nnunetv2_sa_unet.text import printable

__all__ = [
    "JOURNAL_NAME", "MASKS_FOLDER", "PAGE_NAME", "RECORD_NAME", "TABLE_NAME", "ChangesFolder", "changes_name",
    "image_name", "lesions_name", "picture_name", "read_changes",
]  # fmt: skip

RECORD_NAME, TABLE_NAME, PAGE_NAME, JOURNAL_NAME = "changes.json", "changes.csv", "changes.html", "changes.jsonl"
#: Images half-way; masks of them, which is a folder of ``segment``; maps and tables of what changed; the page's images.
IMAGES_FOLDER, MASKS_FOLDER, CHANGES_FOLDER, PICTURES_FOLDER = "images", "masks", "changes", "pictures"
_LISTED = 5


def image_name(pair: str, role: str) -> str:
    """Where the image of a visit stands half-way, below the folder of the run; ``role`` is first or second."""
    return f"{IMAGES_FOLDER}/{pair}_{role}.nii.gz"


def changes_name(pair: str) -> str:
    """Where the map of the kinds of lesions stands."""
    return f"{CHANGES_FOLDER}/{pair}_changes.nii.gz"


def lesions_name(pair: str) -> str:
    """Where the table of the lesions stands."""
    return f"{CHANGES_FOLDER}/{pair}_lesions.csv"


def picture_name(pair: str, role: str) -> str:
    """Where the slices of a visit stand that the page shows."""
    return f"{PICTURES_FOLDER}/{file_stem(pair)}_{role}.jpg"


def read_changes(folder: Path) -> Changes | None:
    """The record of a folder; None if there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = folder / RECORD_NAME
    try:
        return Changes.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        raise InputError(_not_ours(path, error)) from None


class ChangesFolder:
    """The folder of a run.

    Rows of pairs that an earlier run compared and this one does not name stay, so that a folder can grow.

    Args:
        folder: of the run, which is there.
        header: the record without pairs.
        pairs: of this run.

    Attributes:
        earlier: rows of an earlier run, by pair: what was registered is not registered again.

    Raises:
        InputError: files of others are in the way, or the record cannot be read.
    """

    def __init__(self, folder: Path, header: Changes, pairs: Sequence[VisitPair]) -> None:
        self._folder, self._header, self._lock = folder, header, Lock()
        found = read_changes(folder)
        lines = read_lines(folder / JOURNAL_NAME)
        rows = {row.pair: row for row in found.pairs} if found else {}
        rows |= {row.pair: row for row in _journal_rows(folder / JOURNAL_NAME, lines)}
        claimed = {name for line in lines if isinstance(line, list) for name in line if isinstance(name, str)}
        planned = {name for pair in pairs for name in _files_of(pair.name)}
        known = claimed | {name for row in rows for name in _files_of(row)}
        if found is not None or lines:
            known |= {TABLE_NAME, PAGE_NAME}
        strangers = sorted(name for name in {*planned, TABLE_NAME, PAGE_NAME} - known if below(folder, name).exists())
        if strangers:
            more = f" and {len(strangers) - _LISTED} more" if len(strangers) > _LISTED else ""
            raise InputError(
                f"{printable(folder)}: files are there that no run of longitudinal wrote, and would be overwritten: "
                f"{', '.join(map(printable, strangers[:_LISTED]))}{more}; move them, or choose another folder with -o"
            )
        self._known, self._planned = known, planned
        current = found is None or found.longitudinal_version == LONGITUDINAL_VERSION
        self.earlier = rows if current else {}

    def begin(self, force: bool) -> None:
        """Make the folder ready to be written to.

        Args:
            force: remove what an earlier run wrote.
        """
        if force:
            for name in sorted({*self._known, RECORD_NAME, JOURNAL_NAME}):
                below(self._folder, name).unlink(missing_ok=True)
            self.earlier = {}
        for place in (
            self._folder,
            *(self._folder / name for name in (IMAGES_FOLDER, CHANGES_FOLDER, PICTURES_FOLDER)),
        ):
            remove_unfinished(place)
        # After a kill they are known to be ours.
        self._append(sorted(self._planned))

    def registered(self, row: Pair) -> None:
        """Note a pair whose images are there, so that a run that is stopped need not register it again."""
        with self._lock:
            self._append(row.model_dump())

    def finish(self, rows: Iterable[Pair]) -> Changes:
        """Write the record and the table, and return the record.

        What an earlier run left of a pair that failed now, and its page, go.
        """
        now = {row.pair: row for row in rows}
        gone = [name for row in now.values() if row.figures is None for name in _files_of(row.pair)]
        kept = {visit.image for row in now.values() if row.motion is not None for visit in row.visits}
        for name in {*gone, PAGE_NAME} - kept:
            below(self._folder, name).unlink(missing_ok=True)
        every = {name: row for name, row in self.earlier.items() if row.figures is not None} | now
        changes = self._header.model_copy(update={"pairs": [every[name] for name in sorted(every)]})
        write_json(self._folder / RECORD_NAME, changes.model_dump())
        write_rows(self._folder / TABLE_NAME, _HEADER, map(_row, changes.pairs))
        (self._folder / JOURNAL_NAME).unlink(missing_ok=True)
        return changes

    def _append(self, entry: Any) -> None:
        append_line(self._folder / JOURNAL_NAME, entry)


def _journal_rows(path: Path, lines: Sequence[Any]) -> Iterator[Pair]:
    """The rows of a journal; its other lines list files that a run may have written."""
    for line in lines:
        if isinstance(line, list):
            continue
        try:
            yield Pair.model_validate(line)
        except ValidationError as error:
            raise InputError(_not_ours(path, error)) from None


def _not_ours(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "content"
    return (
        f"{path}: {place}: {first['msg']}; expected the record that nnUNetv2_sa_unet longitudinal of this version "
        "writes: choose another folder with -o, or remove it"
    )


def _files_of(pair: str) -> list[str]:
    of_visits = [name(pair, role) for role in ROLES for name in (image_name, picture_name)]
    return [*of_visits, changes_name(pair), lesions_name(pair)]


_HEADER = (
    "pair", "subject", *ROLES, "first_ml", "second_ml", "change_ml", "change_percent", "noise_ml",
    "below_noise", *(f"lesions_{kind}" for kind in KINDS), *(f"ml_{kind}" for kind in KINDS), "status", "message",
)  # fmt: skip


def _row(pair: Pair) -> Iterator[str | float | None]:
    yield from (pair.pair, pair.subject, *(visit.visit for visit in pair.visits))
    figures = pair.figures
    if figures is None:
        yield from [None] * (6 + 2 * len(KINDS))
    else:
        yield from (figures.first_ml, figures.second_ml, figures.change_ml, figures.change_percent)
        yield from (figures.noise_ml, "yes" if figures.below_noise else "no")
        yield from (figures.lesions[kind] for kind in KINDS)
        yield from (figures.ml[kind] for kind in KINDS)
    yield from (pair.status, pair.message)
