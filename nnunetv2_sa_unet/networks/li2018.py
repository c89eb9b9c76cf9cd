"""The U-Net that won the WMH Segmentation Challenge of 2017 (Li et al., "Fully convolutional network ensembles for
white matter hyperintensities segmentation in MR images", NeuroImage 183, 2018; team sysu_media)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, Encoder, UNet, check_stages, upsampling

__all__ = ["Li2018"]


class Li2018(UNet):
    """U-Net with large kernels in the first stage of the encoder.

    As in the authors' code (wmh_ibbmTum): five stages of 64, 96, 128, 256 and 512 channels with two convolutions each,
    5×5 in the first stage and 3×3 in all others; ReLU; biases; max-pooling by 2; nearest upsampling; concatenation;
    two 3×3 convolutions back to the channels of the skip connection; a 1×1 convolution.

    Deviations from the authors' code:

    - **Batch norm** after every convolution (Keras' eps, 1e-3), where theirs has none: in their script it is written
      and commented out. They train with Adam and 2e-4, and start anew when the loss of an epoch stays above 0.99. With
      nnU-Net's learning rates, or those of ``quick``, the network without any norm does not train: after two batches
      its logits did not fit into the 16 bit in which nnU-Net adds them up, and the prediction stopped.
    - The second convolution of the fourth stage has a kernel of 4×4 there, and of 3×3 here, as all around it: with
      FLAIR and T1 and one output, and without the norm, 8,283,457 parameters instead of 8,742,209.
    - One output for every label and a softmax, nnU-Net's, instead of a sigmoid; weights drawn as He et al. (2015)
      propose for ReLU, nnU-Net's habit, instead of Glorot's, Keras'.
    - Inputs are divisible by 16. Theirs are 200×200, cropped or padded around the middle; their pooling drops the odd
      last row and their decoder crops.
    - nnU-Net's deep supervision, for which they have no counterpart, adds a 1×1 convolution at each step of the
      decoder.

    Sizes are arguments here, and nnU-Net's or an override's to choose as everywhere; the trainer gives those above.
    The arguments, shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`; the decoder's kernels
    are ``kernel_sizes`` of the second stage on.
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

        super().__init__(
            Encoder(encoder_stages, strides),
            Decoder(
                blocks,
                features_per_stage,
                [kernel_sizes[1], *kernel_sizes[1:]],
                n_conv_per_stage_decoder,
                num_classes,
                deep_supervision,
                upsamplings=[upsampling(stride) for stride in strides[:0:-1]],
                attentions=[nn.Identity() for _ in strides[1:]],
            ),
        )
