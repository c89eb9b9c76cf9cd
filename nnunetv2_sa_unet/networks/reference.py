"""3D SA-UNet as the paper writes it, in torch's plain operations: what the faster formulation is measured against.

For tests and the benchmark only. Parameters and their names are those of :class:`~.sa_unet.SAUNet`, so that state
dicts interchange both ways.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.sa_unet import SAUNet
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder, UNet

__all__ = ["PlainASPP", "PlainSAUNet", "PlainSpatialAttention"]


class PlainSpatialAttention(SpatialAttention):
    """Equation 1 of the paper: one convolution of the padded mean and maximum."""

    def score(self, descriptor: torch.Tensor) -> torch.Tensor:
        score: torch.Tensor = self.conv(functional.pad(descriptor, self.padding))
        return score


class PlainASPP(ASPP):
    """Figure 2 of the paper: the pooled values spread over the map, all branches concatenated, all taps read."""

    conv_classes: ClassVar[dict[int, type[nn.Module]]] = {2: nn.Conv2d, 3: nn.Conv3d}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(x.mean(tuple(range(2, x.ndim)), keepdim=True)).expand_as(x)
        fused: torch.Tensor = self.project(torch.cat((pooled, *(conv(x) for conv in self.convs)), 1))
        return fused


class PlainSAUNet(SAUNet):
    """Figure 3 of the paper: nnU-Net's blocks, max-pooling, upsampled maps, and concatenation.

    Arguments, shapes and errors are those of :class:`~.sa_unet.SAUNet`.
    """

    blocks_class: ClassVar[type[Blocks]] = Blocks
    decoder_class: ClassVar[type[Decoder]] = Decoder
    attention_class: ClassVar[type[SpatialAttention]] = PlainSpatialAttention
    aspp_class: ClassVar[type[ASPP]] = PlainASPP

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        return UNet.forward(self, x)
