"""The augmentation ``sites``: nnU-Net's own, and what differs from one scanner to the next.

Bias field, contrast, slice thickness and gamma come before nnU-Net's flips, after everything else that nnU-Net
does to intensities. ``docs/explanation/augmentation.md`` shows each on a volume.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from nnunetv2_sa_unet.nnunet.augmentation import position_of_flips
from nnunetv2_sa_unet.nnunet.transforms import BiasFieldTransform, IntensityMapTransform, ThickSlicesTransform

__all__ = ["intensity_map", "sites_bias_field", "sites_gamma", "sites_training_transforms", "thick_slices"]

BIAS_FIELD_ATTENUATION = (0.2, 0.6)
MAP_PERCENTILES = (1, 99.5)
MAP_PIECES = 6
MAP_CONCENTRATION = 4
SLICE_FACTORS = (2, 3)
GAMMA = (0.5, 2.0)

P_BIAS_FIELD = 0.3
P_INTENSITY_MAP = 0.4
P_THICK_SLICES = 0.2
P_GAMMA = 0.2


def sites_training_transforms(nnunets: ComposeTransforms, spacing: Sequence[float]) -> ComposeTransforms:
    """Put what differs between sites into nnU-Net's training transforms.

    Args:
        nnunets: what ``nnUNetTrainer.get_training_transforms`` returns.
        spacing: voxel size in mm, (z, y, x) or (y, x).
    """
    position = position_of_flips(nnunets)
    transforms = [RandomTransform(sites_bias_field(spacing), P_BIAS_FIELD)]
    transforms.append(RandomTransform(intensity_map(), P_INTENSITY_MAP))
    if len(spacing) == 3:
        transforms.append(RandomTransform(thick_slices(), P_THICK_SLICES))
    transforms.append(RandomTransform(sites_gamma(), P_GAMMA))
    return ComposeTransforms([*nnunets.transforms[:position], *transforms, *nnunets.transforms[position:]])


def sites_bias_field(spacing: Sequence[float]) -> BasicTransform:
    """A smooth field that falls from 1 to between 0.8 and 0.4 at the farthest voxel of the patch."""
    return BiasFieldTransform(spacing, BIAS_FIELD_ATTENUATION)


def intensity_map() -> BasicTransform:
    """An increasing map of the intensities between the 1st and 99.5th percentile."""
    return IntensityMapTransform(MAP_PERCENTILES, MAP_PIECES, MAP_CONCENTRATION)


def thick_slices() -> BasicTransform:
    """Slices two or three times as thick."""
    return ThickSlicesTransform(SLICE_FACTORS)


def sites_gamma() -> BasicTransform:
    """Gamma from 0.5 to 2, half of the time below 1, that keeps mean and deviation."""
    return GammaTransform(
        gamma=BGContrast(GAMMA), p_invert_image=0, synchronize_channels=False, p_per_channel=1, p_retain_stats=1
    )
