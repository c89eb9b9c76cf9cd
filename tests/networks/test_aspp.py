from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.norm import GroupNorm

# [arguments, input shape, output shape]
SHAPES: list[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ({"conv_op": nn.Conv3d, "channels": 16, "rates": [6, 12, 16]}, (2, 16, 4, 5, 6), (2, 16, 4, 5, 6)),
    (
        {"conv_op": nn.Conv3d, "channels": 16, "rates": [6, 12, 16], "norm_op": GroupNorm},
        (1, 16, 1, 7, 7),
        (1, 16, 1, 7, 7),
    ),
    ({"conv_op": nn.Conv3d, "channels": 8, "rates": []}, (1, 8, 3, 3, 3), (1, 8, 3, 3, 3)),
    ({"conv_op": nn.Conv2d, "channels": 16, "rates": [2], "norm_op": nn.BatchNorm2d}, (1, 16, 5, 4), (1, 16, 5, 4)),
    (
        {"conv_op": nn.Conv2d, "channels": 16, "rates": [1, 3], "norm_op": GroupNorm, "nonlin": nn.ReLU},
        (3, 16, 4, 4),
        (3, 16, 4, 4),
    ),
]


@pytest.mark.parametrize(("kwargs", "input_shape", "expected_shape"), SHAPES)
def test_shape(kwargs: dict[str, Any], input_shape: tuple[int, ...], expected_shape: tuple[int, ...]) -> None:
    fused = ASPP(**kwargs)(torch.randn(input_shape))
    assert tuple(fused.shape) == expected_shape
    assert fused.isfinite().all()


def norms(branch: nn.Module) -> list[nn.Module]:
    return [
        module for module in branch.modules() if isinstance(module, (nn.GroupNorm, nn.BatchNorm3d, nn.InstanceNorm3d))
    ]


@pytest.mark.parametrize(
    ("norm_op", "in_pool"), [(GroupNorm, 1), (nn.BatchNorm3d, 0), (nn.InstanceNorm3d, 0), (None, 0)]
)
def test_pool_branch_is_normalised_by_group_norm_alone(norm_op: type[nn.Module] | None, in_pool: int) -> None:
    aspp = ASPP(nn.Conv3d, 16, [2, 3], norm_op, None, nn.ReLU)
    assert len(norms(aspp.pool)) == in_pool
    assert [len(norms(branch)) for branch in (*aspp.convs, aspp.project)] == [int(norm_op is not None)] * 4
    # One sample, one pooled value per channel: a batch or instance norm there would raise in training mode.
    assert aspp(torch.randn(1, 16, 4, 4, 4)).isfinite().all()


def test_only_the_pool_has_a_bias() -> None:
    aspp = ASPP(nn.Conv3d, 16, [6, 12, 16], GroupNorm, {"num_groups": 8, "eps": 1e-3}, nn.ReLU)
    biased = [
        name for name, module in aspp.named_modules() if isinstance(module, nn.Conv3d) and module.bias is not None
    ]
    assert biased == ["pool.0"]


def test_parameters_are_the_papers_at_192_channels() -> None:
    aspp = ASPP(nn.Conv3d, 192, [6, 12, 16], GroupNorm)
    assert sum(parameter.numel() for parameter in aspp.parameters()) == 3_246_528
