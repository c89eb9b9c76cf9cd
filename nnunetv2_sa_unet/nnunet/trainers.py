"""The trainers: one for each row of the table of variants."""

from __future__ import annotations

from nnunetv2_sa_unet.nnunet.variant_trainer import VariantTrainer
from nnunetv2_sa_unet.plans.variants import VARIANTS

__all__ = [
    "nnUNetTrainerAttentionUNet",
    "nnUNetTrainerLi2018",
    "nnUNetTrainerSAUNet",
    "nnUNetTrainerSAUNet2D",
    "nnUNetTrainerSAUNet_backbone333BN",
    "nnUNetTrainerSAUNet_backboneBN",
    "nnUNetTrainerSAUNet_backboneGN",
    "nnUNetTrainerSAUNet_noASPP",
    "nnUNetTrainerSAUNet_noSAM",
    "nnUNetTrainerTrUENet",
    "nnUNetTrainerUNet3D",
    "nnUNetTrainerUResNet",
]


class nnUNetTrainerSAUNet(VariantTrainer):
    """3D SA-UNet, the paper's network."""

    variant = VARIANTS["nnUNetTrainerSAUNet"]


class nnUNetTrainerSAUNet_noASPP(VariantTrainer):
    """3D SA-UNet without ASPP."""

    variant = VARIANTS["nnUNetTrainerSAUNet_noASPP"]


class nnUNetTrainerSAUNet_noSAM(VariantTrainer):
    """3D SA-UNet without spatial attention."""

    variant = VARIANTS["nnUNetTrainerSAUNet_noSAM"]


class nnUNetTrainerSAUNet_backboneGN(VariantTrainer):
    """3D SA-UNet without ASPP and spatial attention."""

    variant = VARIANTS["nnUNetTrainerSAUNet_backboneGN"]


class nnUNetTrainerSAUNet_backboneBN(VariantTrainer):
    """3D SA-UNet without ASPP and spatial attention, with batch norm."""

    variant = VARIANTS["nnUNetTrainerSAUNet_backboneBN"]


class nnUNetTrainerSAUNet_backbone333BN(VariantTrainer):
    """The same with 3×3×3 kernels and 2×2×2 pooling."""

    variant = VARIANTS["nnUNetTrainerSAUNet_backbone333BN"]


class nnUNetTrainerUNet3D(VariantTrainer):
    """3D U-Net (Çiçek et al. 2016)."""

    variant = VARIANTS["nnUNetTrainerUNet3D"]


class nnUNetTrainerAttentionUNet(VariantTrainer):
    """Attention U-Net (Oktay et al. 2018)."""

    variant = VARIANTS["nnUNetTrainerAttentionUNet"]


class nnUNetTrainerLi2018(VariantTrainer):
    """The winner of the WMH Segmentation Challenge of 2017 (Li et al. 2018), for 2d configurations."""

    variant = VARIANTS["nnUNetTrainerLi2018"]


class nnUNetTrainerUResNet(VariantTrainer):
    """uResNet (Guerrero et al. 2018), for 2d configurations."""

    variant = VARIANTS["nnUNetTrainerUResNet"]


class nnUNetTrainerTrUENet(VariantTrainer):
    """TrUE-Net (Sundaresan et al. 2021), for 3d configurations."""

    variant = VARIANTS["nnUNetTrainerTrUENet"]


class nnUNetTrainerSAUNet2D(VariantTrainer):
    """SA-UNet for retinal vessels (Guo et al. 2020), for 2d configurations."""

    variant = VARIANTS["nnUNetTrainerSAUNet2D"]
