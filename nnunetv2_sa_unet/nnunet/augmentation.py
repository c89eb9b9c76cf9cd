"""The augmentation that the paper names, as batchgeneratorsv2 transforms in nnU-Net's pipeline.

Section 3.1 of the paper: rotation, random flipping, random transposition, channel shift, bias field, elastic
deformation and motion ghosting. The paper gives no ranges; those below are the released script's where it has
usable ones. ``docs/explanation/augmentation.md`` compares the three and shows each on a volume.

Order of the pipeline, as in nnU-Net's own: the resampling (rotation and elastic deformation in one
interpolation), the intensities, flips, then everything that nnU-Net does after its flips. Transposition
stands with the flips. Ghosts hence follow the anatomy when flips and transposition move it: they always lie
along the y axis in which the image was stored.

Axes are nnU-Net's (z, y, x), or (y, x) in 2d; z is the through-plane axis. Rotation, elastic deformation and
transposition stay in plane for every data set, because the paper's images are stacks of thick slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.nnunet.transforms import BiasFieldTransform, MotionGhostingTransform

__all__ = [
    "bias_field",
    "channel_shift",
    "in_plane_deformation",
    "motion_ghosting",
    "paper_initial_patch_size",
    "paper_mirror_axes",
    "paper_training_transforms",
    "position_of_flips",
    "transposition_obstacle",
]

MAX_ROTATION = math.radians(15)
# Largest displacement along each in-plane axis, and standard deviation of the Gaussian that smooths it. With
# them the field never folds: its steepest slope stays below 1.
ELASTIC_PEAK_MM = (2.0, 4.0)
ELASTIC_SMOOTHNESS_MM = (10.0, 20.0)
# In units of the intensity, which nnU-Net's z-score makes standard deviations of the image.
CHANNEL_SHIFT_SIGMA = 0.3
BIAS_FIELD_ATTENUATION = (0.3, 0.6)
GHOSTING_INTERVALS = (2, 3)
GHOSTING_SCALE = (0.5, 0.7)

P_ROTATION = 0.3
P_ELASTIC = 0.3
P_CHANNEL_SHIFT = 0.3
P_BIAS_FIELD = 0.3
P_GHOSTING = 0.2

# In-plane spacings that differ by no more than this count as equal.
SPACING_TOLERANCE = 0.05


def paper_training_transforms(
    patch_size: Sequence[int],
    spacing: Sequence[float],
    mirror_axes: Sequence[int],
    deep_supervision_scales: Sequence[Any] | None,
    use_mask_for_norm: Sequence[bool] | None = None,
    is_cascaded: bool = False,
    foreground_labels: Sequence[int] | None = None,
    regions: Sequence[Any] | None = None,
    ignore_label: int | None = None,
) -> ComposeTransforms:
    """The paper's augmentation followed by what nnU-Net does after its own.

    Takes a dict with ``image``, float of shape (c, *paper_initial_patch_size(patch_size, spacing)), and
    ``segmentation``, int16 of the same spatial shape. Returns both cut to ``patch_size``, the segmentation in
    the form in which nnU-Net's loss takes it.

    Args:
        patch_size: voxels along each axis, two or three values.
        spacing: voxel size in mm along the same axes.
        mirror_axes: axes to flip, each with p = 0.5.
        deep_supervision_scales, use_mask_for_norm, is_cascaded, foreground_labels, regions, ignore_label: as
            in ``nnUNetTrainer.get_training_transforms``.
    """
    patch_size = tuple(int(edge) for edge in patch_size)
    spacing = tuple(float(edge) for edge in spacing)
    transforms = [
        *in_plane_deformation(patch_size, spacing, P_ROTATION, P_ELASTIC),
        RandomTransform(channel_shift(), P_CHANNEL_SHIFT),
        RandomTransform(bias_field(spacing), P_BIAS_FIELD),
        RandomTransform(motion_ghosting(), P_GHOSTING),
    ]
    if mirror_axes:
        transforms.append(MirrorTransform(tuple(mirror_axes)))
    if transposition_obstacle(patch_size, spacing) is None:
        # Shuffles two axes, so it swaps them with p = 0.5.
        transforms.append(TransposeAxesTransform((len(patch_size) - 2, len(patch_size) - 1)))
    return ComposeTransforms(
        transforms
        + _nnunet_tail(
            patch_size,
            deep_supervision_scales,
            use_mask_for_norm=use_mask_for_norm,
            is_cascaded=is_cascaded,
            foreground_labels=foreground_labels,
            regions=regions,
            ignore_label=ignore_label,
        )
    )


def paper_mirror_axes(patch_size: Sequence[int]) -> tuple[int, ...]:
    """The axes that training flips and along which test-time mirroring is allowed: all of them.

    Axis 0 is z in 3d, as in nnU-Net's ``inference_allowed_mirroring_axes``.
    """
    return tuple(range(len(patch_size)))


def paper_initial_patch_size(patch_size: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """The voxels that the loader must crop, so that no sampled point lies outside the crop.

    Covers the largest displacement and the largest rotation together; z is not enlarged. Where the crop
    itself reaches beyond the image, nnU-Net's loader pads it (image 0, label -1), with any augmentation.
    """
    *through_plane, height, width = (int(edge) for edge in patch_size)
    # Distance of the outermost sampled voxel centre from the patch's centre, along y and x.
    y, x = (
        (edge - 1) / 2 + ELASTIC_PEAK_MM[1] / step for edge, step in zip((height, width), spacing[-2:], strict=True)
    )
    rotated = (_largest_extent(y, x), _largest_extent(x, y))
    return (*through_plane, *(math.ceil(2 * extent) + 1 for extent in rotated))


def _largest_extent(along: float, across: float) -> float:
    """The largest coordinate that the corner (along, across) reaches at any angle up to MAX_ROTATION."""
    angle = min(MAX_ROTATION, math.atan2(across, along))
    return along * math.cos(angle) + across * math.sin(angle)


def transposition_obstacle(patch_size: Sequence[int], spacing: Sequence[float]) -> str | None:
    """Why in-plane transposition is left out, as a line for the training log; None if it is used.

    Swapping y and x needs a square patch, and changes the anatomy's shape unless the voxels are square too.
    """
    height, width = patch_size[-2:]
    if height != width:
        return f"No in-plane transposition: the patch measures {height} x {width} voxels in plane."
    y, x = spacing[-2:]
    if max(y, x) > min(y, x) * (1 + SPACING_TOLERANCE):
        return f"No in-plane transposition: voxels measure {y:.3g} x {x:.3g} mm in plane."
    return None


def in_plane_deformation(
    patch_size: Sequence[int], spacing: Sequence[float], p_rotation: float, p_elastic: float
) -> list[BasicTransform]:
    """Rotation and elastic deformation in one interpolation, the same in every slice, and the central crop.

    Rotation takes "rotation" in its ordinary sense: a random angle, here up to 15 degrees either way, about
    what a head tilts in a scanner. The released script turns by 90 degrees, which adds nothing to flips and
    transposition (their compositions are the quarter turns) and needs a square patch. Any patch can turn by a
    small angle, because the loader crops enough around it (``paper_initial_patch_size``). The angle is taken
    in voxels, as in nnU-Net: where in-plane spacings differ, a slight shear comes with it.

    Elastic deformation: the largest displacement along each in-plane axis is drawn from 2 to 4 mm, the
    Gaussian that smooths the field has a standard deviation of 10 to 20 mm; both are drawn for each axis.

    Labels are the arg max of their interpolated indicators, as in nnU-Net; outside the crop they are -1.
    """
    millimetres = tuple(float(step) for step in spacing[-2:])
    deformation = SpatialTransform(
        tuple(int(edge) for edge in patch_size[-2:]),
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=p_elastic,
        elastic_deform_scale=partial(_smoothness_as_fraction, spacing=millimetres),
        elastic_deform_magnitude=partial(_peak_in_voxels, spacing=millimetres),
        p_rotation=p_rotation,
        rotation=(-MAX_ROTATION, MAX_ROTATION),
        # Centring would move the field by its mean, and the peaks with it.
        center_deformation=False,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    if len(patch_size) == 2:
        return [deformation]
    return [Convert3DTo2DTransform(), deformation, Convert2DTo3DTransform()]


# SpatialTransform calls these two for each axis, with more keywords than they need. They are module-level
# functions because data loading workers may have to unpickle them.
def _peak_in_voxels(*, dim: int, spacing: tuple[float, ...], **_: Any) -> float:
    return float(sample_scalar(ELASTIC_PEAK_MM)) / spacing[dim]


def _smoothness_as_fraction(*, dim: int, patch_size: Sequence[int], spacing: tuple[float, ...], **_: Any) -> float:
    return float(sample_scalar(ELASTIC_SMOOTHNESS_MM)) / (spacing[dim] * patch_size[dim])


def channel_shift() -> BasicTransform:
    """Add a constant to each channel, normally distributed with a standard deviation of 0.3."""
    return BrightnessAdditiveTransform(0, CHANNEL_SHIFT_SIGMA, synchronize_channels=False)


def bias_field(spacing: Sequence[float]) -> BasicTransform:
    """A smooth field that falls from 1 to between 0.7 and 0.4 at the farthest voxel of the patch."""
    return BiasFieldTransform(spacing, BIAS_FIELD_ATTENUATION)


def motion_ghosting() -> BasicTransform:
    """Every second or third k-space line along y, scaled by 0.5 to 0.7."""
    return MotionGhostingTransform(GHOSTING_INTERVALS, GHOSTING_SCALE)


def _nnunet_tail(
    patch_size: tuple[int, ...], deep_supervision_scales: Sequence[Any] | None, **nnunet: Any
) -> list[BasicTransform]:
    """What nnU-Net does after its last augmentation of image and label, the flips.

    These are the mask for normalisation, label -1 to 0, the cascade's one-hot channels and their noise,
    regions, and the targets of deep supervision. Taken from nnU-Net's own training transforms, so that they
    follow it from version to version; its validation transforms lack the mask and the cascade's noise.
    """
    composed = nnUNetTrainer.get_training_transforms(
        patch_size,
        rotation_for_DA=0,
        deep_supervision_scales=deep_supervision_scales,
        mirror_axes=(0,),
        do_dummy_2d_data_aug=False,
        **nnunet,
    )
    return list(composed.transforms[position_of_flips(composed) + 1 :])


def position_of_flips(composed: ComposeTransforms) -> int:
    """Where nnU-Net's training transforms flip: the last thing they do to image and label alike.

    Raises:
        RuntimeError: they do not flip exactly once, so this release of nnU-Net is not known.
    """
    flips = [i for i, transform in enumerate(composed.transforms) if isinstance(transform, MirrorTransform)]
    if len(flips) != 1:
        raise RuntimeError(
            f"nnU-Net's training transforms hold {len(flips)} MirrorTransform, expected 1: this release of "
            "nnU-Net orders its augmentation in a way that the augmentations 'paper' and 'sites' do not know."
        )
    return flips[0]
