"""Group normalisation that fits nnU-Net's blocks, stays in 16 bit under autocast, and is accurate in any storage."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
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
            return self._channels_last(x, rectify=False)
        # Outside autocast there is nothing to switch off, and exported graphs stay free of autocast regions. The meta
        # device, on which memory is estimated, knows no autocast.
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        weight = None if self.weight is None else self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)

    def rectified(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x`` and set what is negative to zero; without gradients ``x`` itself is overwritten.

        For ``x`` that nobody else reads, such as the output of a convolution.
        """
        if not _torch_sums_in_a_row(x):
            return functional.relu_(self(x))
        if torch.is_grad_enabled():
            return self._channels_last(x, rectify=True)
        _normalise(x, self.weight, self.bias, self.num_groups, self.eps, out=x)
        return x.relu_()

    def _channels_last(self, x: torch.Tensor, rectify: bool) -> torch.Tensor:
        normed: torch.Tensor = _ChannelsLast.apply(x, self.weight, self.bias, self.num_groups, self.eps, rectify)
        return normed


def _torch_sums_in_a_row(x: torch.Tensor) -> bool:
    """Tell whether torch would normalise by its channels-last kernel for the CPU, and 16 bit would not hide it."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or torch.compiler.is_compiling():
        return False
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return channels_last is not None and x.is_contiguous(memory_format=channels_last) and not x.is_contiguous()


class _ChannelsLast(torch.autograd.Function):
    """Group norm with accurate statistics, and ReLU after it if asked for.

    With n the normalised input, s the scale, r the inverse deviation, and ∂ for gradients::

        ∂x = r (s ∂y - mean(s ∂y) - n mean(s ∂y n)),   Σ s ∂y = Σ_c s_c ∂shift_c,   Σ s ∂y n = Σ_c s_c ∂s_c

    with mean and sums over a group. So what torch sums up for scale and shift is all that ∂x needs beside x and ∂y. It
    is computed in place, because a pass over new memory takes several times as long as one over memory in use.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        groups: int,
        eps: float,
        rectify: bool,
    ) -> torch.Tensor:
        normed = torch.empty_like(x)
        mean, inverse_deviation = _normalise(x, weight, bias, groups, eps, out=normed)
        if rectify:
            normed.relu_()
        ctx.save_for_backward(x, normed if rectify else None, weight, mean, inverse_deviation)
        ctx.groups = groups
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, rectified, weight, mean, inverse_deviation = ctx.saved_tensors
        channels_last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        # Either way a copy, which the gradient of the input overwrites.
        if rectified is None:
            gradient = gradient.clone(memory_format=channels_last)
        else:
            gradient = torch.ops.aten.threshold_backward(gradient.contiguous(memory_format=channels_last), rectified, 0)

        n_channels, voxels = x.shape[1], x.shape[2:].numel()
        scale = x.new_ones(n_channels) if weight is None else weight
        # Torch adds those of all samples up, so one sample at a time.
        per_sample = [
            torch.ops.aten.native_group_norm_backward(
                *one, scale, 1, n_channels, voxels, ctx.groups, [False, True, True]
            )[1:]
            for one in zip(*(each.split(1) for each in (gradient, x, mean, inverse_deviation)), strict=True)
        ]
        of_scale, of_shift = (torch.stack(each) for each in zip(*per_sample, strict=True))

        if ctx.needs_input_grad[0]:
            size = voxels * n_channels // ctx.groups
            by_x, constant = (
                (scale * each).view(len(x), ctx.groups, -1).sum(2).div_(-size) * inverse_deviation
                for each in (of_scale, of_shift)
            )
            by_x *= inverse_deviation
            constant -= by_x * mean
            by_gradient = _per_channel(inverse_deviation, x) * scale
            gradient.movedim(1, -1).mul_(by_gradient).addcmul_(x.movedim(1, -1), _per_channel(by_x, x))
            gradient.movedim(1, -1).add_(_per_channel(constant, x))
        affine = (None, None) if weight is None else (of_scale.sum(0), of_shift.sum(0))
        return gradient, *affine, None, None, None


def _per_channel(per_group: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Repeat (N, groups) for the channels of ``x``, with one axis for each of its own, the channels last."""
    samples, groups = per_group.shape
    return per_group.repeat_interleave(x.shape[1] // groups, 1).view(samples, *[1] * (x.ndim - 2), -1)


def _normalise(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    groups: int,
    eps: float,
    out: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write the normalised ``x`` into ``out``; return mean and inverse deviation, (N, ``groups``) each."""
    voxels = x.movedim(1, -1)
    mean, variance = _statistics(voxels, groups)
    inverse_deviation = (variance + eps).rsqrt()
    scale, shift = _per_channel(inverse_deviation, x), _per_channel(-mean * inverse_deviation, x)
    if weight is not None and bias is not None:
        scale, shift = scale * weight, shift * weight + bias
    torch.addcmul(shift, voxels, scale, out=out.movedim(1, -1))
    return mean, inverse_deviation


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
