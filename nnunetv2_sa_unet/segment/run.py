"""Many subjects through one model, each for itself, to masks and a record.

While the network works on one subject, the next are read and preprocessed and the last are exported, in threads: what
takes time there (decompression, resampling, compression) is compiled code that leaves Python's lock to others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from nnunetv2_sa_unet.segment.export import export
from nnunetv2_sa_unet.segment.inputs import FoundSubject
from nnunetv2_sa_unet.segment.preparation import Job, Prepared, Settled, failed_unexpectedly, prepare
from nnunetv2_sa_unet.segment.record import Subject

__all__ = ["segment_all"]

_AHEAD = 2


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
        exports: deque[Future[None]] = deque()

        def finish(prepared: Prepared, logits: np.ndarray[Any, Any] | None) -> None:
            done(export(job, prepared, logits), True)

        try:
            for prepared in _ahead(preparing, job, subjects):
                if isinstance(prepared, Settled):
                    done(prepared.row, prepared.is_new)
                    continue
                if len(exports) > _AHEAD:
                    exports.popleft().result()
                logits = None
                if prepared.image is not None:
                    try:
                        logits = job.segmenter.predict(prepared.image)
                    except Exception as error:
                        done(failed_unexpectedly(prepared.found, prepared.inputs, error), True)
                        continue
                exports.append(exporting.submit(finish, prepared, logits))
            for exported in exports:
                exported.result()
        finally:
            # Stopped halfway: what the network has done is exported, and nothing else begun.
            preparing.shutdown(cancel_futures=True)


def _ahead(pool: ThreadPoolExecutor, job: Job, subjects: Iterable[FoundSubject]) -> Iterator[Prepared | Settled]:
    """Prepare subjects in threads, a few ahead of what is asked for."""
    waiting: deque[Future[Prepared | Settled]] = deque()
    for found in subjects:
        waiting.append(pool.submit(prepare, job, found))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
