"""Group normalisation that fits nnU-Net's blocks, stays in 16 bit under autocast, and is accurate in any storage."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GroupNorm"]


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He, ECCV 2018) over contiguous groups of channels.

    It differs from :class:`torch.nn.GroupNorm` in three points. The number of channels comes first, because the
    blocks of dynamic-network-architectures call ``norm_op(channels, **norm_op_kwargs)``. Under autocast the
    output has the dtype of the input: torch lists ``group_norm`` among the operations that autocast runs in
    float32, which would carry float32 activations through the rest of the network. Torch's kernels compute the
    statistics of 16-bit inputs in float32 all the same. And on a CPU, channels-last inputs take statistics of our own:
    those of torch are sums of millions of float32 numbers in a row, whose rounding shows in the third decimal.

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
        if _torch_sums_in_a_row(x):
            normed: torch.Tensor = _ChannelsLast.apply(x, self.weight, self.bias, self.num_groups, self.eps)
            return normed
        # Outside autocast there is nothing to switch off, and exported graphs stay free of autocast regions. The meta
        # device, on which memory is estimated, knows no autocast.
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        weight = None if self.weight is None else self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


def _torch_sums_in_a_row(x: torch.Tensor) -> bool:
    """Tell whether torch would normalise by its channels-last kernel for the CPU, and 16 bit would not hide it."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or torch.compiler.is_compiling():
        return False
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return channels_last is not None and x.is_contiguous(memory_format=channels_last) and not x.is_contiguous()


class _ChannelsLast(torch.autograd.Function):
    """Torch's group norm with accurate statistics; the gradient, which reads them, is torch's."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, groups: int, eps: float
    ) -> torch.Tensor:
        voxels = x.movedim(1, -1)
        mean, variance = _statistics(voxels, groups)
        inverse_deviation = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse_deviation)
        ctx.groups = groups

        n_samples, n_channels = x.shape[:2]
        scale = inverse_deviation.repeat_interleave(n_channels // groups, 1)
        shift = -mean.repeat_interleave(n_channels // groups, 1) * scale
        if weight is not None and bias is not None:
            scale, shift = scale * weight, shift * weight + bias
        per_channel = (n_samples, *[1] * (x.ndim - 2), n_channels)
        normed = torch.empty_like(x)
        torch.addcmul(shift.view(per_channel), voxels, scale.view(per_channel), out=normed.movedim(1, -1))
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        channels_last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        n_samples, n_channels = x.shape[:2]
        gradients = torch.ops.aten.native_group_norm_backward(
            gradient.contiguous(memory_format=channels_last),
            x,
            mean,
            inverse_deviation,
            weight,
            n_samples,
            n_channels,
            x.shape[2:].numel(),
            ctx.groups,
            [ctx.needs_input_grad[0], weight is not None, weight is not None],
        )
        return *gradients, None, None


def _statistics(voxels: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of each group of channels, (N, ``groups``) each.

    The values at one position of the last axis, over all rows, have statistics of their own: k sums of S / k numbers
    instead of one of S. As all are equally many, the mean is the mean of the means m, and the variance the
    mean of v + (m - mean)², v being the variances.

    Args:
        voxels: (N, *spatial, C), contiguous.
    """
    n_positions, n_channels = voxels.shape[-2:]
    # Torch counts each position as channels of its own.
    per_sample = [
        torch.batch_norm_update_stats(rows, None, None, 0.0)
        for rows in voxels.reshape(len(voxels), -1, n_positions * n_channels)
    ]
    means, variances = (
        torch.stack(statistics).view(len(voxels), n_positions, groups, -1)
        for statistics in zip(*per_sample, strict=True)
    )
    mean = means.mean((1, 3), keepdim=True)
    variance = (variances + (means - mean).square()).mean((1, 3))
    return mean[:, 0, :, 0], variance
