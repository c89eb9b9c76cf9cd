"""Group normalisation over channels-last storage.

On a GPU by kernels of our own, with the ReLU that follows (:mod:`.fused_norm`); on a CPU here, accurate and with a
gradient that costs one more pass; over torch's usual storage by torch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional

from nnunetv2_sa_unet.networks import norm as plain
from nnunetv2_sa_unet.networks.fast.fused_norm import group_norm_by_torch, group_norm_relu
from nnunetv2_sa_unet.networks.fast.gradients import gradients_by_torch
from nnunetv2_sa_unet.networks.fast.launching import is_for_kernels
from nnunetv2_sa_unet.networks.fast.storage import is_channels_last, stored_like

__all__ = ["group_norm"]


def group_norm(norm: plain.GroupNorm, x: torch.Tensor, relu: bool = False) -> torch.Tensor:
    """Normalise ``x``, (N, C, *spatial), and take the positive part if ``relu``; without gradients in place.

    For ``x`` that nobody else reads, such as the output of a convolution.
    """
    arguments = (norm.weight, norm.bias, norm.num_groups, norm.eps)
    if is_for_kernels(x):
        return group_norm_relu(x, *arguments, relu)
    if not _torch_sums_in_a_row(x):
        normed = plain.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    elif torch.is_grad_enabled():
        normed = _ChannelsLast.apply(x, *arguments)
    else:
        _normalise(x, *arguments, out=x)
        normed = x
    return functional.relu_(normed) if relu else normed


def _torch_sums_in_a_row(x: torch.Tensor) -> bool:
    """Tell whether torch would take its channels-last kernel for the CPU, and 16 bit would not hide its rounding.

    This kernel adds up millions of numbers in a row.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    return is_channels_last(x) and not x.is_contiguous()


class _ChannelsLast(torch.autograd.Function):
    """Group norm with accurate statistics.

    With n the normalised input, s the scale, r the inverse deviation, and ∂ for gradients::

        ∂x = r (s ∂y - mean(s ∂y) - n mean(s ∂y n)),   Σ s ∂y = Σ_c s_c ∂shift_c,   Σ s ∂y n = Σ_c s_c ∂s_c

    with mean and sums over a group. So the sums for scale and shift are all that ∂x needs beside x and ∂y.

    A function of our own, because a training step takes 23 % more with torch's kernel over copies in the usual storage,
    and 72 % more with torch's operations over channels-last storage (``docs/benchmarks/speed.md``).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, groups: int, eps: float
    ) -> torch.Tensor:
        normed = torch.empty_like(x)
        mean, inverse_deviation = _normalise(x, weight, bias, groups, eps, out=normed)
        ctx.save_for_backward(x, weight, bias, mean, inverse_deviation)
        ctx.groups, ctx.eps = groups, eps
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias, mean, inverse_deviation = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient will be differentiated itself
            function = partial(group_norm_by_torch, groups=ctx.groups, eps=ctx.eps, relu=False)
            return *gradients_by_torch(function, (x, weight, bias), gradient), None, None

        gradient = stored_like(x, gradient)
        samples, channels = x.shape[:2]
        rows, rows_of_x = (each.movedim(1, -1).reshape(samples, -1, channels) for each in (gradient, x))
        of_shift = rows.sum(1)
        # One matrix product, of which the diagonal counts, reads both once and needs no memory for a product of both.
        products = (rows.mT @ rows_of_x).diagonal(dim1=1, dim2=2)
        of_scale = (products - of_shift * _per_channel(mean, x)) * _per_channel(inverse_deviation, x)

        of_x = None
        if ctx.needs_input_grad[0]:
            scale = x.new_ones(channels) if weight is None else weight
            size = x[0].numel() // ctx.groups
            by_x, constant = (
                (scale * each).reshape(samples, ctx.groups, -1).sum(2) / -size * inverse_deviation
                for each in (of_scale, of_shift)
            )
            by_x = by_x * inverse_deviation
            constant = constant - by_x * mean
            of_x = torch.addcmul(
                _beside(_per_channel(constant, x), x),
                gradient.movedim(1, -1),
                _beside(_per_channel(inverse_deviation, x) * scale, x),
            )
            of_x = of_x.addcmul_(x.movedim(1, -1), _beside(_per_channel(by_x, x), x)).movedim(-1, 1)
        of_weight = None if weight is None else of_scale.sum(0)
        of_bias = None if bias is None else of_shift.sum(0)
        return of_x, of_weight, of_bias, None, None


def _per_channel(per_group: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Repeat (N, groups) for the channels of ``x``: (N, C)."""
    return per_group.repeat_interleave(x.shape[1] // per_group.shape[1], 1)


def _beside(per_channel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Give (N, C) one axis for each of ``x``, the channels last."""
    samples, channels = per_channel.shape
    return per_channel.view(samples, *[1] * (x.ndim - 2), channels)


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
    torch.addcmul(_beside(shift, x), voxels, _beside(scale, x), out=out.movedim(1, -1))
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
