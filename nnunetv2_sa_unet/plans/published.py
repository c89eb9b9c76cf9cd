"""From a configuration to the system of another paper, whose parts are fixed and whose sizes are that paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from nnunetv2_sa_unet.plans.stages import (
    FEWEST_STAGES,
    architecture_of,
    architecture_with,
    check_divisible,
    edges_in_plane,
    kernels_of,
    norm_of,
    strides_of,
)
from nnunetv2_sa_unet.plans.variants import VARIANTS, PublishedVariant

__all__ = ["SIZES", "as_published", "is_published"]

#: Where a configuration keeps the widths and the depth that an override gave.
SIZES = "sizes"
_CLASSES = {variant.network_class for variant in VARIANTS.values() if isinstance(variant, PublishedVariant)}


def is_published(configuration: Mapping[str, Any]) -> bool:
    """Tell whether the configuration's network is the system of another paper."""
    return architecture_of(configuration)["network_class_name"] in _CLASSES


def as_published(configuration: Mapping[str, Any], variant: PublishedVariant) -> dict[str, Any]:
    """Make a system of another paper; what nnU-Net planned besides the network stays.

    Widths and depth are the paper's, or those that an override gave. The depth is less where the patch cannot be halved
    as often.

    Args:
        configuration: resolved, with a network of nnU-Net's or of SA-UNet's family.
        variant: whose number of axes is the configuration's.

    Raises:
        InputError: if the patch cannot be halved as often as the fewest stages need.
    """
    patch_size = configuration["patch_size"]
    n_axes = len(patch_size)
    sizes = configuration.get(SIZES, {})
    features = list(sizes.get("features_per_stage", variant.features))
    wanted = sizes.get("depth", len(variant.features))
    if wanted == "planned":
        wanted = architecture_of(configuration)["arch_kwargs"]["n_stages"]
    depth = max(FEWEST_STAGES, _halvable(patch_size, min(wanted, len(features))))
    strides_per_stage = strides_of(depth, n_axes, patch_size, in_plane=False)
    check_divisible(patch_size, strides_per_stage)
    architecture = architecture_with(
        variant.network_class,
        features[:depth],
        [[variant.first_kernel] * n_axes, *kernels_of(depth - 1, n_axes, in_plane=False)],
        strides_per_stage,
        variant.n_convs,
        norm_of("batch", n_axes, variant.norm_eps),
        **variant.arguments,
    )
    return deepcopy(dict(configuration)) | {"architecture": architecture}


def _halvable(patch_size: Sequence[int], most: int) -> int:
    """Count the stages, ``most`` at most, for which both in-plane edges of the patch can be halved."""
    stages = 1
    while stages < most and all(extent % 2**stages == 0 for extent in edges_in_plane(patch_size)):
        stages += 1
    return stages
