"""From a configuration that nnU-Net planned to SA-UNet, and from one variant to another.

A configuration here is resolved: what it inherits is already in it. Axes are nnU-Net's, (z, y, x) or (y, x), z being
the through-plane axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import prod
from typing import Any

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.published import SIZES, as_published, is_published
from nnunetv2_sa_unet.plans.stages import (
    FEWEST_STAGES,
    architecture_of,
    architecture_with,
    check_axes,
    check_divisible,
    edges_in_plane,
    kernels_of,
    norm_of,
    strides_of,
)
from nnunetv2_sa_unet.plans.variants import SA_UNET, VARIANTS, PublishedVariant, SwitchedVariant, Variant

__all__ = ["apply_values", "apply_variant", "is_ours", "through_plane_poolings"]

# The paper's numbers (section 2 and the authors' network).
RATES = [6, 12, 16]
ATTENTION_KERNEL_IN_PLANE = 14
NORM_GROUPS = 8
NORM_EPS = 1e-3

_REFERENCE_EDGE = 32  # in-plane edge in voxels of the paper's bottleneck, for which its rates were chosen


def is_ours(configuration: Mapping[str, Any]) -> bool:
    """Tell whether the configuration's network is one of this package."""
    network_class = architecture_of(configuration)["network_class_name"]
    return network_class in {variant.network_class for variant in VARIANTS.values()}


def apply_values(configuration: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Make the full SA-UNet of a configuration that nnU-Net planned.

    Depth: as many stages as planned, but no deeper than the last at which the shorter in-plane edge of the
    bottleneck (with planned kernels the shortest edge) exceeds the largest dilation rate, and three at least.
    ``depth: "planned"`` keeps nnU-Net's and scales every rate r to max(1, round(r · edge / 32)).

    Args:
        configuration: resolved, with a network of nnU-Net's.
        values: see :class:`~nnunetv2_sa_unet.plans.overrides.Values`; ``training`` is not read.

    Returns:
        a copy with ``patch_size``, ``batch_size``, ``architecture`` and, if they were given, planned ``kernels`` and
        ``sizes``, the widths and the depth as they were given.

    Raises:
        InputError: if the values do not fit each other or the configuration; the message starts with the field.
    """
    if is_ours(configuration):
        found = architecture_of(configuration)["network_class_name"]
        raise InputError(
            f"architecture.network_class_name: found {found}, expected a network that nnU-Net planned: take nnU-Net's "
            "own plans as the base"
        )
    planned = architecture_of(configuration)["arch_kwargs"]
    patch_size = list(values.get("patch_size", configuration["patch_size"]))
    n_axes = len(configuration["patch_size"])
    check_axes("patch_size", patch_size, n_axes)

    keep_kernels = values.get("kernels") == "planned"
    rates = list(values.get("rates", RATES))
    strides = planned["strides"] if keep_kernels else strides_of(len(planned["strides"]), n_axes, patch_size, True)
    depth = values.get("depth")
    if depth is None:
        depth = _deepest(patch_size, strides, max(rates), in_plane_only=not keep_kernels)
    elif depth == "planned":
        depth = len(strides)
        edge = min(edges_in_plane(_bottleneck(patch_size, strides)))
        rates = [max(1, round(rate * edge / _REFERENCE_EDGE)) for rate in rates]
    if keep_kernels and depth > len(strides):
        raise InputError(f"depth: {depth} stages, but nnU-Net planned kernels for {len(strides)}: leave out kernels")
    features = list(values.get("features_per_stage", planned["features_per_stage"]))
    if len(features) < depth:
        fewer = ", or set depth" if depth > FEWEST_STAGES else ", the fewest that nnU-Net's deep supervision allows"
        raise InputError(f"features_per_stage: found {len(features)} entries for {depth} stages: give {depth}{fewer}")
    features = features[:depth]
    groups = values.get("norm_groups", NORM_GROUPS)
    indivisible = [width for width in features if width % groups]
    if indivisible:
        raise InputError(f"features_per_stage: {indivisible[0]} is not divisible by the {groups} groups of the norm")
    if features[-1] == groups:
        raise InputError(
            f"features_per_stage: the last of the {depth} stages has {groups} channels for {groups} groups of the "
            f"norm, but the ASPP's mean over the map needs two or more in a group: give it {2 * groups} or more"
        )
    attention_kernel = list(values.get("attention_kernel", _default_attention_kernel(n_axes)))
    check_axes("attention_kernel", attention_kernel, n_axes)

    kernels = planned["kernel_sizes"][:depth] if keep_kernels else kernels_of(depth, n_axes, True)
    strides = strides[:depth] if keep_kernels else strides_of(depth, n_axes, patch_size, True)
    check_divisible(patch_size, strides)
    rewritten = dict(deepcopy(configuration)) | {
        "patch_size": patch_size,
        "batch_size": values.get("batch_size", configuration["batch_size"]),
        "architecture": architecture_with(
            SA_UNET,
            features,
            kernels,
            strides,
            2,
            norm_of("group", n_axes, values.get("norm_eps", NORM_EPS), groups),
            attention_kernel=attention_kernel,
            rates=rates,
        ),
    }
    if keep_kernels:
        rewritten["kernels"] = "planned"
    kept = () if values.get("published_sizes") else ("features_per_stage", "depth")
    sizes = {key: deepcopy(values[key]) for key in kept if key in values}
    return rewritten | ({SIZES: sizes} if sizes else {})


def apply_variant(configuration: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """Make the network of a variant.

    Of SA-UNet's family only the switches are set; everything else stays. A network of nnU-Net's becomes the full
    SA-UNet first. A part that the variant removes takes its values along; one that it has and that is missing gets the
    paper's numbers. ``kernels: "planned"`` in the configuration keeps kernels and strides.

    A system of another paper gets that paper's widths and depth, or those that an override gave. The depth is less
    where the patch cannot be halved as often.

    Args:
        configuration: resolved.
        variant: a row of the table.

    Returns:
        a copy with the variant's ``architecture``. Applying a variant twice changes nothing.

    Raises:
        InputError: if the variant is for another number of axes; planned kernels are kept and the variant is about
            other kernels; or the network is a system of another paper, of which no other variant can be made.
    """
    n_axes = len(configuration["patch_size"])
    if variant.n_axes not in (None, n_axes):
        raise InputError(
            f"patch_size: found {n_axes} axes, but {variant.trainer} is for {variant.n_axes}: train it with the "
            f"configuration {'2d' if variant.n_axes == 2 else '3d_fullres'}"
        )
    if is_published(configuration):
        network_class = architecture_of(configuration)["network_class_name"]
        if network_class != variant.network_class:
            raise InputError(
                f"architecture.network_class_name: found {network_class}, of which {variant.trainer} cannot be made: "
                "take nnU-Net's own plans, or those with overrides"
            )
        return deepcopy(dict(configuration))
    if isinstance(variant, PublishedVariant):
        return as_published(configuration, variant)
    assert isinstance(variant, SwitchedVariant)
    return _switched(configuration, variant)


def _switched(configuration: Mapping[str, Any], variant: SwitchedVariant) -> dict[str, Any]:
    """Set the switches of SA-UNet's family."""
    rewritten = deepcopy(dict(configuration)) if is_ours(configuration) else apply_values(configuration, {})
    architecture = rewritten["architecture"]
    arch_kwargs = architecture["arch_kwargs"]
    patch_size = rewritten["patch_size"]
    n_axes, depth = len(patch_size), arch_kwargs["n_stages"]

    architecture["network_class_name"] = variant.network_class
    if rewritten.get("kernels") != "planned":
        arch_kwargs["kernel_sizes"] = kernels_of(depth, n_axes, variant.in_plane)
        arch_kwargs["strides"] = strides_of(depth, n_axes, patch_size, variant.in_plane)
    elif not variant.in_plane and any(extent != 3 for kernel in arch_kwargs["kernel_sizes"] for extent in kernel):
        raise InputError(
            f'kernels: found "planned" with kernels other than 3×3×3, which {variant.trainer} needs: '
            'train it with plans made without "kernels"'
        )
    norm_kwargs = arch_kwargs["norm_op_kwargs"]
    arch_kwargs |= norm_of(variant.norm, n_axes, norm_kwargs["eps"], norm_kwargs.get("num_groups", NORM_GROUPS))
    _switch(arch_kwargs, "attention_kernel", variant.attention, _default_attention_kernel(n_axes))
    _switch(arch_kwargs, "rates", variant.aspp, RATES)
    return rewritten


def through_plane_poolings(configuration: Mapping[str, Any]) -> int:
    """Count the stages of a 3d configuration that pool along z; 0 in 2d."""
    strides = architecture_of(configuration)["arch_kwargs"]["strides"]
    return sum(len(stride) == 3 and stride[0] > 1 for stride in strides)


def _switch(arch_kwargs: dict[str, Any], key: str, on: bool, default: list[int]) -> None:
    if on:
        arch_kwargs.setdefault(key, list(default))
    else:
        arch_kwargs.pop(key, None)


def _default_attention_kernel(n_axes: int) -> list[int]:
    return [1] * (n_axes - 2) + [ATTENTION_KERNEL_IN_PLANE] * 2


def _bottleneck(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[float]:
    return [extent / prod(stride[axis] for stride in strides) for axis, extent in enumerate(patch_size)]


def _deepest(
    patch_size: Sequence[int], strides: Sequence[Sequence[int]], largest_rate: int, in_plane_only: bool
) -> int:
    depth = FEWEST_STAGES
    for stages in range(depth + 1, len(strides) + 1):
        bottleneck = _bottleneck(patch_size, strides[:stages])
        if min(edges_in_plane(bottleneck) if in_plane_only else bottleneck) > largest_rate:
            depth = stages
    return depth
