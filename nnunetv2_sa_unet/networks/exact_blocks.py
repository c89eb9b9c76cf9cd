"""The parts of a U-Net in the formulations of ``networks.exact``, with the parameters of the plain parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import nn
from torch.nn import functional

from nnunetv2_sa_unet.networks.exact import (
    PlaneConv3d,
    convolve,
    convolve_upsampled,
    fold_planes,
    planes_are_images,
    unfold_planes,
)
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder

__all__ = ["ExactBlocks", "ExactDecoder"]


class ConvStack(nn.Module):
    """Blocks in a row, under the name that nnU-Net's ``StackedConvBlocks`` gives them."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.convs = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        convolved: torch.Tensor = self.convs(x)
        return convolved


class ExactBlock(ConvDropoutNormReLU):  # type: ignore[misc]  # the library is untyped
    """Convolution, dropout, norm and nonlinearity, the last two in one where they are group norm and ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after_convolution(self.conv(x))

    def after_convolution(self, x: torch.Tensor) -> torch.Tensor:
        """Apply what follows the convolution to its output, which is overwritten where no gradient needs it."""
        _, *rest = self.all_modules
        match rest:
            case [GroupNorm() as norm, nn.ReLU()]:
                return norm.rectified(x)
        for module in rest:
            x = module(x)
        return x


class PlaneMaxPool3d(nn.MaxPool3d):
    """Max-pooling by (1, ``height``, ``width``), which joins no two planes: the 2d max-pooling of every plane."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__((1, height, width), (1, height, width))
        self.in_plane = (height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if planes_are_images(x):
            return unfold_planes(functional.max_pool2d(fold_planes(x), self.in_plane, self.in_plane), x.shape[0])
        pooled: torch.Tensor = super().forward(x)
        return pooled


class ExactBlocks(Blocks):
    """The blocks of :class:`~.unet.Blocks`, plane by plane where kernel and stride allow it."""

    def convs(self, input_channels: int, output_channels: Sequence[int], kernel_size: Sequence[int]) -> nn.Module:
        blocks = []
        for channels in output_channels:
            blocks.append(
                ExactBlock(
                    _plane_by_plane(self.conv_op),
                    input_channels,
                    channels,
                    list(kernel_size),
                    # Of a single number, the block asks the class for its axes, and knows torch's classes alone.
                    stride=[1] * len(kernel_size),
                    **self.block_arguments,
                )
            )
            input_channels = channels
        return ConvStack(blocks)

    def head(self, input_channels: int, num_classes: int) -> nn.Module:
        return _plane_by_plane(self.conv_op)(input_channels, num_classes, 1)

    def max_pool(self, stride: Sequence[int]) -> nn.Module:
        if len(stride) == 3 and stride[0] == 1:
            return PlaneMaxPool3d(*stride[1:])
        return super().max_pool(stride)


def _plane_by_plane(conv_op: type[nn.Module]) -> type[nn.Module]:
    return PlaneConv3d if conv_op is nn.Conv3d else conv_op


class ExactDecoder(Decoder):
    """The decoder without upsampled and concatenated maps.

    With the kernel of the first convolution split into the channels of the upsampled map and those of the skip
    connection, W * [up(x), skip] = W_up * up(x) + W_skip * skip. The first is a transposed convolution
    (:func:`~.exact.convolve_upsampled`).
    """

    def merge(self, stage: nn.Module, upsample: nn.Module, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        if not (isinstance(stage, ConvStack) and isinstance(upsample, nn.Upsample) and upsample.mode == "nearest"):
            return super().merge(stage, upsample, x, skip)
        first: Any
        first, *others = stage.convs
        conv = first.conv
        from_below, from_skip = conv.weight.split((x.shape[1], skip.shape[1]), 1)
        factors = [int(factor) for factor in upsample.scale_factor]  # type: ignore[union-attr]  # one number per axis
        padding = list(conv.padding)
        # The bias goes to the convolution that computes its gradient faster. The sum is made in place, and of images
        # where it can be: of volumes, which are views of them, autograd would copy the whole gradient.
        if conv.weight.shape[2] == factors[0] == 1 and planes_are_images(x) and planes_are_images(skip):
            planes = convolve(fold_planes(skip), from_skip.squeeze(2), conv.bias, padding[1:])
            planes += convolve_upsampled(fold_planes(x), from_below.squeeze(2), None, factors[1:])
            merged = unfold_planes(planes, x.shape[0])
        else:
            merged = convolve(skip, from_skip, conv.bias, padding)
            merged += convolve_upsampled(x, from_below, None, factors)
        convolved: torch.Tensor = first.after_convolution(merged)
        for block in others:
            convolved = block(convolved)
        return convolved
