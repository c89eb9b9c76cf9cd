"""What to say of a configuration before a network is built from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nnunetv2_sa_unet.plans.topology import through_plane_poolings
from nnunetv2_sa_unet.plans.variants import SwitchedVariant, Variant

__all__ = ["foreign_parts", "remarks", "unknown_arguments"]

# nnU-Net itself treats an axis as coarse from twice the finest spacing on: it pools it later and starts with a kernel
# of 1 along it.
_COARSE = 2


def remarks(configuration: Mapping[str, Any], variant: Variant) -> list[str]:
    """Say what in a resolved configuration, already made into the variant, is a choice that its user should know of."""
    found: list[str] = []
    if not isinstance(variant, SwitchedVariant):
        return found
    n_poolings = len(configuration["architecture"]["arch_kwargs"]["strides"]) - 1
    z_poolings = through_plane_poolings(configuration)
    if not variant.in_plane and 0 < z_poolings < n_poolings:
        found.append(
            f"{z_poolings} of {n_poolings} poolings halve z too: {configuration['patch_size'][0]} slices cannot be "
            "halved more often and stay even and at least 4"
        )
    spacing = list(configuration["spacing"])
    if len(spacing) == 2 or configuration.get("kernels") == "planned":
        return found
    in_mm = "×".join(f"{extent:.3g}" for extent in spacing)
    if max(spacing[1:]) >= _COARSE * spacing[0]:
        found.append(
            f"WARNING: the voxels of {in_mm} mm are coarsest along an axis other than the first, which the network "
            "takes for the direction of thick slices: plan without suppressing nnU-Net's transposition, or keep "
            'nnU-Net\'s kernels and strides with an override that says "kernels": "planned"'
        )
    elif variant.in_plane and spacing[0] < _COARSE * min(spacing[1:]):
        found.append(
            f"WARNING: the voxels of {in_mm} mm are nearly isotropic, but kernels and pooling stay in plane outside "
            'the bottleneck, as for thick slices. An override that says "kernels": "planned" keeps nnU-Net\'s'
        )
    return found


def foreign_parts(configuration: Mapping[str, Any], variant: Variant) -> list[str]:
    """Name the switches in which the network of a resolved configuration is not that of the variant.

    Kernels and strides are left out: an older version of the topology rule may have set others.
    """
    architecture = configuration["architecture"]
    if not isinstance(variant, SwitchedVariant):
        return [] if architecture["network_class_name"] == variant.network_class else ["network_class_name"]
    kwargs = architecture["arch_kwargs"]
    is_group_norm = str(kwargs["norm_op"]).rpartition(".")[2] == "GroupNorm"
    agree = {
        "network_class_name": architecture["network_class_name"] == variant.network_class,
        "attention_kernel": (kwargs.get("attention_kernel") is not None) == variant.attention,
        "rates": (kwargs.get("rates") is not None) == variant.aspp,
        "norm_op": is_group_norm == (variant.norm == "group"),
    }
    return [key for key, agrees in agree.items() if not agrees]


def unknown_arguments(configuration: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Name the arguments in a resolved configuration that the network's class, which has ``known``, does not have."""
    return [key for key in configuration["architecture"]["arch_kwargs"] if key not in known]
