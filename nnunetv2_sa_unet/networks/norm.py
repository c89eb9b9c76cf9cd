"""Group normalisation that fits nnU-Net's blocks and stays in 16 bit under autocast."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GroupNorm", "group_norm"]


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He, ECCV 2018) over contiguous groups of channels.

    It differs from :class:`torch.nn.GroupNorm` in three points. The number of channels comes first, because the
    blocks of dynamic-network-architectures call ``norm_op(channels, **norm_op_kwargs)``. Under autocast the
    output has the dtype of the input (:func:`group_norm`). And channels-last inputs are normalised in torch's usual
    storage: over channels-last storage on a CPU, torch adds up millions of float32 numbers in a row, whose rounding
    shows in the third decimal.

    Args:
        num_channels: number of channels C, a multiple of ``num_groups``.
        num_groups: number of groups; the paper uses 8.
        eps: added to the variance; 1e-3 in the authors' Keras network (torch's default is 1e-5).
        affine: learn a scale and a shift per channel.

    Shape:
        (N, C, *) → the same.

    Raises:
        ValueError: if ``num_channels`` is not a multiple of ``num_groups``.
    """

    def __init__(self, num_channels: int, num_groups: int = 8, eps: float = 1e-3, affine: bool = True) -> None:
        super().__init__(num_groups, num_channels, eps=eps, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)


def group_norm(
    x: torch.Tensor, num_groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Normalise as :func:`torch.nn.functional.group_norm`, in the dtype of ``x`` also under autocast.

    Torch lists ``group_norm`` among the operations that autocast runs in float32, which would carry float32
    activations through the rest of the network. Its kernels compute the statistics of 16-bit inputs in float32 all
    the same.
    """
    # Outside autocast there is nothing to switch off, and exported graphs stay free of autocast regions. The meta
    # device, on which memory is estimated, knows no autocast.
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        return functional.group_norm(x, num_groups, weight, bias, eps)
    weight, bias = (None if parameter is None else parameter.to(x.dtype) for parameter in (weight, bias))
    with torch.autocast(x.device.type, enabled=False):
        return functional.group_norm(x, num_groups, weight, bias, eps)
