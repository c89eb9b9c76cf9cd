"""What the spatial attention does to whole maps, in one kernel each, over channels-last maps on a GPU.

With torch's operations mean, maximum and product read the map one after the other, their gradients write maps of their
own, and that of the maximum several, which are then added up.
"""

from __future__ import annotations

from typing import Any

import torch

from nnunetv2_sa_unet.networks.fast.gradients import gradients_by_torch
from nnunetv2_sa_unet.networks.fast.launching import needs_torch, on_device_of, power_of_two, rows_of, tile

__all__ = ["describe", "weigh"]


def describe(x: torch.Tensor) -> torch.Tensor:
    """Return mean and maximum of the channels of ``x``, (N, C, *spatial), as (N, 2, *spatial)."""
    descriptor: torch.Tensor = _Describe.apply(x)
    return descriptor


def weigh(x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Multiply ``x``, (N, C, *spatial), by the sigmoid of ``score``, (N, 1, *spatial)."""
    weighed: torch.Tensor = _Weigh.apply(x, score)
    return weighed


def _describe_by_torch(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)


def _weigh_by_torch(x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(score)


class _Describe(torch.autograd.Function):
    """Keeps ``x`` alone; which channels are largest is found anew."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        from nnunetv2_sa_unet.networks.fast import attention_kernels

        ctx.save_for_backward(x)
        rows = rows_of(x)
        descriptor = rows.new_empty(*rows.shape[:-1], 2)
        _launch(attention_kernels.describe, rows, descriptor)
        return descriptor.movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor | None:
        from nnunetv2_sa_unet.networks.fast import attention_kernels

        (x,) = ctx.saved_tensors
        if needs_torch(gradient):
            return gradients_by_torch(_describe_by_torch, (x,), gradient)[0]
        rows = rows_of(x)
        of_x = torch.empty_like(rows)
        _launch(attention_kernels.spread, rows, rows_of(gradient), of_x)
        return of_x.movedim(-1, 1)


class _Weigh(torch.autograd.Function):
    """With a = sigmoid(score): ∂x = a ∂y, ∂score = a (1 - a) Σ x ∂y, the sum over the channels."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        from nnunetv2_sa_unet.networks.fast import attention_kernels

        ctx.save_for_backward(x, score)
        rows = rows_of(x)
        weighed = torch.empty_like(rows)
        _launch(attention_kernels.weigh, rows, rows_of(score), weighed)
        return weighed.movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from nnunetv2_sa_unet.networks.fast import attention_kernels

        x, score = ctx.saved_tensors
        if needs_torch(gradient):
            return tuple(gradients_by_torch(_weigh_by_torch, (x, score), gradient))
        rows, scores = rows_of(x), rows_of(score)
        of_x, of_score = torch.empty_like(rows), torch.empty_like(scores)
        _launch(attention_kernels.weigh_back, rows, scores, rows_of(gradient), of_x, of_score)
        return of_x.movedim(-1, 1), of_score.movedim(-1, 1)


def _launch(kernel: Any, x: torch.Tensor, *maps: torch.Tensor) -> None:
    """Launch a kernel of whole rows of ``x``, (N, *spatial, C), one tile a program."""
    from triton import language as tl

    channels = x.shape[-1]
    n_rows = x.numel() // channels
    options = tile(channels, power_of_two(channels))
    with on_device_of(x):
        kernel[(-(-n_rows // options["tile_rows"]),)](
            x, *maps, n_rows, dtype=tl.float64 if x.dtype == torch.float64 else tl.float32, **options
        )
