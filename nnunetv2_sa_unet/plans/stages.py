"""Parts of a configuration that the rules for networks share: kernels, strides and norm of all stages, and checks.

Axes are nnU-Net's, (z, y, x) or (y, x), z being the through-plane axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import prod
from typing import Any, TypeVar

from nnunetv2_sa_unet.errors import InputError

__all__ = [
    "FEWEST_STAGES", "architecture_of", "architecture_with", "check_axes", "check_divisible", "edges_in_plane",
    "kernels_of", "norm_of", "strides_of",
]  # fmt: skip

FEWEST_STAGES = 3  # nnU-Net's weights for deep supervision are not defined for fewer
_NORMS = {
    "group": "nnunetv2_sa_unet.networks.norm.GroupNorm",
    "batch": "torch.nn.modules.batchnorm.BatchNorm{n_axes}d",
}
_Number = TypeVar("_Number", int, float)


def architecture_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block of this name.

    Raises:
        InputError: if there is none.
    """
    if "architecture" not in configuration:
        raise InputError(
            "architecture: missing, as in plans of nnU-Net before 2.3.1: run nnUNetv2_plan_experiment again"
        )
    architecture: dict[str, Any] = configuration["architecture"]
    return architecture


def architecture_with(
    network_class: str,
    features: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    n_convs: int,
    norm: Mapping[str, Any],
    **arguments: Any,
) -> dict[str, Any]:
    """Return the block ``architecture`` of a network of ours, with ReLU, biases and no dropout.

    Args:
        network_class: dotted path.
        features: channels of each stage, finest first.
        kernel_sizes: of each stage, one number per axis.
        strides: likewise.
        n_convs: convolutions of each stage and of each step of the decoder.
        norm: as :func:`norm_of` returns it.
        arguments: of the network's class, besides those that all have, or in their place.
    """
    depth, n_axes = len(features), len(strides[0])
    arch_kwargs = {
        "n_stages": depth,
        "features_per_stage": list(features),
        "conv_op": f"torch.nn.modules.conv.Conv{n_axes}d",
        "kernel_sizes": deepcopy(kernel_sizes),
        "strides": deepcopy(strides),
        "n_conv_per_stage": [n_convs] * depth,
        "n_conv_per_stage_decoder": [n_convs] * (depth - 1),
        "conv_bias": True,
        **norm,
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
        **deepcopy(arguments),
    }
    return {
        "network_class_name": network_class,
        "arch_kwargs": arch_kwargs,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def norm_of(kind: str, n_axes: int, eps: float, groups: int = 0) -> dict[str, Any]:
    """Return the arguments of a network that name its norm: ``group`` with so many groups, or ``batch``."""
    own = {"num_groups": groups} if kind == "group" else {}
    return {"norm_op": _NORMS[kind].format(n_axes=n_axes), "norm_op_kwargs": {**own, "eps": eps, "affine": True}}


def kernels_of(depth: int, n_axes: int, in_plane: bool) -> list[list[int]]:
    """Return kernels of 3, outside the bottleneck in plane alone if asked for."""
    flat = [1] * (n_axes - 2) + [3, 3] if in_plane else [3] * n_axes
    return [list(flat) for _ in range(depth - 1)] + [[3] * n_axes]


def strides_of(depth: int, n_axes: int, patch_size: Sequence[int], in_plane: bool) -> list[list[int]]:
    """Pool by 2 in plane at every stage but the first; along z only while it stays even and at least 4."""
    per_stage = [[1] * n_axes]
    z = patch_size[0]
    for _ in range(depth - 1):
        if n_axes == 2:
            per_stage.append([2, 2])
            continue
        z_stride = 2 if not in_plane and z % 4 == 0 and z >= 8 else 1
        z //= z_stride
        per_stage.append([z_stride, 2, 2])
    return per_stage


def edges_in_plane(extents: Sequence[_Number]) -> Sequence[_Number]:
    """Return the last two of the extents along all axes."""
    return extents[-2:]


def check_axes(field: str, found: Sequence[int], n_axes: int) -> None:
    """Raise InputError unless there is one number per axis."""
    if len(found) != n_axes:
        raise InputError(
            f"{field}: found {list(found)} with {len(found)} axes, expected {n_axes} numbers, one per axis"
        )


def check_divisible(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> None:
    """Raise InputError unless the product of the strides divides the patch along every axis."""
    for axis, extent in enumerate(patch_size):
        factor = prod(stride[axis] for stride in strides)
        if extent % factor:
            raise InputError(
                f"patch_size: {list(patch_size)} is not divisible by {factor} along axis {axis}, which {len(strides)} "
                f"stages need: give a multiple of {factor} there"
            )
