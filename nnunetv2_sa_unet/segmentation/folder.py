"""The folder of a segmentation run: what an earlier run left there, and the record that grows with every subject."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, remove_unfinished
from nnunetv2_sa_unet.segmentation.compatibility import obstacles
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.methods import methods, write_methods
from nnunetv2_sa_unet.segmentation.ownership import planned_files, refuse_files_of_others, written_files
from nnunetv2_sa_unet.segmentation.record import Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import (
    JOURNAL_NAME,
    RECORD_NAME,
    claimed_files,
    has_record,
    read_segmentation,
    start_journal,
    write_journal,
    write_segmentation,
)
from nnunetv2_sa_unet.text import counted

__all__ = ["RunFolder"]


class RunFolder:
    """The folder of a run.

    Rows of subjects that an earlier run segmented and this one does not name stay in the record, so that a folder can
    grow; rows of those that failed then do not.

    Args:
        folder: which is made if need be.
        header: the record without subjects.
        subjects: of this run.
        exclude: masks where nothing is WMH, by subject.
        force: remove what an earlier run with another model or other options wrote, and start over.
        say: prints a line.

    Attributes:
        header: as given; but a folder that holds maps of probabilities or of regions gets more of them.
        earlier: rows of an earlier run, by subject.

    Raises:
        InputError: an earlier run had another model or other options, and ``force`` is false; or the folder's record
            cannot be read, or names files outside of the folder.
    """

    def __init__(
        self,
        folder: Path,
        header: Segmentation,
        subjects: Sequence[FoundSubject],
        exclude: Mapping[str, Path],
        force: bool,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._say = folder, say
        self._names = {subject.name for subject in subjects}
        self._lock = Lock()
        self._finished: dict[str, Subject] = {}
        self._unsaid = 0
        self._segmenting_since, self._segmented = time.monotonic(), 0
        found = read_segmentation(folder) if has_record(folder) else None
        # A folder that holds maps of probabilities gets more of them, whatever this run was asked for.
        maps = header.options.probabilities or (found is not None and found.options.probabilities)
        regions = header.options.regions or (found.options.regions if found is not None else None)
        options = header.options.model_copy(update={"probabilities": maps, "regions": regions})
        claimed = claimed_files(folder)
        refuse_files_of_others(folder, found, claimed, subjects, options)
        if found is not None and force:
            _remove_all(folder, found)
            found = None
        if found is not None:
            header = _going_on(folder, found, header, self._names, exclude)
            # Left by a run that was killed.
            if (folder / JOURNAL_NAME).exists():
                self._write(found)
        else:
            (folder / JOURNAL_NAME).unlink(missing_ok=True)
        self.header = header
        self.earlier = {row.subject: row for row in found.subjects} if found else {}
        self._rows = {name: row for name, row in self.earlier.items() if name in self._names or row.mask is not None}
        files = (file for subject in subjects for file in (subject.mask, subject.alternatives))
        for place in {folder, *(below(folder, file).parent for file in files)}:
            remove_unfinished(place)
        planned = {path for subject in subjects for path in planned_files(subject, options)}
        self._write_to_disk(lambda: start_journal(folder, header, sorted(planned | set(map(Path, claimed)))))

    def add(self, row: Subject, is_new: bool, aloud: bool = True) -> None:
        """Put a subject into the record and, if ``aloud``, say how far the run is; from any thread."""
        with self._lock:
            earlier = self._rows.get(row.subject)
            if earlier is not None:
                kept = set(written_files(self._folder, row))
                for path in written_files(self._folder, earlier):
                    if path not in kept:
                        path.unlink(missing_ok=True)
            self._rows[row.subject] = self._finished[row.subject] = row
            if is_new:
                self._segmented += row.mask is not None
                self._refuse_if_gone()
                self._write_to_disk(lambda: write_journal(self._folder, row))
            if aloud:
                self._say(self._progress(row, is_new))
            else:
                self._unsaid += 1

    def finish(self, with_methods: bool = True) -> Segmentation:
        """Write the record for good, and the methods beside it, and return what it says of this run's subjects.

        Args:
            with_methods: else whoever the masks are for tells what was done.

        Raises:
            InputError: it cannot be written, or the folder was removed or replaced during the run.
        """
        with self._lock:
            self._refuse_if_gone()
            segmentation = self.header.model_copy(update={"subjects": _in_order(self._rows)})
            self._write(segmentation)
            if with_methods:
                text = methods(segmentation)
                self._write_to_disk(lambda: write_methods(self._folder, text, "segment", RECORD_NAME, self._say))
        return self.header.model_copy(update={"subjects": _in_order(self._finished)})

    def _write(self, segmentation: Segmentation) -> None:
        self._write_to_disk(lambda: write_segmentation(self._folder, segmentation))

    def _write_to_disk(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written: {error}") from error

    def _refuse_if_gone(self) -> None:
        """Or a folder that was removed and made anew by the next file would look complete."""
        if not (self._folder / JOURNAL_NAME).exists():
            raise InputError(
                f"{self._folder}: was removed or replaced while the run was at work; what it wrote before is gone: "
                "give the same command again"
            )

    def _progress(self, row: Subject, is_new: bool) -> str:
        count, total = (len(names) - self._unsaid for names in (self._finished, self._names))
        line = f"[{count:{len(str(total))}}/{total}] {row.subject}: "
        if row.volume_ml is not None and row.lesions is not None:
            line += f"{row.volume_ml:.2f} ml in {counted(row.lesions, 'lesion')}"
        line += f"{'; ' if row.volume_ml is not None else 'FAILED: '}{row.message}" if row.message else ""
        if not is_new:
            return f"{line} (done before)"
        if count == total or not self._segmented:
            return line
        # What failed took no time to speak of.
        left = (time.monotonic() - self._segmenting_since) / self._segmented * (total - count)
        return f"{line} ({_duration(left)} left)"


def _going_on(
    folder: Path, found: Segmentation, wanted: Segmentation, names: set[str], exclude: Mapping[str, Path]
) -> Segmentation:
    """The record with which a run goes on in a folder, without subjects."""
    if not found.subjects:
        return wanted
    lines = obstacles(folder, found, wanted, names, exclude)
    if lines:
        raise InputError(
            "\n".join(
                [
                    f"{folder}: masks of another model or other options are there; choose another folder with -o, or "
                    "start over with --force (other thresholds, volumes and exclusions need neither where a run with "
                    "--probabilities wrote maps of all subjects):",
                    *lines,
                ]
            )
        )
    options = wanted.options.model_copy(
        update={
            "probabilities": found.options.probabilities,
            "regions": wanted.options.regions or found.options.regions,
        }
    )
    return wanted.model_copy(update={"options": options})


def _in_order(rows: dict[str, Subject]) -> list[Subject]:
    return [rows[name] for name in sorted(rows)]


def _remove_files(folder: Path, row: Subject) -> None:
    for path in written_files(folder, row):
        path.unlink(missing_ok=True)


def _remove_all(folder: Path, found: Segmentation) -> None:
    for row in found.subjects:
        _remove_files(folder, row)
    for name in (RECORD_NAME, JOURNAL_NAME):
        (folder / name).unlink(missing_ok=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
