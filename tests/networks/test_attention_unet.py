"""Attention U-Net and its gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.attention_unet import AttentionGate, AttentionUNet


def build_gate(stride: tuple[int, ...]) -> AttentionGate:
    torch.manual_seed(0)
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[len(stride)]
    gating = nn.Sequential(conv_op(5, 5, 1), nn.ReLU())
    return AttentionGate(conv_op, 4, 5, stride, gating).double()


def inputs(stride: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    coarse = (3, 4, 5)[: len(stride)]
    torch.manual_seed(1)
    fine = [extent * step for extent, step in zip(coarse, stride, strict=True)]
    return torch.randn(2, 4, *fine, dtype=torch.float64), torch.randn(2, 5, *coarse, dtype=torch.float64)


def interpolate(x: Any, axis: int, step: int) -> Any:
    """Linear interpolation between the centres of voxels, held constant beyond the outermost."""
    extent = x.shape[axis]
    position = np.clip((np.arange(extent * step) + 0.5) / step - 0.5, 0, extent - 1)
    low = np.minimum(position.astype(int), max(extent - 2, 0))
    high = np.minimum(low + 1, extent - 1)
    fraction = (position - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return x.take(low, axis) * (1 - fraction) + x.take(high, axis) * fraction


def reference(gate: AttentionGate, x: Any, below: Any) -> Any:
    """Equations 1 and 2 of Oktay et al. 2018, voxel by voxel of the coarse grid, for one sample (C, *spatial)."""
    state = {name: weight.numpy() for name, weight in gate.state_dict().items()}
    coarse = np.zeros(below.shape[1:])
    signal = np.maximum(
        np.tensordot(state["gating.0.weight"].reshape(5, 5), below, 1)
        + state["gating.0.bias"].reshape(-1, *[1] * coarse.ndim),
        0,
    )
    for voxel in np.ndindex(*coarse.shape):
        cell = tuple(slice(i * step, (i + 1) * step) for i, step in zip(voxel, gate.stride, strict=True))
        added = np.tensordot(state["w_x.weight"], x[(slice(None), *cell)], coarse.ndim + 1)
        added = added + state["w_g.weight"].reshape(4, 5) @ signal[(slice(None), *voxel)] + state["w_g.bias"]
        score = state["psi.weight"].reshape(4) @ np.maximum(added, 0) + state["psi.bias"][0]
        coarse[voxel] = 1 / (1 + np.exp(-score))
    for axis, step in enumerate(gate.stride):
        coarse = interpolate(coarse, axis, step)
    return x * coarse


STRIDES = [(2, 2), (1, 2), (2, 2, 2), (1, 2, 2), (1, 1, 1)]


@pytest.mark.parametrize("stride", STRIDES)
def test_gate_equals_the_formula(stride: tuple[int, ...]) -> None:
    gate, (x, below) = build_gate(stride), inputs(stride)
    with torch.no_grad():
        found = gate(x, below).numpy()
    expected = np.stack([reference(gate, *sample) for sample in zip(x.numpy(), below.numpy(), strict=True)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", STRIDES)
def test_coefficients_are_one_factor_per_voxel_between_zero_and_one(stride: tuple[int, ...]) -> None:
    x, below = inputs(stride)
    coefficients = build_gate(stride).coefficients(x, below)
    assert coefficients.shape == (2, 1, *x.shape[2:])
    assert coefficients.min() > 0
    assert coefficients.max() < 1
    assert coefficients.std() > 0


def test_gradients_reach_skip_connection_and_gating_signal() -> None:
    x, below = (tensor.requires_grad_() for tensor in inputs((1, 2, 2)))
    gate = build_gate((1, 2, 2))
    # The coefficients alone, for x would get a gradient through the product in any case.
    gate.coefficients(x, below).sum().backward()
    assert x.grad.any()
    assert below.grad.any()


def test_feature_map_size_counts_the_convolutions_on_the_coarse_grid() -> None:
    # 2×3×4 coarse voxels: gating signal 5, W_x 4, W_g 4, psi 1.
    gate = build_gate((1, 2, 2))
    assert gate.compute_conv_feature_map_size((2, 6, 8)) == (5 + 4 + 4 + 1) * 2 * 3 * 4


def build_network(n_stages: int) -> AttentionUNet:
    return AttentionUNet(
        input_channels=1,
        n_stages=n_stages,
        features_per_stage=[4 * 2**stage for stage in range(n_stages)],
        conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * n_stages,
        strides=[[1, 1, 1]] + [[1, 2, 2]] * (n_stages - 1),
        n_conv_per_stage=[2] * n_stages,
        num_classes=2,
        n_conv_per_stage_decoder=[2] * (n_stages - 1),
        norm_op=nn.BatchNorm3d,
        nonlin=nn.ReLU,
    )


@pytest.mark.parametrize("n_stages", [2, 3, 5])
def test_every_skip_connection_but_the_finest_has_a_gate(n_stages: int) -> None:
    attentions = build_network(n_stages).decoder.attentions
    assert [isinstance(attention, AttentionGate) for attention in attentions] == [True] * (n_stages - 2) + [False]


def test_gating_signal_is_convolved_at_the_bottleneck_alone() -> None:
    deepest, second, _ = build_network(4).decoder.attentions
    assert [type(module).__name__ for module in deepest.gating.convs[0].all_modules] == [
        "Conv3d",
        "BatchNorm3d",
        "ReLU",
    ]
    assert deepest.gating.convs[0].conv.kernel_size == (1, 1, 1)
    assert isinstance(second.gating, nn.Identity)


def test_closed_gates_cut_their_skip_connections() -> None:
    torch.manual_seed(0)
    network, x = build_network(3).eval(), torch.randn(1, 1, 2, 8, 8)
    gate = network.decoder.attentions[0]
    with torch.no_grad():
        gate.psi.weight.zero_()
        gate.psi.bias.fill_(-50)
        skips = network.encoder(x)
        closed = network.decoder(skips)
        without = network.decoder([skips[0], torch.zeros_like(skips[1]), skips[2]])
        torch.testing.assert_close(closed, without)
        gate.psi.bias.fill_(50)
        assert not torch.allclose(network.decoder(skips), without)
