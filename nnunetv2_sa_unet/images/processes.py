"""Work on many files in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

__all__ = ["default_processes", "end_with_parent", "mapping"]


def default_processes() -> int:
    """One process for each core that this process may use, and at most 8."""
    # On a cluster a job may use fewer cores than the machine has; only Linux can tell.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def end_with_parent() -> None:
    """What a worker process begins with: it ends when the process that started it does, even by a kill."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def mapping(processes: int) -> Iterator[Any]:
    """A ``map`` that keeps the order, and runs in this process or in a pool of several.

    If the block is left by an exception, work that has not begun is dropped; if it is interrupted, the processes end.
    """
    if processes <= 1:
        yield map
        return
    # A fork would copy the locks of SimpleITK's threads, and macOS and Windows cannot fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=end_with_parent)

    def apply(*words: Any) -> Iterator[Any]:
        with _left_to_the_parent(signal.SIGINT):
            return pool.map(*words)

    try:
        yield apply
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        # Interrupted: nobody waits for what has begun. Until Python 3.12 the pool has to see first that the rest was
        # cancelled, or it complains.
        pool.shutdown(wait=False, cancel_futures=True)
        time.sleep(0.1)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    pool.shutdown()


@contextmanager
def _left_to_the_parent(number: signal.Signals) -> Iterator[None]:
    """Processes that are started meanwhile never see a signal, which reaches the whole group from the terminal.

    This process sees it afterwards: to ignore it would lose an interruption that comes while a process starts.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Starting with the first process it would let the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
