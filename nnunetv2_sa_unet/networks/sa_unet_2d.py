"""SA-UNet for retinal vessels, from which 3D SA-UNet comes (Guo et al., "SA-UNet: Spatial Attention U-Net for Retinal
Vessel Segmentation", ICPR 2020, arXiv:2004.03696)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages, up_convolutions

__all__ = ["SAUNet2D"]


class SAUNet2D(UNet):
    """U-Net with DropBlock after every convolution and one spatial attention, in the bottleneck (figure 3).

    As in the authors' code: four stages of 16, 32, 64 and 128 channels, one stage fewer than U-Net; each convolution
    is 3×3 with bias, followed by DropBlock (blocks of 7×7, a tenth dropped), batch norm (Keras' eps, 1e-3) and ReLU;
    max-pooling by 2; spatial attention with a kernel of 7×7 between the bottleneck's two convolutions and nowhere
    else; transposed 3×3 convolutions that halve the channels, without norm; concatenation; a 1×1 convolution. With
    three channels and one output these are 537,299 parameters, and with the batch norms' statistics the 538,707 that
    Keras counts.

    Deviations from the authors' code:

    - One output for every label and a softmax, nnU-Net's, instead of a sigmoid; nnU-Net's loss, not the binary
      cross-entropy; batch norm with torch's momentum of 0.1, 0.9 in Keras' terms, not 0.99.
    - A transposed convolution puts out one row and column too many. The first are cut here, the last in Keras; the
      network is the same mirrored.
    - The paper drops 18 % (DRIVE) and 13 % (CHASE_DB1); the tenth is the code's default.
    - nnU-Net's deep supervision, for which the paper has no counterpart, adds a 1×1 convolution at each step of the
      decoder.

    Args:
        attention_kernel: kernel of the spatial attention, one number per axis.

    The other arguments, the shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`.

    Raises:
        ValueError: if the bottleneck has no two convolutions for the attention to stand between.
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
        attention_kernel: Sequence[int],
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
        if n_conv_per_stage[-1] < 2:
            raise ValueError(
                f"n_conv_per_stage ends with {n_conv_per_stage[-1]}, but the attention stands between two convolutions "
                "of the bottleneck: give it 2 or more"
            )
        blocks = Blocks(
            conv_op, conv_bias, norm_op, norm_op_kwargs, dropout_op, dropout_op_kwargs, nonlin, nonlin_kwargs
        )

        encoder_stages = []
        channels = input_channels
        stages = zip(features_per_stage, n_conv_per_stage, kernel_sizes, strides, strict=True)
        for stage, (features, n_convs, kernel, stride) in enumerate(stages):
            if stage == n_stages - 1:
                modules = [
                    blocks.convs(channels, [features], kernel),
                    SpatialAttention(conv_op, attention_kernel),
                    blocks.convs(features, [features] * (n_convs - 1), kernel),
                ]
            else:
                modules = [blocks.convs(channels, [features] * n_convs, kernel)]
            encoder_stages.append(blocks.stage(stride, *modules))
            channels = features

        super().__init__(
            Encoder(encoder_stages, strides),
            Decoder(
                blocks,
                features_per_stage,
                kernel_sizes,
                n_conv_per_stage_decoder,
                num_classes,
                deep_supervision,
                upsamplings=up_convolutions(conv_op, features_per_stage, kernel_sizes, strides),
                attentions=[nn.Identity() for _ in strides[1:]],
                halving=True,
            ),
        )
