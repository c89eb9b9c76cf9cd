"""Many subjects through one model, each for itself, to masks and a record.

While the network works on one subject, the next are read and preprocessed and the last are exported, in threads: what
takes time there (decompression, resampling, compression) is compiled code that leaves Python's lock to others. Large
volumes go one at a time, so that memory is bounded by the largest and not by how many are under way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom_files import read_dicom_file
from nnunetv2_sa_unet.images.processes import default_processes
from nnunetv2_sa_unet.images.volumes import read_header
from nnunetv2_sa_unet.segmentation.export import export
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.preparation import Job, Prepared, Settled, failed_unexpectedly, prepare
from nnunetv2_sa_unet.segmentation.record import Input, Subject

__all__ = ["segment_all"]

#: Subjects that are prepared, and as many that are exported, at a time. Each of the two takes a second or so of one
#: core for a volume of clinical size, which on a CPU is little beside the network and on a GPU is not
#: (docs/benchmarks/segment.md).
_AHEAD = max(2, min(4, default_processes() // 2))
#: Voxels of all subjects under way, unless it is one alone. A voxel takes up to 60 bytes on its way
#: (docs/benchmarks/segment.md).
_VOXELS_UNDER_WAY = 60_000_000


def segment_all(job: Job, subjects: Sequence[FoundSubject], done: Callable[[Subject, bool], None]) -> None:
    """Segment subjects one after the other; one that cannot be segmented does not stop the others.

    Args:
        job: see there.
        subjects: in the order in which to go through them.
        done: called in some thread for every subject with its row, once its files are there, and with whether it is
            new: not so if an earlier run had done the subject.

    Raises:
        InputError: the folder of the run cannot be written to.
    """
    with ThreadPoolExecutor(_AHEAD) as preparing, ThreadPoolExecutor(_AHEAD) as exporting:
        flow = _Flow(job, done, preparing, exporting)
        try:
            flow.run(subjects)
        finally:
            # Stopped halfway: what the network has done is exported, and nothing else begun.
            preparing.shutdown(cancel_futures=True)


class _Flow:
    """Subjects on their way; only the exports run outside of the thread that made it."""

    def __init__(
        self,
        job: Job,
        done: Callable[[Subject, bool], None],
        preparing: ThreadPoolExecutor,
        exporting: ThreadPoolExecutor,
    ) -> None:
        self._job, self._done, self._preparing, self._exporting = job, done, preparing, exporting
        self._exports: deque[Future[None]] = deque()
        #: By subject, from its preparation to the end of its export.
        self._voxels: dict[str, int] = {}

    def run(self, subjects: Sequence[FoundSubject]) -> None:
        for found, preparation in self._ahead(subjects):
            prepared = preparation.result()
            # The queue of preparations has forgotten it too: large arrays live no longer than they must.
            del preparation
            if isinstance(prepared, Settled):
                del self._voxels[found.name]
                self._done(prepared.row, prepared.is_new)
                continue
            if len(self._exports) > _AHEAD:
                self._exports.popleft().result()
            logits = None
            if prepared.ready.image is not None:
                try:
                    logits = self._job.segmenter.predict(prepared.ready.image)
                except Exception as error:
                    del self._voxels[found.name]
                    self._done(failed_unexpectedly(found, prepared.inputs, error), True)
                    continue
            self._exports.append(self._exporting.submit(self._export, prepared.without_image(), logits))
            del prepared, logits
        while self._exports:
            self._exports.popleft().result()

    def _ahead(self, subjects: Sequence[FoundSubject]) -> Iterator[tuple[FoundSubject, Future[Prepared | Settled]]]:
        """Prepare subjects in threads, a few ahead of what is asked for."""
        waiting: deque[tuple[FoundSubject, Future[Prepared | Settled]]] = deque()
        for found in subjects:
            voxels = _voxels(found)
            while waiting and (len(waiting) > _AHEAD or not self._has_room(voxels)):
                yield waiting.popleft()
            while self._exports and not self._has_room(voxels):
                self._exports.popleft().result()
            self._voxels[found.name] = voxels
            waiting.append((found, self._preparing.submit(prepare, self._job, found)))
        while waiting:
            yield waiting.popleft()

    def _has_room(self, voxels: int) -> bool:
        return sum(list(self._voxels.values())) + voxels <= _VOXELS_UNDER_WAY

    def _export(self, prepared: Prepared, logits: np.ndarray[Any, Any] | None) -> None:
        try:
            self._done(export(self._job, prepared, logits), True)
        finally:
            del self._voxels[prepared.found.name]


def _voxels(found: FoundSubject) -> int:
    """The number of voxels of a subject by its headers; 0 where there is none, which becomes its own trouble."""
    try:
        return sum(_size(one) for one in found.inputs)
    except InputError:
        return 0


def _size(one: Input) -> int:
    path = Path(one.path)
    if one.files is None:
        return math.prod(read_header(path).GetSize())
    # Not through ITK, which finds no image in a file without DICOM's first 128 bytes.
    first = read_dicom_file(path / one.files[0])
    return math.prod(first.shape) * len(first.planes) * len(one.files)
