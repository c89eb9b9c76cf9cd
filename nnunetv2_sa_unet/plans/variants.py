"""The table of variants: a network for each row, and a trainer of that name.

A row decides the switches alone: which parts the network has, its norm, and whether kernels and pooling stay in
plane. Everything that has a size (widths, depth, rates …) is a value and comes from the plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SA_UNET", "VARIANTS", "Variant"]

SA_UNET = "nnunetv2_sa_unet.networks.sa_unet.SAUNet"


@dataclass(frozen=True)
class Variant:
    """One network that a trainer's name picks.

    Attributes:
        trainer: the name of the trainer.
        summary: what the network is, in one line.
        attention: the paper's spatial attention on the skip connections.
        aspp: atrous spatial pyramid pooling in the bottleneck.
        norm: the norm after every convolution.
        in_plane: kernels (1, 3, 3) and pooling (1, 2, 2) outside the bottleneck; else (3, 3, 3) and (2, 2, 2).
        network_class: dotted path of the network.
    """

    trainer: str
    summary: str
    attention: bool
    aspp: bool
    norm: Literal["group", "batch"]
    in_plane: bool
    network_class: str = SA_UNET


# The six networks of the paper's table 1, from the last row to the first, and the rivals of its table 2.
VARIANTS: dict[str, Variant] = {
    variant.trainer: variant
    for variant in (
        Variant(
            "nnUNetTrainerSAUNet",
            "3D SA-UNet: the paper's network",
            attention=True,
            aspp=True,
            norm="group",
            in_plane=True,
        ),
        Variant(
            "nnUNetTrainerSAUNet_noASPP",
            "without ASPP (Backbone* with GN + 3D SAM)",
            attention=True,
            aspp=False,
            norm="group",
            in_plane=True,
        ),
        Variant(
            "nnUNetTrainerSAUNet_noSAM",
            "without spatial attention (Backbone* with GN + 3D ASPP)",
            attention=False,
            aspp=True,
            norm="group",
            in_plane=True,
        ),
        Variant(
            "nnUNetTrainerSAUNet_backboneGN",
            "without both (Backbone* with GN)",
            attention=False,
            aspp=False,
            norm="group",
            in_plane=True,
        ),
        Variant(
            "nnUNetTrainerSAUNet_backboneBN",
            "the same with batch norm (Backbone with (3,3,1) & (2,2,1))",
            attention=False,
            aspp=False,
            norm="batch",
            in_plane=True,
        ),
        Variant(
            "nnUNetTrainerSAUNet_backbone333BN",
            "the same with 3×3×3 kernels and 2×2×2 pooling (Backbone with (3,3,3) & (2,2,2))",
            attention=False,
            aspp=False,
            norm="batch",
            in_plane=False,
        ),
        Variant(
            "nnUNetTrainerUNet3D",
            "3D U-Net (Çiçek et al. 2016)",
            attention=False,
            aspp=False,
            norm="batch",
            in_plane=False,
            network_class="nnunetv2_sa_unet.networks.unet3d.UNet3D",
        ),
        Variant(
            "nnUNetTrainerAttentionUNet",
            "Attention U-Net (Oktay et al. 2018)",
            attention=False,
            aspp=False,
            norm="batch",
            in_plane=False,
            network_class="nnunetv2_sa_unet.networks.attention_unet.AttentionUNet",
        ),
    )
}
