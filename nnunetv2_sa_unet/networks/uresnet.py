"""uResNet (Guerrero et al., "White matter hyperintensity and stroke lesion segmentation and differentiation using
convolutional neural networks", NeuroImage: Clinical 17, 2018, arXiv:1706.00935)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nnunetv2_sa_unet.networks.unet import Blocks, Encoder, Steps, UNet, check_stages, up_convolution

__all__ = ["ResidualElement", "UResNet"]


class UResNet(UNet):
    """U-Net of residual elements, in which skip connections are added and not concatenated.

    Eight residual elements, three transposed convolutions and one convolution for the classes. The encoder has one
    element a stage, of 32, 64, 128 and 256 channels, and max-pooling by 2. Each step of the decoder upsamples by a
    transposed 3×3 convolution without norm, adds the skip connection and goes through an element; the deepest has
    another element before the sum, and the one after it halves the channels. With one channel and three outputs these
    are 1,080,963 parameters.

    The authors' code is not public; the order of the decoder's parts and their channels are those of a public
    reimplementation in torch (``uResNet_guerrero``).

    Deviations:

    - nnU-Net's patches, loss and optimiser. The paper trains on patches of 64×64 around lesions: nnU-Net's
      counterpart is ``oversample_foreground_percent`` in the training block.
    - As many outputs as there are labels: background, WMH and stroke as in the paper where the data have them.
    - nnU-Net's deep supervision, for which the paper has no counterpart, adds a 1×1 convolution at each step of the
      decoder.
    - With other than four stages, all steps but the deepest are alike.

    The arguments, shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`. Each entry of
    ``n_conv_per_stage`` and ``n_conv_per_stage_decoder`` counts residual elements (after the sum), each with one
    convolution and its shortcut.
    """

    keys_to_in_proj = ("encoder.stages.0.0.0.conv", "encoder.stages.0.0.0.shortcut")

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        n_conv_per_stage: Sequence[int],
        num_classes: int,
        n_conv_per_stage_decoder: Sequence[int],
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        deep_supervision: bool = False,
    ) -> None:
        check_stages(
            conv_op, n_stages, features_per_stage, kernel_sizes, strides, n_conv_per_stage, n_conv_per_stage_decoder
        )
        blocks = Blocks(
            conv_op, conv_bias, norm_op, norm_op_kwargs, dropout_op, dropout_op_kwargs, nonlin, nonlin_kwargs
        )

        encoder_stages = []
        channels = input_channels
        stages = zip(features_per_stage, n_conv_per_stage, kernel_sizes, strides, strict=True)
        for features, n_elements, kernel, stride in stages:
            encoder_stages.append(blocks.stage(stride, _elements(blocks, channels, [features] * n_elements, kernel)))
            channels = features

        super().__init__(
            Encoder(encoder_stages, strides),
            _decoder(
                blocks,
                features_per_stage,
                kernel_sizes,
                strides,
                n_conv_per_stage_decoder,
                num_classes,
                deep_supervision,
            ),
        )


class SummingSteps(Steps):
    """The steps of a decoder that adds the skip connections."""

    def merge(self, upsampled: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return upsampled + skip


class ResidualElement(nn.Module):
    """A convolution and a 1×1 convolution side by side, added; then dropout, norm and nonlinearity, if there are any.

    Args:
        blocks: what the convolutions of the network have in common.
        input_channels: of the map.
        output_channels: of the result.
        kernel_size: of the first convolution, one odd number per axis.

    Shape:
        (N, ``input_channels``, *spatial) → (N, ``output_channels``, *spatial).
    """

    def __init__(self, blocks: Blocks, input_channels: int, output_channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        padding = tuple(extent // 2 for extent in kernel_size)
        bias = blocks.conv_bias
        self.conv = blocks.conv_op(input_channels, output_channels, tuple(kernel_size), padding=padding, bias=bias)
        self.shortcut = blocks.conv_op(input_channels, output_channels, 1, bias=bias)
        after = []
        if blocks.dropout_op is not None:
            after.append(blocks.dropout_op(**(blocks.dropout_op_kwargs or {})))
        if blocks.norm_op is not None:
            after.append(blocks.norm_op(output_channels, **(blocks.norm_op_kwargs or {})))
        if blocks.nonlin is not None:
            after.append(blocks.nonlin(**(blocks.nonlin_kwargs or {})))
        self.after = nn.Sequential(*after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        element: torch.Tensor = self.after(self.conv(x) + self.shortcut(x))
        return element


def _elements(
    blocks: Blocks, input_channels: int, output_channels: Sequence[int], kernel_size: Sequence[int]
) -> nn.Sequential:
    inputs = [input_channels, *output_channels[:-1]]
    return nn.Sequential(
        *(ResidualElement(blocks, *channels, kernel_size) for channels in zip(inputs, output_channels, strict=True))
    )


def _decoder(
    blocks: Blocks,
    features_per_stage: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    n_elements_per_step: Sequence[int],
    num_classes: int,
    deep_supervision: bool,
) -> SummingSteps:
    upsamplings: list[nn.Module] = []
    stages: list[nn.Module] = []
    seg_layers: list[nn.Module] = []
    below = features_per_stage[-1]
    for stage in range(len(features_per_stage) - 2, -1, -1):
        features, kernel = features_per_stage[stage], kernel_sizes[stage]
        upsample = up_convolution(blocks.conv_op, below, features, kernel, strides[stage + 1])
        below = features
        if stage == len(features_per_stage) - 2:
            upsample = nn.Sequential(upsample, ResidualElement(blocks, features, features, kernel))
            below = features_per_stage[max(stage - 1, 0)]
        upsamplings.append(upsample)
        n_elements = n_elements_per_step[len(stages)]
        stages.append(_elements(blocks, features, [below] * n_elements, kernel))
        seg_layers.append(blocks.head(below, num_classes))
    return SummingSteps(upsamplings, [nn.Identity() for _ in stages], stages, seg_layers, deep_supervision)
