"""Convolutions, each as a cheaper one that computes the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from nnunetv2_sa_unet.networks.fast.storage import (
    fold_planes,
    planes_are_images,
    stored_like,
    unfold_planes,
    weight_for,
)

__all__ = ["convolve", "convolve_by_phases", "convolve_upsampled", "without_idle_taps"]

#: Outputs that :func:`convolve_by_phases` computes at once along each axis.
PHASES = 4


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
        return functional.conv2d(x, weight_for(x, weight), bias, padding=padding, dilation=dilation)
    if weight.shape[2] == 1 and padding[0] == 0 and planes_are_images(x):
        planes = convolve(fold_planes(x), weight.squeeze(2), bias, padding[1:], dilation[1:])
        return stored_like(x, unfold_planes(planes, x.shape[0]))
    return stored_like(x, functional.conv3d(x, weight_for(x, weight), bias, padding=padding, dilation=dilation))


def without_idle_taps(
    weight: torch.Tensor, padding: Sequence[int], dilation: Sequence[int], size: Sequence[int]
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Leave out the taps of a dilated convolution with 'same' padding that read nothing but padding.

    Where the dilation is at least as large as the map along an axis, the outer taps of a kernel of 3 lie outside the
    map wherever the kernel stands: a kernel of 1 along this axis computes the same.

    Args:
        weight: (C_out, C, *kernel).
        padding: zeros on either side, one number per axis.
        dilation: distance of the taps, one number per axis.
        size: extents of the map.

    Returns:
        the remaining weights, a view, and their padding.
    """
    remaining = list(padding)
    for axis, (extent, distance, zeros) in enumerate(zip(size, dilation, padding, strict=True)):
        if weight.shape[axis + 2] == 3 and zeros == distance >= extent:
            weight, remaining[axis] = weight.narrow(axis + 2, 1, 1), 0
    return weight, tuple(remaining)


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
        return functional.conv_transpose2d(x, weight_for(x, kernel), bias, stride, padding)
    if kernel.shape[2] == 1 and planes_are_images(x):
        images, kernel = fold_planes(x), kernel.squeeze(2)
        planes = functional.conv_transpose2d(images, weight_for(images, kernel), bias, stride[1:], padding[1:])
        return stored_like(x, unfold_planes(planes, x.shape[0]))
    return stored_like(x, functional.conv_transpose3d(x, weight_for(x, kernel), bias, stride, padding))


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
