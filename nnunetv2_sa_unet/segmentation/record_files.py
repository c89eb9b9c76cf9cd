"""The record of a segmentation run: ``volumes.json``, and ``volumes.csv`` made from it.

While a run goes on, a journal grows by a line a subject (``volumes.jsonl``); the record is made from it when the run
ends, and whoever reads the record reads the journal too. Nothing in the record depends on when or in how many attempts
a run was made, so that a run that was killed and went on writes the same bytes as an undisturbed one.

Files hold paths relative to the run's folder, since the folders above it may speak of people and places; in memory they
are absolute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import SimpleITK
from pydantic import BaseModel, ValidationError

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import path_from, write_json, write_rows
from nnunetv2_sa_unet.images.dicom import read_series
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.scores.lesion_sizes import SIZE_CLASSES
from nnunetv2_sa_unet.segmentation.journal import append_line, read_lines
from nnunetv2_sa_unet.segmentation.record import Options, Quality, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.region_columns import region_columns, region_values
from nnunetv2_sa_unet.text import printable

__all__ = [
    "JOURNAL_NAME", "RECORD_NAME", "TABLE_NAME", "claimed_files", "has_record", "read_input", "read_segmentation",
    "start_journal", "write_journal", "write_segmentation",
]  # fmt: skip

RECORD_NAME = "volumes.json"
TABLE_NAME = "volumes.csv"
JOURNAL_NAME = "volumes.jsonl"

_Read = TypeVar("_Read", bound=BaseModel)


def has_record(folder: Path) -> bool:
    """Whether a run has written its record, or begun to."""
    return (folder / RECORD_NAME).exists() or bool(read_lines(folder / JOURNAL_NAME))


def read_segmentation(folder: Path) -> Segmentation:
    """Read the record of the run that wrote a folder, or is about to.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / RECORD_NAME
    started = read_lines(folder / JOURNAL_NAME)
    found: Segmentation | None = None
    try:
        found = _with_what_rows_lacked(_read_paths(_parsed(Segmentation, path, path.read_bytes()), folder))
    except FileNotFoundError:
        if not started:
            raise InputError(
                f"{path}: there is no such file; expected a folder that nnUNetv2_sa_unet segment wrote"
            ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not started:
        assert found is not None
        return found
    journal = folder / JOURNAL_NAME
    header, *lines = (json.dumps(line) for line in (_of(started[0], "segmentation"), *started[1:]))
    rows = {row.subject: row for row in (found.subjects if found else [])}
    rows |= {
        row.subject: _row_with(row, _absolute(folder)) for row in (_parsed(Subject, journal, one) for one in lines)
    }
    started_with = _read_paths(_parsed(Segmentation, journal, header), folder)
    return started_with.model_copy(update={"subjects": [rows[name] for name in sorted(rows)]})


def start_journal(folder: Path, header: Segmentation, files: Iterable[Path]) -> None:
    """Begin the journal of a run; raises OSError if it cannot be written.

    Args:
        folder: of the run.
        header: the record without subjects.
        files: that the run may write below the folder: after a kill they are known to be its own.
    """
    names = [path.as_posix() for path in files]
    append_line(folder / JOURNAL_NAME, {"segmentation": _stored(header, folder).model_dump(), "files": names})


def claimed_files(folder: Path) -> list[str]:
    """What a run that was killed may have written below its folder besides what it recorded."""
    started = read_lines(folder / JOURNAL_NAME)
    names = _of(started[0], "files") if started else []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def write_journal(folder: Path, subject: Subject) -> None:
    """Add a subject to the journal of a run; raises OSError if it cannot be written."""
    append_line(folder / JOURNAL_NAME, _stored_row(subject, folder).model_dump())


def write_segmentation(folder: Path, segmentation: Segmentation) -> None:
    """Write ``volumes.json`` and ``volumes.csv``, and remove the journal that they are made from."""
    segmentation = _stored(segmentation, folder)
    write_json(folder / RECORD_NAME, segmentation.model_dump())
    options = segmentation.options
    header = (*_HEADER, *region_columns(options.regions), *_LAST)
    write_rows(folder / TABLE_NAME, header, (_row(row, options) for row in segmentation.subjects))
    (folder / JOURNAL_NAME).unlink(missing_ok=True)


def read_input(subject: Subject) -> SimpleITK.Image:
    """Read the image that a subject's mask was made from, of several channels the first.

    Raises:
        InputError: it is not there any more, or cannot be read.
    """
    if not subject.inputs:
        raise InputError(f"{subject.subject}: has no input")
    first = subject.inputs[0]
    return read_volume(Path(first.path)) if first.files is None else read_series(Path(first.path), first.files)


#: Of the quality of an image.
_FIGURES = tuple(name for name in Quality.model_fields if name != "flags")
_HEADER = (
    "subject",
    "volume_ml",
    "lesions",
    "largest_ml",
    *(f"lesions_{size.name}" for size in SIZE_CLASSES),
    *(f"ml_{size.name}" for size in SIZE_CLASSES),
    "quality",
    *(f"quality_{name}" for name in _FIGURES),
)
_LAST = ("status", "message")


def _stored(segmentation: Segmentation, folder: Path) -> Segmentation:
    """As it stands in a file: with relative paths, which messages have too."""
    return _with(segmentation, partial(path_from, folder)).model_copy(
        update={"subjects": [_stored_row(row, folder) for row in segmentation.subjects]}
    )


def _stored_row(row: Subject, folder: Path) -> Subject:
    message = row.message
    for one in (*row.inputs, *([] if row.exclude is None else [row.exclude])):
        message = message.replace(f"{os.path.dirname(one.path)}{os.sep}", "")
    return _row_with(row, partial(path_from, folder)).model_copy(update={"message": message})


def _read_paths(segmentation: Segmentation, folder: Path) -> Segmentation:
    return _with(segmentation, _absolute(folder)).model_copy(
        update={"subjects": [_row_with(row, _absolute(folder)) for row in segmentation.subjects]}
    )


def _with(segmentation: Segmentation, turn: Callable[[str], str]) -> Segmentation:
    """The record without its rows, with other paths."""
    options = segmentation.options
    exclude = None if options.exclude is None else turn(options.exclude)
    left_out = [each.model_copy(update={"path": turn(each.path)}) for each in segmentation.left_out]
    return segmentation.model_copy(
        update={"options": options.model_copy(update={"exclude": exclude}), "left_out": left_out}
    )


def _row_with(row: Subject, turn: Callable[[str], str]) -> Subject:
    inputs = [one.model_copy(update={"path": turn(one.path)}) for one in row.inputs]
    exclude = row.exclude
    if exclude is not None:
        exclude = exclude.model_copy(update={"path": turn(exclude.path)})
    return row.model_copy(update={"inputs": inputs, "exclude": exclude})


def _absolute(folder: Path) -> Callable[[str], str]:
    # Earlier versions wrote absolute paths, which stay.
    return lambda path: os.path.abspath(folder / path)


def _of(entry: Any, key: str) -> Any:
    """A part of the journal's first line; what is no such line is told by whoever parses the part."""
    return entry.get(key) if isinstance(entry, dict) else None


def _parsed(kind: type[_Read], path: Path, content: bytes | str) -> _Read:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{place}: found {printable(str(first['input'])[:80])}" if place else "content"
        raise InputError(
            f"{path}: {what}: {first['msg']}; expected the record that nnUNetv2_sa_unet segment of this version writes"
        ) from None


def _with_what_rows_lacked(segmentation: Segmentation) -> Segmentation:
    """Earlier versions noted only for a whole run how and with what its masks were made."""

    def completed(row: Subject) -> Subject:
        if row.mask is None or row.decision is not None:
            return row
        return row.model_copy(update={"decision": segmentation.options.decision, "made_with": segmentation.made_with})

    return segmentation.model_copy(update={"subjects": [completed(row) for row in segmentation.subjects]})


def _row(subject: Subject, options: Options) -> Iterator[str | float | None]:
    if subject.decision not in (None, options.decision):
        # A run with other options was stopped: one table must not mix the volumes of two.
        subject = Subject(
            subject=subject.subject,
            status="failed",
            message="its mask was made with other options; give the last command again",
            inputs=[],
        )
    yield from (subject.subject, subject.volume_ml, subject.lesions, subject.largest_ml)
    for by_size in (subject.lesions_by_size, subject.ml_by_size):
        yield from ((by_size or {}).get(size.name) for size in SIZE_CLASSES)
    quality = subject.quality
    yield None if quality is None else "; ".join(quality.flags)
    yield from (None if quality is None else getattr(quality, name) for name in _FIGURES)
    yield from region_values(subject, options.regions)
    yield from (subject.status, subject.message)
