"""Which GPU a job may use, and who trains a fold: locks that end with the process that holds them.

The operating system drops these locks when their process dies, however it dies, so nothing is left to clean up.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunetv2_sa_unet.files import locked

__all__ = ["free_gpu", "lock_folder", "only_one"]

_SECONDS_BETWEEN_LOOKS = 1.0


def lock_folder() -> Path:
    """The folder of the GPUs' locks: of this machine and user, so that several studies share the GPUs."""
    return Path(tempfile.gettempdir(), f"nnunetv2_sa_unet-{os.getuid()}")


@contextmanager
def free_gpu(gpus: Sequence[str], folder: Path) -> Iterator[str]:
    """Wait for a GPU that no other job holds, and hold it.

    Args:
        gpus: entries of ``CUDA_VISIBLE_DEVICES``; one that stands there twice is given to two jobs at a time.
        folder: where the locks lie.

    Yields:
        the GPU's entry.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    slots = [(gpu, gpus[:index].count(gpu)) for index, gpu in enumerate(gpus)]
    while True:
        for gpu, turn in slots:
            with locked(folder / f"gpu-{gpu.replace('/', '_')}-{turn}.lock") as is_ours:
                if is_ours:
                    yield gpu
                    return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block of this path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=True):
        yield
