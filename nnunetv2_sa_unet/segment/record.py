"""The record of a segmentation run: ``volumes.json``, and ``volumes.csv`` made from it.

While a run goes on, a journal grows by a line a subject (``volumes.jsonl``); the record is made from it when the run
ends, and whoever reads the record reads the journal too. Nothing in the record depends on when or in how many attempts
a run was made, so that a run that was killed and went on writes the same bytes as an undisturbed one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import SimpleITK
from pydantic import BaseModel, ConfigDict, ValidationError

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json, write_rows
from nnunetv2_sa_unet.images.dicom import read_series
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.scores.lesion_sizes import SIZE_CLASSES
from nnunetv2_sa_unet.segment.journal import append_line, read_lines

__all__ = [
    "JOURNAL_NAME", "RECORD_NAME", "SEGMENTATION_VERSION", "TABLE_NAME", "Decision", "Input", "LeftOut", "Model",
    "Options", "Segmentation", "Subject", "claimed_files", "has_record", "read_input", "read_segmentation",
    "start_journal", "write_journal", "write_segmentation",
]  # fmt: skip

RECORD_NAME = "volumes.json"
TABLE_NAME = "volumes.csv"
JOURNAL_NAME = "volumes.jsonl"
#: Raised whenever the same images, model and options give other masks than before.
SEGMENTATION_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    """A file, or a DICOM series.

    Attributes:
        path: absolute; of a series its folder.
        sha256: of the file; of a series that of its files' bytes, one after the other. None if it cannot be read.
        series_uid: the series' identifier; None for a file.
        files: the names of the series' files in the order of the slices; None for a file.
    """

    path: str
    sha256: str | None
    series_uid: str | None = None
    files: list[str] | None = None


class Model(_Strict):
    """The model that segmented.

    Attributes:
        folder: absolute.
        dataset: that it was trained on.
        trainer: name of its class.
        plans: name of its plans.
        configuration: such as ``3d_fullres``.
        folds: whose networks were averaged, in order.
        checkpoint: name of the file in each fold's folder.
        sha256: by the file's path in ``folder``: plans, data set and a checkpoint a fold.
        name: of a model in the box; None for others.
        version: of its weights.
        threshold: the probability, as trained, from which its most probable label is WMH.
        orientation: that images are turned to for it, such as ``LPS``; None in records of versions that turned none.
    """

    folder: str
    dataset: str
    trainer: str
    plans: str
    configuration: str
    folds: list[int | str]
    checkpoint: str
    sha256: dict[str, str]
    name: str | None = None
    version: str | None = None
    threshold: float | None = None
    orientation: str | None = None


class Decision(_Strict):
    """How probabilities became a mask.

    Attributes:
        threshold: see :class:`Options`.
        min_volume_mm3: see :class:`Options`.
        clear_ends: see :class:`Options`.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    clear_ends: float | None = None


class Options(_Strict):
    """What changes the masks, or which files there are.

    Attributes:
        threshold: probability from which a voxel is WMH; None for nnU-Net's own choice of the most probable label.
        min_volume_mm3: smaller lesions are dropped; None keeps all.
        clear_ends: fraction of the axial slices at either end in which nothing is WMH; None for none.
        exclude: absolute path of the mask, or of the folder of masks, where nothing is WMH; None for none.
        probabilities: whether probability maps are written.
        step_size: of the sliding window, as a fraction of the patch.
        mirroring: whether predictions of mirrored images are averaged.
        device: ``cpu``, ``cuda`` or ``mps``; of the last run.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    clear_ends: float | None = None
    exclude: str | None = None
    probabilities: bool = False
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "cpu"

    @property
    def decision(self) -> Decision:
        """What of the options needs no network."""
        return Decision(threshold=self.threshold, min_volume_mm3=self.min_volume_mm3, clear_ends=self.clear_ends)


class Subject(_Strict):
    """One subject: a row of the table.

    Attributes:
        subject: its name, which also begins the names of its files.
        status: ``ok``; ``warning`` if it was segmented but looks odd; ``failed`` if it was not.
        message: what is odd or wrong, in one line; for ``ok`` what was assumed, if anything.
        inputs: one a channel.
        exclude: the mask where nothing is WMH, if it has one.
        mask: of the label map, below the folder of the run.
        mask_sha256: of that file.
        probabilities: of the map of the probability of WMH (0 to 1), likewise.
        probabilities_sha256: of that file.
        alternatives: of the label maps between which the probability decides, likewise; None if the map says enough.
        alternatives_sha256: of that file.
        orientation: in which the network saw the image; None in records of versions that turned none.
        decision: how the mask was made of probabilities.
        made_with: versions by package, and the device, of the run that segmented it.
        volume_ml: of all lesions.
        lesions: their number.
        largest_ml: volume of the largest; 0 if there is none.
        lesions_by_size: their number by the name of the size class (``lesion_sizes.SIZE_CLASSES``).
        ml_by_size: their volume likewise.
    """

    subject: str
    status: Literal["ok", "warning", "failed"]
    message: str
    inputs: list[Input]
    exclude: Input | None = None
    mask: str | None = None
    mask_sha256: str | None = None
    probabilities: str | None = None
    probabilities_sha256: str | None = None
    alternatives: str | None = None
    alternatives_sha256: str | None = None
    orientation: str | None = None
    decision: Decision | None = None
    made_with: dict[str, str] | None = None
    volume_ml: float | None = None
    lesions: int | None = None
    largest_ml: float | None = None
    lesions_by_size: dict[str, int] | None = None
    ml_by_size: dict[str, float] | None = None


class LeftOut(_Strict):
    """Something that was looked at among the inputs and is no subject.

    Attributes:
        path: as the command prints it.
        reason: why not.
        harmless: whether it plainly is nothing to segment.
    """

    path: str
    reason: str
    harmless: bool


class Segmentation(_Strict):
    """The content of ``volumes.json``.

    Attributes:
        nnunetv2_sa_unet: version of this package in the last run.
        versions: of python and of the packages that the masks depend on, in the last run.
        model: see :class:`Model`.
        options: see :class:`Options`.
        segmentation_version: see ``SEGMENTATION_VERSION``.
        subjects: in the order of their names.
        left_out: in the last run.
    """

    nnunetv2_sa_unet: str
    versions: dict[str, str]
    model: Model
    options: Options
    segmentation_version: int = 1
    subjects: list[Subject]
    left_out: list[LeftOut] = []

    @property
    def made_with(self) -> dict[str, str]:
        """What its run notes in the rows of the subjects that it segments."""
        return {"nnunetv2_sa_unet": self.nnunetv2_sa_unet, **self.versions, "device": self.options.device}


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
        found = _with_what_rows_lacked(_parsed(Segmentation, path, path.read_bytes()))
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
    rows |= {row.subject: row for row in (_parsed(Subject, journal, line) for line in lines)}
    return _parsed(Segmentation, journal, header).model_copy(update={"subjects": [rows[name] for name in sorted(rows)]})


def start_journal(folder: Path, header: Segmentation, files: Iterable[Path]) -> None:
    """Begin the journal of a run; raises OSError if it cannot be written.

    Args:
        folder: of the run.
        header: the record without subjects.
        files: that the run may write below the folder: after a kill they are known to be its own.
    """
    names = [path.as_posix() for path in files]
    append_line(folder / JOURNAL_NAME, {"segmentation": header.model_dump(), "files": names})


def claimed_files(folder: Path) -> list[str]:
    """What a run that was killed may have written below its folder besides what it recorded."""
    started = read_lines(folder / JOURNAL_NAME)
    names = _of(started[0], "files") if started else []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def write_journal(folder: Path, subject: Subject) -> None:
    """Add a subject to the journal of a run; raises OSError if it cannot be written."""
    append_line(folder / JOURNAL_NAME, subject.model_dump())


def write_segmentation(folder: Path, segmentation: Segmentation) -> None:
    """Write ``volumes.json`` and ``volumes.csv``, and remove the journal that they are made from."""
    write_json(folder / RECORD_NAME, segmentation.model_dump())
    write_rows(
        folder / TABLE_NAME, _HEADER, (_row(row, segmentation.options.decision) for row in segmentation.subjects)
    )
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


_HEADER = (
    "subject",
    "volume_ml",
    "lesions",
    "largest_ml",
    *(f"lesions_{size.name}" for size in SIZE_CLASSES),
    *(f"ml_{size.name}" for size in SIZE_CLASSES),
    "status",
    "message",
)


def _of(entry: Any, key: str) -> Any:
    """A part of the journal's first line; what is no such line is told by whoever parses the part."""
    return entry.get(key) if isinstance(entry, dict) else None


def _parsed(kind: type[_Read], path: Path, content: bytes | str) -> _Read:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise InputError(
            f"{path}: {field}: {first['msg']}; expected the record that nnUNetv2_sa_unet segment of this version writes"
        ) from None


def _with_what_rows_lacked(segmentation: Segmentation) -> Segmentation:
    """Earlier versions noted only for a whole run how and with what its masks were made."""

    def completed(row: Subject) -> Subject:
        if row.mask is None or row.decision is not None:
            return row
        return row.model_copy(update={"decision": segmentation.options.decision, "made_with": segmentation.made_with})

    return segmentation.model_copy(update={"subjects": [completed(row) for row in segmentation.subjects]})


def _row(subject: Subject, decision: Decision) -> Iterator[str | float | None]:
    if subject.decision not in (None, decision):
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
    yield from (subject.status, subject.message)
