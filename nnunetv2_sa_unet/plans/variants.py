"""The table of variants: a network for each row, and a trainer of that name.

A row decides the switches alone: which parts the network has, its norm, and whether kernels and pooling stay in
plane. Everything that has a size (widths, depth, rates …) is a value and comes from the plans. The systems of other
papers are rows of another kind: their parts are fixed, and their sizes are the paper's unless an override gives others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["SA_UNET", "VARIANTS", "PublishedVariant", "SwitchedVariant", "Variant"]

SA_UNET = "nnunetv2_sa_unet.networks.sa_unet.SAUNet"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One network that a trainer's name picks.

    Attributes:
        trainer: the name of the trainer.
        summary: what the network is, in one line.
        network_class: dotted path of the network.
        n_axes: axes of the only configurations that it is for, 2 or 3; None for both.
    """

    trainer: str
    summary: str
    network_class: str
    n_axes: Literal[2, 3] | None = None


@dataclass(frozen=True, kw_only=True)
class SwitchedVariant(Variant):
    """A network of the family of 3D SA-UNet and its rivals, which takes its sizes from the plans.

    Attributes:
        attention: the paper's spatial attention on the skip connections.
        aspp: atrous spatial pyramid pooling in the bottleneck.
        norm: the norm after every convolution.
        in_plane: kernels (1, 3, 3) and pooling (1, 2, 2) outside the bottleneck; else (3, 3, 3) and (2, 2, 2).
    """

    network_class: str = SA_UNET
    attention: bool = False
    aspp: bool = False
    norm: Literal["group", "batch"]
    in_plane: bool


@dataclass(frozen=True, kw_only=True)
class PublishedVariant(Variant):
    """A system of another paper, with the sizes of that paper.

    Attributes:
        features: channels of each stage, finest first; as many stages as there are.
        first_kernel: edge of the kernels of the first stage; it is 3 in all others.
        n_convs: convolutions of each stage and of each step of the decoder.
        norm_eps: of the batch norm after every convolution.
        arguments: of the network's class, besides those that all have, or in their place.
        training: what of the paper's training the trainer takes over where the plans say nothing.
    """

    features: tuple[int, ...]
    first_kernel: int = 3
    n_convs: int = 2
    norm_eps: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


# The six networks of the paper's table 1, from the last row to the first, the rivals of its table 2, and the other
# systems that it names.
VARIANTS: dict[str, Variant] = {
    variant.trainer: variant
    for variant in (
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet",
            summary="3D SA-UNet: the paper's network",
            attention=True,
            aspp=True,
            norm="group",
            in_plane=True,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet_noASPP",
            summary="without ASPP (Backbone* with GN + 3D SAM)",
            attention=True,
            norm="group",
            in_plane=True,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet_noSAM",
            summary="without spatial attention (Backbone* with GN + 3D ASPP)",
            aspp=True,
            norm="group",
            in_plane=True,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet_backboneGN",
            summary="without both (Backbone* with GN)",
            norm="group",
            in_plane=True,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet_backboneBN",
            summary="the same with batch norm (Backbone with (3,3,1) & (2,2,1))",
            norm="batch",
            in_plane=True,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerSAUNet_backbone333BN",
            summary="the same with 3×3×3 kernels and 2×2×2 pooling (Backbone with (3,3,3) & (2,2,2))",
            norm="batch",
            in_plane=False,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerUNet3D",
            summary="3D U-Net (Çiçek et al. 2016)",
            network_class="nnunetv2_sa_unet.networks.unet3d.UNet3D",
            norm="batch",
            in_plane=False,
        ),
        SwitchedVariant(
            trainer="nnUNetTrainerAttentionUNet",
            summary="Attention U-Net (Oktay et al. 2018)",
            network_class="nnunetv2_sa_unet.networks.attention_unet.AttentionUNet",
            norm="batch",
            in_plane=False,
        ),
        PublishedVariant(
            trainer="nnUNetTrainerLi2018",
            summary="winner of the WMH challenge (Li et al. 2018); 2d",
            network_class="nnunetv2_sa_unet.networks.li2018.Li2018",
            n_axes=2,
            features=(64, 96, 128, 256, 512),
            first_kernel=5,
            norm_eps=1e-3,
            training={"loss": "dice"},
        ),
        PublishedVariant(
            trainer="nnUNetTrainerUResNet",
            summary="uResNet (Guerrero et al. 2018); 2d",
            network_class="nnunetv2_sa_unet.networks.uresnet.UResNet",
            n_axes=2,
            features=(32, 64, 128, 256),
            n_convs=1,
            norm_eps=1e-5,
        ),
        PublishedVariant(
            trainer="nnUNetTrainerTrUENet",
            summary="TrUE-Net (Sundaresan et al. 2021); 3d",
            network_class="nnunetv2_sa_unet.networks.truenet.TrUENet",
            n_axes=3,
            features=(64, 128, 256, 512),
            norm_eps=1e-5,
            arguments={"first_kernels": [[1, 3, 3], [5, 1, 5], [5, 5, 1]]},
        ),
        PublishedVariant(
            trainer="nnUNetTrainerSAUNet2D",
            summary="SA-UNet for retinal vessels (Guo et al. 2020); 2d",
            network_class="nnunetv2_sa_unet.networks.sa_unet_2d.SAUNet2D",
            n_axes=2,
            features=(16, 32, 64, 128),
            norm_eps=1e-3,
            arguments={
                "attention_kernel": [7, 7],
                "dropout_op": "nnunetv2_sa_unet.networks.dropblock.DropBlock",
                "dropout_op_kwargs": {"p": 0.1, "block_size": 7},
            },
        ),
    )
}
