"""3D U-Net (Çiçek et al., "3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation", MICCAI 2016),
for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynamic_network_architectures.building_blocks.helper import get_matching_convtransp
from torch import nn

from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages

__all__ = ["UNet3D"]


class UNet3D(UNet):
    """U-Net that doubles its channels before each pooling and learns its upsampling (section 2 and figure 2).

    As in the paper: each stage of the encoder has two 3×3×3 convolutions, of which the second doubles the channels
    (against bottlenecks, after Szegedy et al.); max-pooling; up-convolutions that keep the number of channels of
    their input, without norm and ReLU; concatenation; two 3×3×3 convolutions with the channels of the skip
    connection; a 1×1×1 convolution for the classes. Every convolution but the last is followed by batch norm and
    ReLU. The paper's network has stages of 64, 128, 256 and 512 channels (the first convolution of all puts out 32),
    kernels of 3 and strides of 2 along all axes. Its 19,069,955 parameters are those of this class, less the
    scales and shifts of the batch norms, if the up-convolutions have no bias: so they have none.

    Deviations from the paper:

    - Convolutions are padded, so the logits are as large as the input. The paper's are valid, its skip connections
      cropped, and its output smaller (132×132×116 → 44×44×28 voxels). nnU-Net needs equal sizes.
    - Kernels, strides, number of stages and channels are nnU-Net's to choose. Where two stages have the same number
      of channels (nnU-Net caps them), the second stage keeps it throughout; nothing is halved.
    - Two dimensions as well as three; nnU-Net's deep supervision, for which the paper has no counterpart, adds a
      1×1×1 convolution at each step of the decoder.
    - Loss, augmentation and optimiser are those of the trainer, not the weighted softmax loss for sparse labels; batch
      statistics are tracked and used at inference (torch's and nnU-Net's habit), while the paper takes those of
      the test batch.

    The arguments, shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`; the last convolution
    of a stage in the encoder reaches ``features_per_stage``, and the first stage starts with half of it.
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
        channels, kept = input_channels, features_per_stage[0] // 2
        stages = zip(features_per_stage, n_conv_per_stage, kernel_sizes, strides, strict=True)
        for features, n_convs, kernel, stride in stages:
            widths = [kept] * (n_convs - 1) + [features]
            encoder_stages.append(blocks.stage(stride, blocks.convs(channels, widths, kernel)))
            channels = kept = features

        up_conv = get_matching_convtransp(conv_op)
        below = zip(features_per_stage[:0:-1], map(tuple, strides[:0:-1]), strict=True)
        super().__init__(
            Encoder(encoder_stages, strides),
            Decoder(
                blocks,
                features_per_stage,
                kernel_sizes,
                n_conv_per_stage_decoder,
                num_classes,
                deep_supervision,
                upsamplings=[up_conv(features, features, stride, stride, bias=False) for features, stride in below],
                attentions=[nn.Identity() for _ in strides[1:]],
            ),
        )
