"""Group normalisation that fits nnU-Net's blocks and stays in 16 bit under autocast."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GroupNorm"]


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He, ECCV 2018) over contiguous groups of channels.

    It differs from :class:`torch.nn.GroupNorm` in two points. The number of channels comes first, because the
    blocks of dynamic-network-architectures call ``norm_op(channels, **norm_op_kwargs)``. Under autocast the
    output has the dtype of the input: torch lists ``group_norm`` among the operations that autocast runs in
    float32, which would carry float32 activations through the rest of the network. Torch's kernels compute the
    statistics of 16-bit inputs in float32 all the same.

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
        # Outside autocast there is nothing to switch off, and exported graphs stay free of autocast regions. The meta
        # device, on which memory is estimated, knows no autocast.
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        weight = None if self.weight is None else self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)
