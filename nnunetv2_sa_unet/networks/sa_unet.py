"""3D SA-UNet (Guo, Chen and Yi, "3D SA-UNet: 3D Spatial Attention UNet with 3D Atrous Spatial Pyramid Pooling for
White Matter Hyperintensities Segmentation"), for 2d and 3d.

The names and arguments are those of nnU-Net's own networks (dynamic-network-architectures), so nnU-Net builds this
network from the plans without any code of ours. What the paper fixes (kernels of 3×3×1, group norm, rates …) are
arguments here; ``plans.topology`` chooses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_pool_op
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention

__all__ = ["Decoder", "Encoder", "SAUNet"]


class Encoder(nn.Module):
    """Stages in a row, from the finest to the bottleneck.

    Args:
        stages: one module per resolution, each of which first lowers the resolution by its stride.
        strides: the stride of each stage, one number per axis.
    """

    def __init__(self, stages: Sequence[nn.Sequential], strides: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.strides = [list(stride) for stride in strides]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the output of every stage, finest first."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """From the bottleneck back to full resolution, with a segmentation head at each resolution.

    Each step upsamples (nearest neighbour), concatenates [upsampled, skip], the skip weighed by its attention,
    and convolves. All heads are always built, because nnU-Net loads checkpoints strictly and builds networks for
    inference without deep supervision. Built without deep supervision, the heads that get no gradient are frozen,
    or they would stop DistributedDataParallel.

    Args:
        upsamplings: one module per step, the deepest first; so are the following.
        attentions: what weighs the skip connection of each step.
        stages: the convolutions of each step.
        seg_layers: the head of each step.
        deep_supervision: return the logits of all steps; nnU-Net switches this attribute at run time.
    """

    def __init__(
        self,
        upsamplings: Sequence[nn.Module],
        attentions: Sequence[nn.Module],
        stages: Sequence[StackedConvBlocks],
        seg_layers: Sequence[nn.Module],
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.upsamplings = nn.ModuleList(upsamplings)
        self.attentions = nn.ModuleList(attentions)
        self.stages = nn.ModuleList(stages)
        self.seg_layers = nn.ModuleList(seg_layers)
        if not deep_supervision:
            self.seg_layers[:-1].requires_grad_(False)

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits: under deep supervision a list, finest first, else the finest alone.

        Args:
            skips: the encoder's outputs, finest first.
        """
        x = skips[-1]
        logits = []
        steps = zip(self.upsamplings, self.attentions, self.stages, self.seg_layers, skips[-2::-1], strict=True)
        for upsampling, attention, stage, seg_layer, skip in steps:
            x = stage(torch.cat((upsampling(x), attention(skip)), 1))
            if self.deep_supervision:
                logits.append(seg_layer(x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)


class SAUNet(nn.Module):
    """U-Net with spatial attention on the skip connections and ASPP in the bottleneck (figure 3 of the paper).

    The paper's network has four stages of 24, 48, 96 and 192 channels; kernels (1, 3, 3), in the bottleneck
    (3, 3, 3); max-pooling and nearest upsampling by (1, 2, 2); GroupNorm(8, eps 1e-3), ReLU, biases in all
    convolutions but those of the attention and of four of the five ASPP branches and the projection;
    ``attention_kernel`` (1, 14, 14), ``rates`` 6, 12 and 16.

    Weights are drawn as He et al. (2015) propose for ReLU. The paper does not say how the authors did it.

    Args:
        input_channels: number of image channels.
        n_stages: number of resolutions.
        features_per_stage: channels of each stage, finest first.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: kernel of each stage, one number per axis.
        strides: stride of each stage relative to the one before, one number per axis; the first is all ones.
        n_conv_per_stage: convolutions in each stage of the encoder; two or more in the bottleneck if it has ASPP,
            which follows the first of them.
        num_classes: number of output channels.
        n_conv_per_stage_decoder: convolutions in each stage of the decoder, finest first.
        conv_bias: biases in encoder and decoder.
        norm_op: norm class, called with the number of channels; none if None.
        norm_op_kwargs: further arguments of ``norm_op``.
        dropout_op: dropout class; none if None.
        dropout_op_kwargs: its arguments.
        nonlin: class of the nonlinearity; none if None.
        nonlin_kwargs: its arguments.
        deep_supervision: put out logits at every resolution of the decoder.
        attention_kernel: kernel of the spatial attention, one number per axis; no attention if None.
        rates: dilation rates of the ASPP; no ASPP if None.

    Shape:
        (N, ``input_channels``, *spatial), each axis divisible by the product of its strides →
        (N, ``num_classes``, *spatial), or under deep supervision a list of such, finest first.

    Raises:
        ValueError: if a list has not one entry per stage, or the bottleneck has no two convolutions for ASPP.
    """

    # Where nnU-Net and dynamic-network-architectures look for the parts of pretrained weights.
    key_to_encoder = "encoder.stages"
    key_to_stem = "encoder.stages.0"
    keys_to_in_proj = ("encoder.stages.0.0.convs.0.all_modules.0", "encoder.stages.0.0.convs.0.conv")

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
        attention_kernel: Sequence[int] | None = None,
        rates: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        _check_lengths(
            n_stages,
            features_per_stage=features_per_stage,
            kernel_sizes=kernel_sizes,
            strides=strides,
            n_conv_per_stage=n_conv_per_stage,
        )
        _check_lengths(n_stages - 1, n_conv_per_stage_decoder=n_conv_per_stage_decoder)
        if rates is not None and n_conv_per_stage[-1] < 2:
            raise ValueError(
                f"n_conv_per_stage ends with {n_conv_per_stage[-1]}, but ASPP stands between two convolutions of the "
                "bottleneck: give it 2 or more, or set rates to None"
            )

        norm_and_nonlin: dict[str, Any] = {
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
        }
        convs = partial(
            StackedConvBlocks,
            conv_op=conv_op,
            initial_stride=1,
            conv_bias=conv_bias,
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs,
            **norm_and_nonlin,
        )
        max_pool = get_matching_pool_op(conv_op, pool_type="max")

        encoder_stages = []
        channels = input_channels
        for stage in range(n_stages):
            n_convs, features, kernel = (
                n_conv_per_stage[stage],
                features_per_stage[stage],
                kernel_sizes[stage],
            )
            modules = []
            if any(step != 1 for step in strides[stage]):
                modules.append(max_pool(kernel_size=tuple(strides[stage]), stride=tuple(strides[stage])))
            if rates is not None and stage == n_stages - 1:
                modules.append(
                    convs(num_convs=1, input_channels=channels, output_channels=features, kernel_size=kernel)
                )
                modules.append(ASPP(conv_op, features, rates, **norm_and_nonlin))
                channels, n_convs = features, n_convs - 1
            modules.append(
                convs(num_convs=n_convs, input_channels=channels, output_channels=features, kernel_size=kernel)
            )
            encoder_stages.append(nn.Sequential(*modules))
            channels = features
        self.encoder = Encoder(encoder_stages, strides)

        steps = range(n_stages - 2, -1, -1)
        self.decoder = Decoder(
            upsamplings=[nn.Upsample(scale_factor=tuple(map(float, strides[s + 1]))) for s in steps],
            attentions=[
                nn.Identity() if attention_kernel is None else SpatialAttention(conv_op, attention_kernel)
                for _ in steps
            ],
            stages=[
                convs(
                    num_convs=n_conv_per_stage_decoder[s],
                    input_channels=features_per_stage[s + 1] + features_per_stage[s],
                    output_channels=features_per_stage[s],
                    kernel_size=kernel_sizes[s],
                )
                for s in steps
            ],
            seg_layers=[conv_op(features_per_stage[s], num_classes, 1, bias=True) for s in steps],
            deep_supervision=deep_supervision,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        logits: torch.Tensor | list[torch.Tensor] = self.decoder(self.encoder(x))
        return logits

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Draw the weights of a convolution for ReLU; nnU-Net applies this to every module."""
        InitWeights_He(neg_slope=0)(module)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample, as nnU-Net's planner asks for.

        Args:
            input_size: voxels along each axis, without batch and channels.
        """
        size = 0
        maps = []
        for stage, stride in zip(self.encoder.stages, self.encoder.strides, strict=True):
            input_size = [extent // step for extent, step in zip(input_size, stride, strict=True)]
            maps.append(input_size)
            size += _feature_map_size(stage, input_size)
        for step, input_size in enumerate(maps[-2::-1]):
            size += _feature_map_size(self.decoder.stages[step], input_size)
            size += _feature_map_size(self.decoder.attentions[step], input_size)
            if self.decoder.deep_supervision or step == len(maps) - 2:
                size += self.num_classes * int(np.prod(input_size))
        return size


def _feature_map_size(module: nn.Module, input_size: Sequence[int]) -> int:
    """Sum the feature maps of the blocks in ``module``, all of which work at the resolution ``input_size``."""
    compute = getattr(module, "compute_conv_feature_map_size", None)
    if compute is not None:
        return int(compute(input_size))
    return sum(_feature_map_size(child, input_size) for child in module.children())


def _check_lengths(expected: int, **lists: Sequence[Any]) -> None:
    for name, entries in lists.items():
        if len(entries) != expected:
            raise ValueError(f"{name} has {len(entries)} entries, expected {expected}")
