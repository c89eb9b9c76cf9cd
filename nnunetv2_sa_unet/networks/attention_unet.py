"""Attention U-Net (Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018,
arXiv:1804.03999), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nnunetv2_sa_unet.networks.attention_gate import AttentionGate
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages, upsampling

__all__ = ["AttentionUNet"]


class AttentionUNet(UNet):
    """U-Net whose skip connections pass through gates steered by the coarser scale (section 2 and figure 1).

    As in the paper: two 3×3×3 convolutions a stage, each followed by batch norm and ReLU; max-pooling; (tri)linear
    upsampling; additive attention gates on all skip connections but the finest; deep supervision. A gate is steered by
    the coarser map of the decoder; the deepest by the bottleneck after a 1×1×1 convolution with norm and nonlinearity,
    as in the authors' code (Attention-Gated-Networks). The authors use kernels of 3 and strides of 2 along all axes
    and 16, 32, 64, 128 and 256 channels.

    Deviations from the paper:

    - Kernels, strides, number of stages and channels are nnU-Net's to choose; two dimensions as well as three.
    - Deep supervision is nnU-Net's: logits and loss at each resolution. The authors' code upsamples the logits of
      all scales and merges them by a 1×1×1 convolution into one output.
    - W_x, which brings x to the grid of the gating signal, has a kernel as large as its stride, as in the authors'
      code. The text says 1×1×1; with a stride this would look at one voxel in eight.

    Where the paper is silent or differs from the authors' code:

    - The gate puts out x times its coefficients (figure 2). The code appends a 1×1×1 convolution with batch norm,
      then another with batch norm and ReLU.
    - One gate per skip connection (figure 1); a variant of the code has two.
    - x and g are added in as many channels as x has, as in the code.

    The arguments, shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`.
    """

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
        for features, n_convs, kernel, stride in stages:
            encoder_stages.append(blocks.stage(stride, blocks.convs(channels, [features] * n_convs, kernel)))
            channels = features

        attentions: list[nn.Module] = []
        for stage in range(n_stages - 2, 0, -1):
            below, stride = features_per_stage[stage + 1], strides[stage + 1]
            is_deepest = stage == n_stages - 2
            gating = blocks.convs(below, [below], [1] * len(stride)) if is_deepest else nn.Identity()
            attentions.append(AttentionGate(conv_op, features_per_stage[stage], below, stride, gating))
        attentions.append(nn.Identity())
        super().__init__(
            Encoder(encoder_stages, strides),
            GatedDecoder(
                blocks,
                features_per_stage,
                kernel_sizes,
                n_conv_per_stage_decoder,
                num_classes,
                deep_supervision,
                upsamplings=[upsampling(stride, "linear") for stride in strides[:0:-1]],
                attentions=attentions,
            ),
        )


class GatedDecoder(Decoder):
    """The decoder whose gates see the coarser map besides the skip connection."""

    def attend(self, attention: nn.Module, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        weighed: torch.Tensor = attention(skip, below) if isinstance(attention, AttentionGate) else skip
        return weighed
