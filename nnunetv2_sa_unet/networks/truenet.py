"""TrUE-Net (Sundaresan et al., "Triplanar ensemble U-Net model for white matter hyperintensities segmentation on MR
images", Medical Image Analysis 73, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from torch import nn

from nnunetv2_sa_unet.networks.unet import (
    Blocks,
    Decoder,
    Encoder,
    UNet,
    check_stages,
    steps_feature_map_size,
    up_convolutions,
)

__all__ = ["TrUENet"]

#: The axis, in nnU-Net's order (z, y, x), across which the network of a plane does not look: axial, coronal, sagittal.
_ACROSS = (0, 1, 2)
_MIXED_CHANNELS = 3


class TrUENet(UNet):
    """Three U-Nets side by side, one a plane, and the average of what they say.

    As in the authors' code (v-sundaresan/truenet): in each plane a 1×1 convolution to three channels; four stages of
    64, 128, 256 and 512 channels with two 3×3 convolutions each, in the first stage of the sagittal and the coronal
    network 5×5; each followed by batch norm and ReLU; max-pooling by 2; transposed 3×3 convolutions that halve the
    channels, without norm; concatenation; a 1×1 convolution. With two channels and two outputs these are
    8,563,211 parameters in the axial network and 8,631,819 in each of the others, as in theirs.

    **One network in nnU-Net's 3d patch.** Every axis of a plan's kernel and stride across which a plane does not look
    is 1 in its network: (1, 3, 3) is axial, (3, 1, 3) coronal, (3, 3, 1) sagittal. So each branch sees whole slices of
    its plane, as many as the patch has.

    **Trained together**, which makes one model of nnU-Net's: trained, continued, validated and predicted by one
    command. The authors train the three one after the other, each with its own loss, and average afterwards; here the
    loss is that of the average.

    **Logits are averaged**, not probabilities. Then nnU-Net's losses, which take logits, and its regions, whose
    probabilities are sigmoids and not softmaxes, work as with any network; and it is what nnU-Net does with tiles,
    mirrored copies and folds. For labels it is the geometric mean of the planes' probabilities, normalised, where the
    authors take the arithmetic mean.

    Other deviations from the authors' code:

    - Their loss is the cross-entropy of each voxel times its distances from the ventricles and from the grey matter,
      where there are maps of these (made with FSL of a T1), plus a Dice of the thresholded mask, which has no
      gradient. nnU-Net passes no further maps to its loss. So this is theirs without weights (their option
      ``nweighted``), for which nnU-Net's Dice + cross-entropy stands.
    - nnU-Net's patches, spacing and normalisation: they resize nothing, crop to the brain, and see T1 besides FLAIR.
    - nnU-Net's deep supervision, for which they have no counterpart. The planes' lower maps lie on different grids;
      each is averaged along the axis across which its plane does not look, down to the grid that all share.
    - Upsampled maps come before the skip connections in the concatenation, as everywhere in this package.

    Args:
        first_kernels: kernel of the first stage in the axial, coronal and sagittal network; 1 across the plane.

    The other arguments, the shapes and errors are those of :class:`~nnunetv2_sa_unet.networks.unet.UNet`, for each of
    the planes; ``kernel_sizes`` are those of the second stage on, and the decoder's.

    Raises:
        ValueError: if ``conv_op`` is not ``nn.Conv3d``: a slice has no three planes.
    """

    key_to_encoder = "encoder.planes"
    key_to_stem = "encoder.planes.0.stages.0"
    keys_to_in_proj = tuple(f"encoder.planes.{plane}.stages.0.0" for plane in _ACROSS)

    encoder: PlanesEncoder  # type: ignore[assignment]
    decoder: PlanesDecoder  # type: ignore[assignment]

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
        first_kernels: Sequence[Sequence[int]],
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
        if convert_conv_op_to_dim(conv_op) != len(_ACROSS):
            raise ValueError(f"conv_op is {conv_op.__name__}, expected Conv3d: a slice has no three planes")
        blocks = Blocks(
            conv_op, conv_bias, norm_op, norm_op_kwargs, dropout_op, dropout_op_kwargs, nonlin, nonlin_kwargs
        )
        encoders, decoders = [], []
        for across, first_kernel in zip(_ACROSS, first_kernels, strict=True):
            kernels, steps = _in_plane(kernel_sizes, across), _in_plane(strides, across)
            encoder_stages = []
            channels = _MIXED_CHANNELS
            stages = zip(features_per_stage, n_conv_per_stage, [list(first_kernel), *kernels[1:]], steps, strict=True)
            for stage, (features, n_convs, kernel, step) in enumerate(stages):
                mix = [conv_op(input_channels, channels, 1)] if stage == 0 else []
                convs = blocks.convs(channels, [features] * n_convs, kernel)
                encoder_stages.append(blocks.stage(step, *mix, convs))
                channels = features
            encoders.append(Encoder(encoder_stages, steps))
            decoders.append(
                Decoder(
                    blocks,
                    features_per_stage,
                    kernels,
                    n_conv_per_stage_decoder,
                    num_classes,
                    deep_supervision,
                    upsamplings=up_convolutions(conv_op, features_per_stage, kernels, steps),
                    attentions=[nn.Identity() for _ in steps[1:]],
                    halving=True,
                )
            )
        super().__init__(PlanesEncoder(encoders, strides), PlanesDecoder(decoders, strides))  # type: ignore[arg-type]

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample; see :class:`UNet`."""
        planes: Any = zip(self.encoder.planes, self.decoder.planes, strict=True)
        return sum(steps_feature_map_size(encoder, decoder, input_size) for encoder, decoder in planes)


class PlanesEncoder(nn.Module):
    """The encoders of the three planes, which see the same patch.

    Args:
        planes: axial, coronal, sagittal.
        strides: of the plan, along all axes: what divides a patch for all three.
    """

    def __init__(self, planes: Sequence[Encoder], strides: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.planes = nn.ModuleList(planes)
        self.strides = [list(stride) for stride in strides]

    def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """Return the outputs of every plane's stages, finest first."""
        return [encoder(x) for encoder in self.planes]


class PlanesDecoder(nn.Module):
    """The decoders of the three planes, whose logits are averaged.

    Args:
        planes: axial, coronal, sagittal.
        strides: of the plan, along all axes: they say on which grid the planes' logits meet under deep supervision.
    """

    def __init__(self, planes: Sequence[Decoder], strides: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.planes = nn.ModuleList(planes)
        # The stride of each stage against the patch.
        self._coarser = [
            [prod(axis) for axis in zip(*strides[: stage + 1], strict=True)] for stage in range(len(strides))
        ]

    @property
    def deep_supervision(self) -> bool:
        """Return the logits of all steps; nnU-Net switches this attribute at run time."""
        return bool(self.planes[0].deep_supervision)

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        decoder: Any
        for decoder in self.planes:
            decoder.deep_supervision = enabled

    def forward(self, skips: list[list[torch.Tensor]]) -> torch.Tensor | list[torch.Tensor]:
        """Return averaged logits: under deep supervision a list, finest first, else the finest alone."""
        planes = [decoder(own) for decoder, own in zip(self.planes, skips, strict=True)]
        if not self.deep_supervision:
            return _average(planes)
        return [
            _average([_shrunk(logits, across, coarser[across]) for across, logits in zip(_ACROSS, level, strict=True)])
            for coarser, *level in zip(self._coarser[:-1], *planes, strict=True)
        ]


def _average(planes: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(planes)).mean(0)


def _shrunk(logits: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Average every ``step`` voxels along an axis."""
    size = logits.shape
    grouped = logits.reshape(*size[: axis + 2], -1, step, *size[axis + 3 :])
    return grouped.mean(axis + 3)


def _in_plane(per_stage: Sequence[Sequence[int]], across: int) -> list[list[int]]:
    """Kernels or strides that are 1 along the axis across a plane."""
    return [[1 if axis == across else extent for axis, extent in enumerate(entry)] for entry in per_stage]
