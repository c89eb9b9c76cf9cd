"""The folder of a segmentation run: what an earlier run left there, and the record that grows with every subject."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import remove_unfinished
from nnunetv2_sa_unet.images.bids import sidecar_path
from nnunetv2_sa_unet.segment.inputs import FoundSubject
from nnunetv2_sa_unet.segment.record import (
    RECORD_NAME,
    Segmentation,
    Subject,
    read_segmentation,
    write_segmentation,
)

__all__ = ["RunFolder"]


class RunFolder:
    """The folder of a run.

    Rows of subjects that an earlier run segmented and this one does not name stay in the record, so that a folder can
    grow; rows of those that failed then do not.

    Args:
        folder: which is made if need be.
        header: the record without subjects.
        subjects: of this run.
        force: remove what an earlier run with another model or other options wrote, and start over.
        say: prints a line.

    Raises:
        InputError: an earlier run had another model or other options, and ``force`` is false; or the folder's record
            cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        header: Segmentation,
        subjects: Sequence[FoundSubject],
        force: bool,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._header, self._say = folder, header, say
        self._names = {subject.name for subject in subjects}
        self._lock = Lock()
        self._finished: dict[str, Subject] = {}
        self._started, self._segmented = time.monotonic(), 0
        records = self._earlier(force)
        self.earlier = {each.subject: each for each in records}
        self._rows = {each.subject: each for each in records if each.subject in self._names or each.mask is not None}
        for place in {folder, *((folder / subject.mask).parent for subject in subjects)}:
            remove_unfinished(place)

    def add(self, record: Subject, is_new: bool) -> None:
        """Put a subject into the record and say how far the run is; from any thread."""
        with self._lock:
            earlier = self._rows.get(record.subject)
            if earlier is not None and record.mask is None:
                _remove_files(self._folder, earlier)
            self._rows[record.subject] = self._finished[record.subject] = record
            if is_new:
                self._segmented += record.mask is not None
                self._write()
            self._say(self._progress(record, is_new))

    def finish(self) -> Segmentation:
        """Write the record for good and return what it says of this run's subjects."""
        with self._lock:
            self._write()
        return self._header.model_copy(update={"subjects": _in_order(self._finished)})

    def _earlier(self, force: bool) -> list[Subject]:
        if not (self._folder / RECORD_NAME).exists():
            return []
        found = read_segmentation(self._folder)
        differences = _differences(found, self._header)
        if differences and not force:
            raise InputError(
                "\n".join(
                    [
                        f"{self._folder}: masks of another model or other options are there; choose another folder "
                        "with -o, or start over with --force:",
                        *differences,
                    ]
                )
            )
        if not force:
            return found.subjects
        for subject in found.subjects:
            _remove_files(self._folder, subject)
        (self._folder / RECORD_NAME).unlink()
        return []

    def _write(self) -> None:
        try:
            write_segmentation(self._folder, self._header.model_copy(update={"subjects": _in_order(self._rows)}))
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written: {error}") from error

    def _progress(self, record: Subject, is_new: bool) -> str:
        count, total = len(self._finished), len(self._names)
        line = f"[{count:{len(str(total))}}/{total}] {record.subject}: "
        if record.volume_ml is not None:
            line += f"{record.volume_ml:.2f} ml in {record.lesions} lesions"
        line += f"{'; ' if record.volume_ml is not None else 'FAILED: '}{record.message}" if record.message else ""
        if not is_new:
            return f"{line} (done before)"
        if count == total or not self._segmented:
            return line
        # What failed took no time to speak of.
        left = (time.monotonic() - self._started) / self._segmented * (total - count)
        return f"{line} ({_duration(left)} left)"


def _in_order(rows: dict[str, Subject]) -> list[Subject]:
    return [rows[name] for name in sorted(rows)]


def _remove_files(folder: Path, subject: Subject) -> None:
    for name in (subject.mask, subject.probabilities):
        if name is not None:
            (folder / name).unlink(missing_ok=True)
            sidecar_path(folder / name).unlink(missing_ok=True)


def _differences(found: Segmentation, wanted: Segmentation) -> list[str]:
    """What differs between two records besides their subjects and where the model lies, a line each."""
    lines = []
    both = [each.model_dump(exclude={"subjects": True, "model": {"folder"}}) for each in (found, wanted)]
    there, now = (dict(_flat(each)) for each in both)
    for key in dict.fromkeys([*there, *now]):
        if there.get(key) != now.get(key):
            lines.append(f"  {key}: there {there.get(key)}, now {now.get(key)}")
    return lines


def _flat(values: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    items: list[tuple[str, object]] = []
    for key, value in values.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return items


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
