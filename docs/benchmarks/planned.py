"""The networks that are measured, each as the configuration that a plan would hold."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant
from nnunetv2_sa_unet.plans.variants import SA_UNET, VARIANTS

#: FLAIR alone; background, WMH, other pathology.
INPUT_CHANNELS, NUM_CLASSES = 1, 3
#: In mm, z first: what decides nnU-Net's kernels and strides besides the patch. The challenge's median.
SPACING = (3.0, 1.0, 1.0)
DEFAULT_NETWORKS = ("plain", "SAUNet", "PlainConvUNet", "ResidualEncoderUNet")

_DEPTH = 4
# Width by the ending of the name: the paper's, and that which nnU-Net plans.
_WIDTHS = {"": [24, 48, 96, 192], "-wide": [32, 64, 128, 256]}
# nnU-Net's planners: smallest edge of the bottleneck, fewest and most features, blocks in the encoder's stages.
_SMALLEST_EDGE = 4
_FEATURES, _MOST_FEATURES = 32, 320
_RESIDUAL_BLOCKS = [1, 3, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]


def configurations(patch_size: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the configuration of every network by its name.

    ``PlainConvUNet`` and ``ResidualEncoderUNet`` are what nnU-Net plans for this patch. The others are the trainers of
    this package for 3d without ``nnUNetTrainer``, and ``plain``, which is ``SAUNet`` to be measured by its plain
    modules; all have four stages, 24 to 192 channels, or 32 to 256 where the name ends with ``-wide``.

    Args:
        patch_size: (z, y, x).

    Raises:
        ValueError: if the strides of one of the networks do not divide the patch.
    """
    planned = {name: _planned(name, patch_size) for name in ("PlainConvUNet", "ResidualEncoderUNet")}
    ours: dict[str, dict[str, Any]] = {}
    for ending, features in _WIDTHS.items():
        full = apply_values(planned["PlainConvUNet"], {"features_per_stage": features, "depth": _DEPTH})
        ours["plain" + ending] = deepcopy(full)
        for trainer, variant in VARIANTS.items():
            if variant.n_axes != 2:
                ours[trainer.removeprefix("nnUNetTrainer") + ending] = apply_variant(full, variant)
    assert ours["SAUNet"]["architecture"]["network_class_name"] == SA_UNET
    return ours | planned


def build(configuration: dict[str, Any], deep_supervision: bool) -> nn.Module:
    """Build a network as nnU-Net does."""
    architecture = configuration["architecture"]
    network: nn.Module = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        INPUT_CHANNELS,
        NUM_CLASSES,
        deep_supervision=deep_supervision,
    )
    return network


def _planned(name: str, patch_size: Sequence[int]) -> dict[str, Any]:
    _, strides, kernels, padded, _ = get_pool_and_conv_props(SPACING, patch_size, _SMALLEST_EDGE, 999999)
    if tuple(map(int, padded)) != tuple(patch_size):
        raise ValueError(
            f"--patch: found {' '.join(map(str, patch_size))}, which the strides that nnU-Net plans for it do not "
            f"divide: give {' '.join(map(str, map(int, padded)))}"
        )
    depth = len(strides)
    blocks = {
        "PlainConvUNet": {"n_conv_per_stage": [2] * depth, "n_conv_per_stage_decoder": [2] * (depth - 1)},
        "ResidualEncoderUNet": {
            "n_blocks_per_stage": _RESIDUAL_BLOCKS[:depth],
            "n_conv_per_stage_decoder": [1] * (depth - 1),
        },
    }[name]
    return {
        "patch_size": list(patch_size),
        "batch_size": 2,
        "spacing": list(SPACING),
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
            "arch_kwargs": {
                "n_stages": depth,
                "features_per_stage": [min(_FEATURES * 2**stage, _MOST_FEATURES) for stage in range(depth)],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [list(kernel) for kernel in kernels],
                "strides": [list(stride) for stride in strides],
                **blocks,
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
