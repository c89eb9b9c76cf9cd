"""The paper's 3D spatial attention module (section 2.1), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nnunetv2_sa_unet.networks.exact import convolve_by_phases, fold_planes, planes_are_images, unfold_planes

__all__ = ["SpatialAttention"]

#: Extent from which on a kernel is convolved by phases; with fewer taps the plain convolution is as fast.
LARGE = 8


class SpatialAttention(nn.Module):
    """Weigh every voxel by what the channels hold there (equation 1 of the paper).

    The mean and the maximum over the channels, in this order, go through one convolution without bias and a
    sigmoid; the result multiplies the input. The module comes from CBAM (Woo et al., ECCV 2018).

    'Same' padding of an even kernel is asymmetric in Keras, and so it is here: a kernel of 14 pads 6 voxels
    before and 7 after.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_size: size of the convolution in voxels, one number per axis; the paper uses (1, 14, 14) in
            nnU-Net's axis order (z, y, x).

    Shape:
        (N, C, *spatial) → the same.

    Raises:
        ValueError: if ``kernel_size`` has not one number per axis.
    """

    def __init__(self, conv_op: type[nn.Module], kernel_size: Sequence[int]) -> None:
        super().__init__()
        n_axes = convert_conv_op_to_dim(conv_op)
        if len(kernel_size) != n_axes:
            raise ValueError(f"attention_kernel is {list(kernel_size)}, expected {n_axes} numbers, one per axis")
        self.conv = conv_op(2, 1, tuple(kernel_size), bias=False)
        # functional.pad lists the last axis first.
        self.padding = [side for k in reversed(kernel_size) for side in ((k - 1) // 2, k // 2)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and planes_are_images(x) and not torch.compiler.is_compiling():
            descriptor, x = _Describe.apply(x)
            weighed: torch.Tensor = _Weigh.apply(x, torch.sigmoid(self.score(descriptor)))
            return weighed
        return x * torch.sigmoid(self.score(_describe(x)))

    def score(self, descriptor: torch.Tensor) -> torch.Tensor:
        """Convolve mean and maximum, (N, 2, *spatial), with 'same' padding; large kernels within planes by phases."""
        weight = self.conv.get_parameter("weight")
        *through_plane, height, width = weight.shape[2:]
        if through_plane not in ([], [1]) or min(height, width) < LARGE:
            score: torch.Tensor = self.conv(functional.pad(descriptor, self.padding))
            return score
        before = (self.padding[2], self.padding[0])
        if descriptor.ndim == 4:
            return convolve_by_phases(descriptor, weight, before)
        planes = convolve_by_phases(fold_planes(descriptor), weight.squeeze(2), before)
        return unfold_planes(planes, descriptor.shape[0])

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that the convolution puts out for one sample of ``input_size`` voxels."""
        return int(np.prod(input_size))


def _describe(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)


class _Describe(torch.autograd.Function):
    """Mean and maximum over the channels, and x again, for :class:`_Weigh` alone.

    The gradient of both adds to that of the product, in its memory and plane by plane: torch's gradients of mean,
    maximum and product each take new memory, a pass over which takes several times as long as one over memory in use.
    Equal maxima share the gradient, as with torch.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        descriptor = _describe(x)
        ctx.save_for_backward(x, descriptor)
        return descriptor, x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_descriptor: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        x, descriptor = ctx.saved_tensors
        for of_plane, plane, (of_mean, of_maximum), (_, maximum) in zip(
            *map(fold_planes, (gradient, x, of_descriptor, descriptor)), strict=True
        ):
            is_maximum = (plane == maximum).to(x.dtype)
            of_plane.add_(of_mean, alpha=1 / x.shape[1])
            of_plane.addcmul_(is_maximum, of_maximum / is_maximum.sum(0))
        return gradient


class _Weigh(torch.autograd.Function):
    """The product of all channels and one factor per voxel; x is the second output of :class:`_Describe`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, factors)
        return x * factors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, factors = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        of_factors = torch.stack(
            [
                (of_plane * plane).sum(0, keepdim=True)
                for of_plane, plane in zip(fold_planes(gradient), fold_planes(x), strict=True)
            ]
        )
        # Stored like x, whatever the storage of the factors, for _Describe.
        of_x = torch.mul(gradient, factors, out=torch.empty_like(x))
        return of_x, unfold_planes(of_factors, x.shape[0])
