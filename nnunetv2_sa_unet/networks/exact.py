"""Faster formulations of what the networks compute, equal to the plain ones up to rounding.

Each function rests on an identity, given in its docstring, and reads the parameters of the plain layers: state dicts
never tell which formulation made them. ``networks.reference`` has the plain ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = [
    "PlaneConv3d",
    "convolve",
    "convolve_by_phases",
    "convolve_dilated",
    "convolve_upsampled",
    "fold_planes",
    "planes_are_images",
    "to_channels_last",
    "unfold_planes",
]

#: Outputs that :func:`convolve_by_phases` computes at once along each axis.
PHASES = 4


def to_channels_last(x: torch.Tensor) -> torch.Tensor:
    """Copy images into channels-last storage, in which the planes of a volume are images without a copy.

    On a CPU, convolutions over it are about a third faster than over torch's usual storage. On other devices, and
    where a compiler or exporter chooses the storage itself, the images stay as they are.

    A copy even where torch calls both storages the same: for one channel only the strides tell convolutions which
    one is meant.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x
    return x.clone(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def planes_are_images(x: torch.Tensor) -> bool:
    """Tell whether :func:`fold_planes` of a volume is a view with channels-last storage."""
    return x.ndim == 5 and x.stride(1) == 1 and x.is_contiguous(memory_format=torch.channels_last_3d)


def fold_planes(x: torch.Tensor) -> torch.Tensor:
    """View volumes (N, C, D, H, W) as images (N·D, C, H, W)."""
    # With the channels last meanwhile, axes of extent 1 get the strides by which torch knows the storage.
    return x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)


def unfold_planes(x: torch.Tensor, samples: int) -> torch.Tensor:
    """View images (N·D, C, H, W) of N ``samples`` as volumes (N, C, D, H, W).

    Give ``x.shape[0]`` and not ``len(x)``, which is a plain number that would fix the size of exported graphs' batches.
    """
    voxels = x.movedim(1, -1)
    return voxels.view(samples, -1, *voxels.shape[1:]).movedim(-1, 1)


def _stored_like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Keep channels-last storage where torch chose a convolution that does not (that of small maps)."""
    return y.contiguous(memory_format=torch.channels_last_3d) if planes_are_images(x) else y


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    padding: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
) -> torch.Tensor:
    """Convolve images or volumes with stride 1; volumes plane by plane where the kernel has one tap along z.

    A kernel of (1, k, k) joins no two planes: its 3d convolution is the 2d convolution of every plane, for which
    oneDNN has faster kernels.

    Args:
        x: (N, C, *spatial).
        weight: (C_out, C, *kernel).
        bias: (C_out).
        padding: zeros on either side, one number per axis; none if None.
        dilation: distance of the taps, one number per axis; 1 if None.
    """
    n_axes = x.ndim - 2
    padding = tuple(padding or (0,) * n_axes)
    dilation = tuple(dilation or (1,) * n_axes)
    if n_axes == 2:
        return functional.conv2d(x, weight, bias, padding=padding, dilation=dilation)
    if weight.shape[2] == 1 and padding[0] == 0 and planes_are_images(x):
        planes = functional.conv2d(fold_planes(x), weight.squeeze(2), bias, padding=padding[1:], dilation=dilation[1:])
        return _stored_like(x, unfold_planes(planes, x.shape[0]))
    return _stored_like(x, functional.conv3d(x, weight, bias, padding=padding, dilation=dilation))


def convolve_dilated(
    x: torch.Tensor, weight: torch.Tensor, padding: Sequence[int], dilation: Sequence[int]
) -> torch.Tensor:
    """:func:`convolve` without bias, with a faster gradient of the weights for dilations near the extent of the map.

    Along one axis of extent E, with dilation d and padding p::

        y[o] = Σ_t w[t] x[o + d·t - p],   ∂w[t] = Σ_o ∂y[o] x[o + d·t - p],   0 ≤ o < E,   0 ≤ o + d·t - p < E

    So each tap's gradient is one matrix product over the outputs for which the tap lies within the map: 19 % of all
    for a kernel of 3×3×3, dilation 12 and a map of 32×16×16. Libraries also multiply what is outside.

    The arguments are those of :func:`convolve`; the output must be as large as the input.
    """
    is_eager = not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
    if is_eager and x.device.type == "cpu" and planes_are_images(x):
        convolved: torch.Tensor = _Dilated.apply(x, weight, tuple(padding), tuple(dilation))
        return convolved
    return convolve(x, weight, None, padding, dilation)


class _Dilated(torch.autograd.Function):
    """See :func:`convolve_dilated`."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, ...], dilation: tuple[int, ...]
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return convolve(x, weight, None, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            settings = ([1, 1, 1], ctx.padding, ctx.dilation, False, [0, 0, 0], 1, [True, False, False])
            of_x = torch.ops.aten.convolution_backward(gradient, x, weight, None, *settings)[0]
        if ctx.needs_input_grad[1]:
            of_weight = torch.zeros_like(weight)
            of_tap = of_weight.movedim((0, 1), (-2, -1))
            for tap in itertools.product(*map(range, weight.shape[2:])):
                outputs, inputs = gradient.movedim(1, -1), x.movedim(1, -1)
                steps = zip(tap, ctx.dilation, ctx.padding, strict=True)
                for axis, (place, dilation, padding) in enumerate(steps, start=1):
                    offset = dilation * place - padding
                    n_inside = x.shape[axis + 1] - abs(offset)
                    if n_inside <= 0:
                        break
                    outputs = outputs.narrow(axis, max(0, -offset), n_inside)
                    inputs = inputs.narrow(axis, max(0, offset), n_inside)
                else:
                    of_tap[tap] = outputs.flatten(0, -2).T @ inputs.flatten(0, -2)
        return of_x, of_weight, None, None


class PlaneConv3d(nn.Conv3d):
    """A 3d convolution with stride 1 by :func:`convolve`."""

    padding: tuple[int, ...]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return convolve(x, self.weight, self.bias, self.padding, self.dilation)


def convolve_upsampled(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: Sequence[int]
) -> torch.Tensor:
    """Upsample by repeating voxels (nearest) and convolve with 'same' padding, without the upsampled map.

    Along one axis, with u[i] = x[i // s] and a kernel w of k (odd) taps padded by p = (k - 1) / 2::

        y[o] = Σ_t w[t] u[o + t - p] = Σ_i v[o - s·i + p] x[i],   v[j] = Σ_r w[k - 1 - j + r],  r = 0 … s - 1

    which is a transposed convolution of stride s and padding p, whose kernel v of k + s - 1 taps is the reversed w
    convolved with s ones. Taps that read several repetitions of one voxel are added up beforehand: for k = 3 and
    s = 2, an output takes 2 multiplications an axis instead of 3.

    Args:
        x: (N, C, *spatial).
        weight: (C_out, C, *kernel), each extent odd.
        bias: (C_out).
        factors: repetitions along each axis.

    Returns:
        (N, C_out, *(spatial · ``factors``)).
    """
    kernel = weight.transpose(0, 1)
    for axis, factor in enumerate(factors, start=2):
        kernel = kernel.flip(axis)
        after = 2 * (weight.ndim - 1 - axis)  # functional.pad lists the last axis first
        kernel = torch.stack(
            [functional.pad(kernel, [0] * after + [shift, factor - 1 - shift]) for shift in range(factor)]
        ).sum(0)
    padding = [(extent - 1) // 2 for extent in weight.shape[2:]]
    stride = list(factors)
    if x.ndim == 4:
        return functional.conv_transpose2d(x, kernel, bias, stride, padding)
    if kernel.shape[2] == 1 and planes_are_images(x):
        planes = functional.conv_transpose2d(fold_planes(x), kernel.squeeze(2), bias, stride[1:], padding[1:])
        return _stored_like(x, unfold_planes(planes, x.shape[0]))
    return _stored_like(x, functional.conv_transpose3d(x, kernel, bias, stride, padding))


def convolve_by_phases(x: torch.Tensor, weight: torch.Tensor, before: Sequence[int]) -> torch.Tensor:
    """Convolve images with one large kernel into one channel, as large as the input.

    Along one axis, with u the input after padding, a = 0 … P - 1 the phase of an output and P = 4::

        y[P·i + a] = Σ_t w[t] u[P·i + a + t] = Σ_m Σ_p w_a[P·m + p] u[P·(i + m) + p],   w_a[j] = w[j - a]

    So the P phases are P output channels, and the P phases of the input P input channels, of a convolution with
    ⌈(k + P - 1) / P⌉ taps: 5×5 instead of 14×14. It multiplies twice as often, but for 16 outputs at once: libraries
    are slow at convolutions with a single output channel, at their weights' gradient above all.

    Args:
        x: (N, C, H, W).
        weight: (1, C, kernel height, kernel width).
        before: zeros above and to the left; below and to the right follow as many as 'same' padding takes.

    Returns:
        (N, 1, H, W).
    """
    size, kernel_size = x.shape[2:], weight.shape[2:]
    taps = [-(-(extent + PHASES - 1) // PHASES) for extent in kernel_size]
    blocks = [-(-extent // PHASES) for extent in size]

    padding: list[int] = []
    for extent, block, tap, first in zip(size, blocks, taps, before, strict=True):
        padding = [first, PHASES * (block + tap - 1) - extent - first, *padding]
    inputs = functional.pixel_unshuffle(functional.pad(x, padding), PHASES)

    # Kernels (phase along y, phase along x, C, PHASES · taps along y, PHASES · taps along x).
    rows, columns = (PHASES * tap - extent for tap, extent in zip(taps, kernel_size, strict=True))
    kernels = torch.stack([functional.pad(weight[0], (0, 0, phase, rows - phase)) for phase in range(PHASES)])
    kernels = torch.stack([functional.pad(kernels, (phase, columns - phase)) for phase in range(PHASES)], 1)
    # One channel for each phase of the input, as pixel_unshuffle has them.
    kernels = functional.pixel_unshuffle(kernels.flatten(0, 1), PHASES)

    outputs = functional.pixel_shuffle(functional.conv2d(inputs, kernels), PHASES)
    return outputs[..., : size[0], : size[1]]
