"""Attention U-Net (Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018,
arXiv:1804.03999), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages, feature_map_size, upsampling

__all__ = ["AttentionGate", "AttentionUNet"]


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
        weighed: torch.Tensor = attention(skip) if isinstance(attention, nn.Identity) else attention(skip, below)
        return weighed


class AttentionGate(nn.Module):
    """Weigh every voxel of a skip connection by what the coarser map says of it (figure 2, equations 1 and 2).

    With x the skip connection and g the gating signal, the coefficients are
    sigmoid(psi(relu(W_x(x) + W_g(g) + b_g)) + b_psi), computed on the grid of g and brought to the grid of x by
    (tri)linear interpolation; x times the coefficients comes out. W_g and psi are 1×1×1 convolutions. W_x brings x to
    the grid of g: the stride between the two grids is its stride and its kernel.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        channels: channels of x, and of the space in which x and g are added.
        gating_channels: channels of g.
        stride: how much coarser the grid of g is, one number per axis.
        gating: what makes g of the coarser map.

    Shape:
        x (N, ``channels``, *spatial), coarser map (N, ``gating_channels``, *(spatial / ``stride``)) → that of x.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        channels: int,
        gating_channels: int,
        stride: Sequence[int],
        gating: nn.Module,
    ) -> None:
        super().__init__()
        self.gating = gating
        self.stride = tuple(stride)
        self.w_x = conv_op(channels, channels, self.stride, stride=self.stride, bias=False)
        self.w_g = conv_op(gating_channels, channels, 1)
        self.psi = conv_op(channels, 1, 1)
        self.resample = upsampling(stride, "linear")

    def forward(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        return x * self.coefficients(x, below)

    def coefficients(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Return the factors of the voxels, (N, 1, *spatial), between 0 and 1."""
        added = torch.relu(self.w_x(x) + self.w_g(self.gating(below)))
        coefficients: torch.Tensor = self.resample(torch.sigmoid(self.psi(added)))
        return coefficients

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample, x being ``input_size`` voxels large."""
        coarse = [extent // step for extent, step in zip(input_size, self.stride, strict=True)]
        return sum(feature_map_size(module, coarse) for module in (self.gating, self.w_x, self.w_g, self.psi))
