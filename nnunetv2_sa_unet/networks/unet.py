"""What the U-Nets of this package share: encoder, decoder, and the contract with nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_conv_op_to_dim,
    get_matching_convtransp,
    get_matching_pool_op,
)
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

__all__ = [
    "Blocks", "Decoder", "Encoder", "Steps", "UNet", "check_stages", "feature_map_size", "steps_feature_map_size",
    "up_convolution", "upsampling",
]  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """What all convolutions of one network have in common, in 2d or 3d.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        conv_bias: whether the convolutions have a bias.
        norm_op: norm class, called with the number of channels; none if None.
        norm_op_kwargs: further arguments of ``norm_op``.
        dropout_op: dropout class; none if None.
        dropout_op_kwargs: its arguments.
        nonlin: class of the nonlinearity; none if None.
        nonlin_kwargs: its arguments.
    """

    conv_op: type[nn.Module]
    conv_bias: bool
    norm_op: type[nn.Module] | None
    norm_op_kwargs: dict[str, Any] | None
    dropout_op: type[nn.Module] | None
    dropout_op_kwargs: dict[str, Any] | None
    nonlin: type[nn.Module] | None
    nonlin_kwargs: dict[str, Any] | None

    @property
    def block_arguments(self) -> dict[str, Any]:
        """What nnU-Net's blocks are given besides channels, kernel and stride."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "conv_op"}

    def convs(self, input_channels: int, output_channels: Sequence[int], kernel_size: Sequence[int]) -> nn.Module:
        """Stack one block of convolution, norm and nonlinearity for each entry of ``output_channels``."""
        convs: nn.Module = StackedConvBlocks(
            len(output_channels),
            self.conv_op,
            input_channels,
            list(output_channels),
            list(kernel_size),
            initial_stride=1,
            **self.block_arguments,
        )
        return convs

    def stage(self, stride: Sequence[int], *modules: nn.Module) -> nn.Sequential:
        """Put a max-pooling by ``stride`` before the modules of a stage, unless the stride is one along all axes."""
        if all(step == 1 for step in stride):
            return nn.Sequential(*modules)
        return nn.Sequential(self.max_pool(stride), *modules)

    def head(self, input_channels: int, num_classes: int) -> nn.Module:
        """Make the logits of a voxel from its channels."""
        return self.conv_op(input_channels, num_classes, 1)

    def max_pool(self, stride: Sequence[int]) -> nn.Module:
        """Pool by ``stride`` without overlap."""
        max_pool: nn.Module = get_matching_pool_op(self.conv_op, pool_type="max")(tuple(stride), tuple(stride))
        return max_pool


def upsampling(stride: Sequence[int], mode: str = "nearest") -> nn.Upsample:
    """Undo a ``stride``; ``mode`` "linear" stands for bilinear or trilinear, as the number of axes demands."""
    if mode == "linear":
        mode = {2: "bilinear", 3: "trilinear"}[len(stride)]
    return nn.Upsample(scale_factor=tuple(map(float, stride)), mode=mode)


def up_convolution(
    conv_op: type[nn.Module],
    input_channels: int,
    output_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
) -> nn.Module:
    """Undo a ``stride`` by a transposed convolution with an odd kernel and a bias, to exactly the size before it."""
    padding = [extent // 2 for extent in kernel_size]
    # What the padding takes off at the end beyond the kernel's own margin.
    left_over = [step - extent + 2 * pad for extent, step, pad in zip(kernel_size, stride, padding, strict=True)]
    up_convolution: nn.Module = get_matching_convtransp(conv_op)(
        input_channels, output_channels, tuple(kernel_size), tuple(stride), tuple(padding), tuple(left_over)
    )
    return up_convolution


def up_convolutions(
    conv_op: type[nn.Module],
    features_per_stage: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
) -> list[nn.Module]:
    """One :func:`up_convolution` per step of a decoder, the deepest first, down to the channels of its skip.

    The arguments are those of the encoder's stages, finest first; a step has the kernel of the stage that it leads to.
    """
    steps = zip(
        features_per_stage[:0:-1], features_per_stage[-2::-1], kernel_sizes[-2::-1], strides[:0:-1], strict=True
    )
    return [up_convolution(conv_op, *step) for step in steps]


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


class Steps(nn.Module):
    """From the bottleneck back to full resolution, step by step, with a segmentation head at each resolution.

    Each step upsamples, merges the result with the skip connection, which its attention weighs, and convolves. All
    heads are always built, because nnU-Net loads checkpoints strictly and builds networks for inference without deep
    supervision. Built without deep supervision, the heads that get no gradient are frozen, or they would stop
    DistributedDataParallel.

    Args:
        upsamplings: one module per step, the deepest first.
        attentions: what weighs the skip connection of each step, likewise; ``nn.Identity`` for nothing.
        stages: what follows the merging, likewise.
        seg_layers: the heads, likewise.
        deep_supervision: return the logits of all steps; nnU-Net switches this attribute at run time.
    """

    def __init__(
        self,
        upsamplings: Sequence[nn.Module],
        attentions: Sequence[nn.Module],
        stages: Sequence[nn.Module],
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
        for upsample, attention, stage, seg_layer, skip in steps:
            x = stage(self.merge(upsample(x), self.attend(attention, skip, x)))
            if self.deep_supervision:
                logits.append(seg_layer(x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)

    def attend(self, attention: nn.Module, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Weigh a skip connection; ``below`` is the coarser map that the step starts from."""
        weighed: torch.Tensor = attention(skip)
        return weighed

    def merge(self, upsampled: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Join what was upsampled and the skip connection: one after the other along the channels."""
        return torch.cat((upsampled, skip), 1)


class Decoder(Steps):
    """The usual steps: concatenation of [upsampled, skip], then convolutions down to the channels of the skip.

    Args:
        blocks: what the convolutions have in common.
        features_per_stage: channels of the encoder's stages, finest first; each step ends with those of its skip.
        kernel_sizes: kernel of each stage, finest first.
        n_conv_per_stage: convolutions of each step, the deepest first.
        num_classes: number of output channels.
        deep_supervision: see :class:`Steps`.
        upsamplings: one module per step, the deepest first, which keeps the number of channels.
        attentions: see :class:`Steps`.
        halving: the upsamplings bring the channels down to those of the skip connection.
    """

    def __init__(
        self,
        blocks: Blocks,
        features_per_stage: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        n_conv_per_stage: Sequence[int],
        num_classes: int,
        deep_supervision: bool,
        upsamplings: Sequence[nn.Module],
        attentions: Sequence[nn.Module],
        halving: bool = False,
    ) -> None:
        stages, seg_layers = [], []
        below = features_per_stage[-1]
        for features, kernel, n_convs in zip(
            features_per_stage[-2::-1], kernel_sizes[-2::-1], n_conv_per_stage, strict=True
        ):
            upsampled = features if halving else below
            stages.append(blocks.convs(upsampled + features, [features] * n_convs, kernel))
            below = features
            seg_layers.append(blocks.head(features, num_classes))
        super().__init__(upsamplings, attentions, stages, seg_layers, deep_supervision)


class UNet(nn.Module):
    """Encoder and decoder, with all that nnU-Net asks of a network.

    Subclasses build the two parts. Their arguments carry the names of nnU-Net's own networks
    (dynamic-network-architectures), so nnU-Net builds them from the plans without any code of ours:

    Args:
        input_channels: number of image channels.
        n_stages: number of resolutions.
        features_per_stage: channels at the end of each stage, finest first.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: kernel of each stage, one number per axis.
        strides: stride of each stage relative to the one before, one number per axis; the first is all ones.
        n_conv_per_stage: convolutions in each stage of the encoder.
        num_classes: number of output channels.
        n_conv_per_stage_decoder: convolutions in each stage of the decoder, deepest first as in nnU-Net's networks.
        conv_bias: biases in encoder and decoder.
        norm_op: norm class, called with the number of channels; none if None.
        norm_op_kwargs: further arguments of ``norm_op``.
        dropout_op: dropout class; none if None.
        dropout_op_kwargs: its arguments.
        nonlin: class of the nonlinearity; none if None.
        nonlin_kwargs: its arguments.
        deep_supervision: put out logits at every resolution of the decoder.

    Shape:
        (N, ``input_channels``, *spatial), each axis divisible by the product of its strides →
        (N, ``num_classes``, *spatial), or under deep supervision a list of such, finest first, each but the first
        at the resolution of its stage.

    Raises:
        ValueError: if a list has not one entry per stage (``n_conv_per_stage_decoder``: one fewer), or a kernel or
            stride not one number per axis.
    """

    # Where nnU-Net and dynamic-network-architectures look for the parts of pretrained weights.
    key_to_encoder = "encoder.stages"
    key_to_stem = "encoder.stages.0"
    keys_to_in_proj: tuple[str, ...] = ("encoder.stages.0.0.convs.0.all_modules.0", "encoder.stages.0.0.convs.0.conv")

    def __init__(self, encoder: Encoder, decoder: Steps) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        logits: torch.Tensor | list[torch.Tensor] = self.decoder(self.encoder(x))
        return logits

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Draw the weights of a convolution for ReLU (He et al. 2015); nnU-Net applies this to every module."""
        InitWeights_He(neg_slope=0)(module)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample, as nnU-Net's planner asks for.

        Args:
            input_size: voxels along each axis, without batch and channels.
        """
        return steps_feature_map_size(self.encoder, self.decoder, input_size)


def steps_feature_map_size(encoder: Encoder, decoder: Steps, input_size: Sequence[int]) -> int:
    """Sum the feature maps of the convolutions of an encoder and its decoder for one sample."""
    size = 0
    maps = []
    for stage, stride in zip(encoder.stages, encoder.strides, strict=True):
        input_size = [extent // step for extent, step in zip(input_size, stride, strict=True)]
        maps.append(input_size)
        size += feature_map_size(stage, input_size)
    for step, input_size in enumerate(maps[-2::-1]):
        for module in (decoder.upsamplings[step], decoder.attentions[step], decoder.stages[step]):
            size += feature_map_size(module, input_size)
        if decoder.deep_supervision or step == len(maps) - 2:
            size += feature_map_size(decoder.seg_layers[step], input_size)
    return size


def feature_map_size(module: nn.Module, size: Sequence[int]) -> int:
    """Sum the feature maps of the convolutions in ``module``, which works at the resolution ``size``."""
    compute = getattr(module, "compute_conv_feature_map_size", None)
    if compute is not None:
        return int(compute(size))
    if isinstance(module, (nn.Conv2d, nn.Conv3d, _ConvTransposeNd)):
        return int(module.out_channels * np.prod(size))
    return sum(feature_map_size(child, size) for child in module.children())


def check_stages(
    conv_op: type[nn.Module],
    n_stages: int,
    features_per_stage: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    n_conv_per_stage: Sequence[int],
    n_conv_per_stage_decoder: Sequence[int],
) -> None:
    """Raise ValueError if a list has not one entry per stage, or one of its entries not one number per axis."""
    lists: dict[str, tuple[Sequence[Any], int]] = {
        "features_per_stage": (features_per_stage, n_stages),
        "kernel_sizes": (kernel_sizes, n_stages),
        "strides": (strides, n_stages),
        "n_conv_per_stage": (n_conv_per_stage, n_stages),
        "n_conv_per_stage_decoder": (n_conv_per_stage_decoder, n_stages - 1),
    }
    for name, (entries, expected) in lists.items():
        if len(entries) != expected:
            raise ValueError(f"{name} has {len(entries)} entries, expected {expected} for {n_stages} stages")
    n_axes = convert_conv_op_to_dim(conv_op)
    for name, per_axis in (("kernel_sizes", kernel_sizes), ("strides", strides)):
        for stage, entry in enumerate(per_axis):
            if len(entry) != n_axes:
                raise ValueError(f"{name}[{stage}] is {list(entry)}, expected {n_axes} numbers, one per axis")
