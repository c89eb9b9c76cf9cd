"""Work on many files in several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

__all__ = ["default_processes", "mapping"]


def default_processes() -> int:
    """One process for each core that this process may use, and at most 8."""
    # On a cluster a job may use fewer cores than the machine has; only Linux can tell.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


@contextmanager
def mapping(processes: int) -> Iterator[Any]:
    """A ``map`` that keeps the order, and runs in this process or in a pool of several."""
    if processes <= 1:
        yield map
        return
    # A fork would copy the locks of SimpleITK's threads, and macOS and Windows cannot fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield pool.map
