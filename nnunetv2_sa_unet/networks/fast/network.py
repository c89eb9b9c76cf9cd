"""The whole network."""

from __future__ import annotations

from typing import Any

import torch

from nnunetv2_sa_unet.networks.fast.blocks import apply, convolve_merged
from nnunetv2_sa_unet.networks.fast.storage import channels_last
from nnunetv2_sa_unet.networks.fast.trial import kernels_work
from nnunetv2_sa_unet.networks.unet import UNet

__all__ = ["sa_unet"]


def sa_unet(network: UNet, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
    """Return what :class:`~nnunetv2_sa_unet.networks.sa_unet.SAUNet` makes of ``x``, for modules the door lets through.

    Maps lie in memory with the channels last where this is faster: on a CPU, and on a GPU on which the kernels work
    that normalise such maps. The logits have torch's usual storage, whatever that of ``x``.

    Args:
        network: read only.
        x: (N, C, *spatial).
    """
    encoder, decoder = network.encoder, network.decoder
    skips = []
    x = channels_last(x) if x.device.type == "cpu" or kernels_work(network, x) else x.contiguous()
    for stage in encoder.stages:
        x = apply(stage, x)
        skips.append(x)

    logits = []
    steps = zip(decoder.upsamplings, decoder.attentions, decoder.stages, skips[-2::-1], strict=True)
    for (upsample, attention, stage, skip), seg_layer in zip(steps, decoder.seg_layers, strict=True):
        x = convolve_merged(stage, upsampling_factors(upsample), x, apply(attention, skip))
        if decoder.deep_supervision:
            logits.append(apply(seg_layer, x).contiguous())
    return logits[::-1] if decoder.deep_supervision else apply(decoder.seg_layers[-1], x).contiguous()


def upsampling_factors(upsample: Any) -> tuple[int, ...]:
    """Return how often nearest upsampling repeats a voxel, one number per axis."""
    return tuple(map(int, upsample.scale_factor))
