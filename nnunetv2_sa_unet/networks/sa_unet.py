"""3D SA-UNet (Guo, Chen and Yi, "3D SA-UNet: 3D Spatial Attention UNet with 3D Atrous Spatial Pyramid Pooling for
White Matter Hyperintensities Segmentation"), for 2d and 3d.

What the paper fixes (kernels of 3×3×1, group norm, rates …) are arguments here; ``plans.topology`` chooses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages, upsampling

__all__ = ["SAUNet"]


class SAUNet(UNet):
    """U-Net with spatial attention on the skip connections and ASPP in the bottleneck (figure 3 of the paper).

    The paper's network has four stages of 24, 48, 96 and 192 channels; kernels (1, 3, 3), in the bottleneck
    (3, 3, 3); max-pooling and nearest upsampling by (1, 2, 2); GroupNorm(8, eps 1e-3), ReLU, biases in all
    convolutions but those of the attention and of four of the five ASPP branches and the projection;
    ``attention_kernel`` (1, 14, 14), ``rates`` 6, 12 and 16.

    Weights are drawn as He et al. (2015) propose for ReLU. The paper does not say how the authors did it.

    The modules say what is computed. Where nothing forbids it (:func:`~.fast.why_not_fast`), the same is computed from
    their parameters by faster formulations, equal up to rounding.

    Args:
        n_conv_per_stage: convolutions in each stage of the encoder; two or more in the bottleneck if it has ASPP,
            which follows the first of them.
        attention_kernel: kernel of the spatial attention, one number per axis; no attention if None.
        rates: dilation rates of the ASPP; no ASPP if None.

    The other arguments, the shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`.

    Raises:
        ValueError: if the bottleneck has no two convolutions for ASPP.
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
        attention_kernel: Sequence[int] | None = None,
        rates: Sequence[int] | None = None,
    ) -> None:
        check_stages(
            conv_op, n_stages, features_per_stage, kernel_sizes, strides, n_conv_per_stage, n_conv_per_stage_decoder
        )
        if rates is not None and n_conv_per_stage[-1] < 2:
            raise ValueError(
                f"n_conv_per_stage ends with {n_conv_per_stage[-1]}, but ASPP stands between two convolutions of the "
                "bottleneck: give it 2 or more, or set rates to None"
            )
        blocks = Blocks(
            conv_op, conv_bias, norm_op, norm_op_kwargs, dropout_op, dropout_op_kwargs, nonlin, nonlin_kwargs
        )

        encoder_stages = []
        channels = input_channels
        stages = zip(features_per_stage, n_conv_per_stage, kernel_sizes, strides, strict=True)
        for stage, (features, n_convs, kernel, stride) in enumerate(stages):
            if rates is not None and stage == n_stages - 1:
                modules = [
                    blocks.convs(channels, [features], kernel),
                    ASPP(conv_op, features, rates, norm_op, norm_op_kwargs, nonlin, nonlin_kwargs),
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
                upsamplings=[upsampling(stride) for stride in strides[:0:-1]],
                attentions=[
                    nn.Identity() if attention_kernel is None else SpatialAttention(conv_op, attention_kernel)
                    for _ in strides[1:]
                ],
            ),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        if fast.why_not_fast(self, x) is None:
            return fast.sa_unet(self, x)
        return super().forward(x)
