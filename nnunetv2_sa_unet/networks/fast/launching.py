"""What the functions that launch Triton's kernels over channels-last maps have in common."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch

from nnunetv2_sa_unet.networks.fast.observers import is_many
from nnunetv2_sa_unet.networks.fast.storage import is_channels_last

__all__ = ["TRUSTED", "is_for_kernels", "needs_torch", "on_device_of", "power_of_two", "rows_of", "tile"]

#: Of a tile: two loads of 16 bytes for each of 128 threads where maps have 16 bit.
_VALUES = 2048
_WARPS = 4
#: GPUs on which the kernels have been tried (:mod:`.trial`), and whether they have passed every time.
TRUSTED: dict[torch.device, bool] = {}


def is_for_kernels(x: torch.Tensor) -> bool:
    """Tell whether ``x`` is stored for the kernels, and where they run.

    That is a GPU, for which :func:`.network.sa_unet` stores maps channels last if the kernels work there, or a CPU on
    which Triton interprets them (``TRITON_INTERPRET=1``). A single voxel, of which nobody can tell how it is stored,
    is left to torch.
    """
    if x.device.type == "cuda":
        runs = TRUSTED.get(x.device, False)
    else:
        runs = x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    return runs and is_channels_last(x) and not x.is_contiguous()


def on_device_of(x: torch.Tensor) -> AbstractContextManager[None]:
    """Let Triton, which launches on the current GPU, launch on that of ``x``."""
    device: AbstractContextManager[None] = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
    return device


def rows_of(x: torch.Tensor) -> torch.Tensor:
    """View (N, C, *spatial) with the channels last, or copy it if it is not stored like this."""
    return x.movedim(1, -1).contiguous()


def tile(channels: int, tile_channels: int) -> dict[str, int]:
    """How a kernel takes a map of so many channels, so many at a time."""
    return {
        "channels": channels,
        "tile_rows": max(1, _VALUES // tile_channels),
        "tile_channels": tile_channels,
        "num_warps": _WARPS,
    }


def power_of_two(number: int) -> int:
    """The smallest power of two that is not smaller: Triton's tiles have no other extents."""
    return 1 << (number - 1).bit_length()


def needs_torch(gradient: torch.Tensor) -> bool:
    """Tell whether a backward pass has to be torch's operations.

    What it puts out will be differentiated itself, or ``gradient`` stands for many.
    """
    return torch.is_grad_enabled() or is_many(gradient)
