"""Channels-last storage, in which the planes of a volume are images without a copy."""

from __future__ import annotations

import torch

__all__ = [
    "channels_last",
    "fold_planes",
    "is_channels_last",
    "planes_are_images",
    "stored_like",
    "unfold_planes",
    "weight_for",
]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Copy images or volumes into channels-last storage.

    A copy even where torch calls both storages the same: for one channel only the strides tell convolutions which one
    is meant.
    """
    return x.clone(memory_format=_channels_last_of(x))


def is_channels_last(x: torch.Tensor) -> bool:
    """Tell whether images or volumes lie in memory with the channels of a voxel side by side."""
    return x.stride(1) == 1 and x.is_contiguous(memory_format=_channels_last_of(x))


def planes_are_images(x: torch.Tensor) -> bool:
    """Tell whether :func:`fold_planes` of a volume is a view with channels-last storage."""
    return x.ndim == 5 and is_channels_last(x)


def weight_for(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Cast the weight of a convolution of ``x`` as autocast would, and store it like ``x`` in the same pass.

    So a step costs no pass more than with weights in torch's usual storage, in which parameters, gradients and all that
    optimizers and checkpoints hold of them stay.
    """
    device = x.device.type
    # The meta device, on which memory is estimated, knows no autocast.
    if device == "meta" or not torch.is_autocast_enabled(device) or not is_channels_last(x):
        return weight
    dtype = torch.get_autocast_dtype(device)
    if all(extent == 1 for extent in weight.shape[2:]):
        # Both storages are one here, but for strides without a meaning, of which DistributedDataParallel would complain
        # in the gradient: as a matrix it has none.
        return weight.flatten(1).to(dtype).view(weight.shape)
    return weight.to(dtype, memory_format=_channels_last_of(weight))


def stored_like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Keep channels-last storage where torch chose a convolution that does not (that of small maps)."""
    return y.contiguous(memory_format=torch.channels_last_3d) if planes_are_images(x) else y


def fold_planes(x: torch.Tensor) -> torch.Tensor:
    """View volumes (N, C, D, H, W) as images (N·D, C, H, W)."""
    # With the channels last meanwhile, axes of extent 1 get the strides by which torch knows the storage.
    return x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)


def unfold_planes(x: torch.Tensor, samples: int) -> torch.Tensor:
    """View images (N·D, C, H, W) of N ``samples`` as volumes (N, C, D, H, W)."""
    voxels = x.movedim(1, -1)
    return voxels.view(samples, -1, *voxels.shape[1:]).movedim(-1, 1)


def _channels_last_of(x: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d
