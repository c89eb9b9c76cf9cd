"""SAM, ASPP and group norm against a plain NumPy formulation in float64, on maps large enough to tell rates apart.

The comparisons are shown to notice the mistakes that are easy to make: each is made on purpose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.norm import GroupNorm

Array = np.ndarray[Any, np.dtype[np.float64]]
CHANNELS, RATES = 16, (6, 12, 16)


def convolve(x: Array, kernel: Array, bias: Array | None = None, dilation: int = 1) -> Array:
    """'Same' convolution as Keras defines it: of an odd total padding the larger half comes after.

    Args:
        x: (C, *spatial).
        kernel: (C_out, C, *kernel size).
    """
    extents = x.shape[1:]
    totals = [dilation * (k - 1) for k in kernel.shape[2:]]
    padded = np.pad(x, [(0, 0)] + [(total // 2, total - total // 2) for total in totals])
    out = np.zeros((kernel.shape[0], *extents))
    for tap in itertools.product(*map(range, kernel.shape[2:])):
        window = tuple(slice(t * dilation, t * dilation + extent) for t, extent in zip(tap, extents, strict=True))
        out += np.tensordot(kernel[(slice(None), slice(None), *tap)], padded[(slice(None), *window)], 1)
    return out if bias is None else out + bias.reshape(-1, *[1] * len(extents))


def normalise(x: Array, gamma: Array, beta: Array, groups: int = 8, eps: float = 1e-3) -> Array:
    grouped = x.reshape(groups, -1)
    grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + eps)
    per_channel = (-1, *[1] * (x.ndim - 1))
    return grouped.reshape(x.shape) * gamma.reshape(per_channel) + beta.reshape(per_channel)


def attend(x: Array, kernel: Array) -> Array:
    score = convolve(np.stack((x.mean(0), x.max(0))), kernel)
    return x / (1 + np.exp(-score))


def pyramid(x: Array, weights: dict[str, Array]) -> Array:
    def branch(name: str, x: Array, dilation: int = 1) -> Array:
        y = convolve(x, weights[f"{name}.0.weight"], weights.get(f"{name}.0.bias"), dilation)
        return np.maximum(normalise(y, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]), 0)

    axes = tuple(range(1, x.ndim))
    pooled = np.broadcast_to(branch("pool", x.mean(axes, keepdims=True)), x.shape)
    dilated = [branch(f"convs.{i}", x, rate) for i, rate in enumerate((1, *RATES))]
    return branch("project", np.concatenate((pooled, *dilated)))


def randomise(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5
            parameter.normal_(0, spread)
    return module.double()


def weights_of(module: nn.Module) -> dict[str, Array]:
    return {name: weight.numpy().copy() for name, weight in module.state_dict().items()}


def largest_difference(module: nn.Module, x: Array, expected: Array) -> float:
    with torch.no_grad():
        return float(np.abs(module(torch.from_numpy(x)[None])[0].numpy() - expected).max())


def build_sam(n_axes: int) -> SpatialAttention:
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[n_axes]
    return randomise(SpatialAttention(conv_op, [1, 14, 14][-n_axes:]))  # type: ignore[return-value]


def build_aspp(n_axes: int, rates: Sequence[int] = RATES, **norm_op_kwargs: Any) -> ASPP:
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[n_axes]
    aspp = ASPP(conv_op, CHANNELS, rates, GroupNorm, norm_op_kwargs, nn.ReLU)
    return randomise(aspp)  # type: ignore[return-value]


SIZES = {2: (18, 20), 3: (17, 18, 19)}


@pytest.fixture(scope="module", params=[2, 3], ids=["2d", "3d"])
def n_axes(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def features(n_axes: int) -> Array:
    return np.random.default_rng(0).normal(size=(CHANNELS, *SIZES[n_axes]))


@pytest.fixture(scope="module")
def attended(n_axes: int, features: Array) -> Array:
    return attend(features, weights_of(build_sam(n_axes))["conv.weight"])


@pytest.fixture(scope="module")
def fused(n_axes: int, features: Array) -> Array:
    return pyramid(features, weights_of(build_aspp(n_axes)))


def test_spatial_attention_equals_the_reference(n_axes: int, features: Array, attended: Array) -> None:
    assert largest_difference(build_sam(n_axes), features, attended) < 1e-12


def test_aspp_equals_the_reference(n_axes: int, features: Array, fused: Array) -> None:
    assert largest_difference(build_aspp(n_axes), features, fused) < 1e-12


def test_group_norm_equals_the_reference(n_axes: int, features: Array) -> None:
    norm = randomise(GroupNorm(CHANNELS))
    weights = weights_of(norm)
    assert largest_difference(norm, features, normalise(features, weights["weight"], weights["bias"])) < 1e-12


# Far above rounding and as tight as the comparison with the golden values.
NOTICED = 1e-4


def pad_more_before(sam: SpatialAttention) -> None:
    before, after = sam.padding[::2], sam.padding[1::2]
    sam.padding = [side for pair in zip(after, before, strict=True) for side in pair]


def swap_mean_and_max(sam: SpatialAttention) -> None:
    sam.conv.weight = nn.Parameter(sam.conv.weight.flip(1))


@pytest.mark.parametrize("break_it", [pad_more_before, swap_mean_and_max])
def test_comparison_notices_in_spatial_attention(
    n_axes: int, features: Array, attended: Array, break_it: Callable[[SpatialAttention], None]
) -> None:
    sam = build_sam(n_axes)
    break_it(sam)
    assert largest_difference(sam, features, attended) > NOTICED


def drop_the_bias_of_the_pool(aspp: ASPP) -> None:
    aspp.pool[0].bias = None


def add_a_bias_to_a_branch(aspp: ASPP) -> None:
    # One and the same value for all channels would vanish in the group norm.
    aspp.convs[1][0].bias = nn.Parameter(torch.linspace(0, 1, CHANNELS, dtype=torch.float64))


def swap_two_rates(aspp: ASPP) -> None:
    aspp.convs[2], aspp.convs[3] = aspp.convs[3], aspp.convs[2]


def concatenate_the_pool_last(aspp: ASPP) -> None:
    weight = aspp.project[0].weight
    aspp.project[0].weight = nn.Parameter(torch.cat((weight[:, CHANNELS:], weight[:, :CHANNELS]), 1))


def drop_the_nonlinearity_of_the_pool(aspp: ASPP) -> None:
    aspp.pool = aspp.pool[:-1]


@pytest.mark.parametrize(
    "break_it",
    [
        drop_the_bias_of_the_pool,
        add_a_bias_to_a_branch,
        swap_two_rates,
        concatenate_the_pool_last,
        drop_the_nonlinearity_of_the_pool,
    ],
)
def test_comparison_notices_in_aspp(
    n_axes: int, features: Array, fused: Array, break_it: Callable[[ASPP], None]
) -> None:
    aspp = build_aspp(n_axes)
    break_it(aspp)
    assert largest_difference(aspp, features, fused) > NOTICED


@pytest.mark.parametrize("rates", [(5, 12, 16), (6, 11, 16), (6, 13, 16), (6, 12, 15), (6, 12, 18)])
def test_comparison_notices_another_rate(
    n_axes: int, features: Array, fused: Array, rates: tuple[int, int, int]
) -> None:
    assert largest_difference(build_aspp(n_axes, rates), features, fused) > NOTICED


@pytest.mark.parametrize("change", [{"eps": 1e-5}, {"num_groups": 4}, {"num_groups": 2}])
def test_comparison_notices_another_group_norm(
    n_axes: int, features: Array, fused: Array, change: dict[str, Any]
) -> None:
    assert largest_difference(build_aspp(n_axes, **change), features, fused) > NOTICED
