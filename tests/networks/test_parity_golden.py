"""Agreement with the authors' network, computed in Keras.

The files stand in ``golden`` of the shared folder: tensors (N, y, x, z, C), kernels (y, x, z, C_in, C_out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.reference import PlainASPP, PlainSAUNet, PlainSpatialAttention
from nnunetv2_sa_unet.networks.sa_unet import SAUNet

Arrays = Mapping[str, Any]
BASE = 8


@pytest.fixture
def golden(shared: Path) -> Callable[[str], Arrays]:
    def load(name: str) -> Arrays:
        file = shared / "golden" / f"{name}.npz"
        if not file.is_file():
            pytest.skip(f"{file} is absent")
        with np.load(file) as arrays:
            return dict(arrays)

    return load


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(array.transpose(0, 4, 3, 1, 2).copy())


def weight(array: Any) -> torch.Tensor:
    """Kernels change their axes; biases, scales and shifts have one."""
    return torch.from_numpy(array.transpose(4, 3, 2, 0, 1).copy() if array.ndim == 5 else array)


def load(module: nn.Module, weights: Arrays) -> None:
    module.load_state_dict({key: weight(array) for key, array in weights.items()}, strict=True)


# Keras name → ours, within ASPP. The numbers of ours are those of nn.Sequential: convolution, norm, ReLU.
ASPP_PARTS = {
    "pool": "pool",
    "b0_k1": "convs.0",
    "b1_r6": "convs.1",
    "b2_r12": "convs.2",
    "b3_r16": "convs.3",
    "proj": "project",
}
LEAVES = {"conv.kernel": "0.weight", "conv.bias": "0.bias", "gn.gamma": "1.weight", "gn.beta": "1.bias"}


def aspp_weights(arrays: Arrays) -> dict[str, Any]:
    return {
        f"{ours}.{leaf}": arrays[f"aspp.{keras}.{keras_leaf}"]
        for keras, ours in ASPP_PARTS.items()
        for keras_leaf, leaf in LEAVES.items()
        if f"aspp.{keras}.{keras_leaf}" in arrays
    }


def full_weights(arrays: Arrays) -> dict[str, Any]:
    """Name the weights of the whole network as ours are named, each of the convolutions' blocks under both names."""
    ours = {f"encoder.stages.3.2.{key}": array for key, array in aspp_weights(arrays).items()}

    def put_block(block: str, keras: str, number: int) -> None:
        for kind, keras_kind, leaf, keras_leaf in (
            ("conv", "conv", "weight", "kernel"),
            ("conv", "conv", "bias", "bias"),
            ("norm", "gn", "weight", "gamma"),
            ("norm", "gn", "bias", "beta"),
        ):
            array = arrays[f"{keras}.{keras_kind}{number}.{keras_leaf}"]
            ours[f"{block}.{kind}.{leaf}"] = array
            ours[f"{block}.all_modules.{0 if kind == 'conv' else 1}.{leaf}"] = array

    for number in (1, 2):
        for stage in (1, 2, 3):
            put_block(f"encoder.stages.{stage - 1}.{int(stage > 1)}.convs.{number - 1}", f"enc{stage}", number)
            put_block(f"decoder.stages.{3 - stage}.convs.{number - 1}", f"dec{stage}", number)
        put_block(f"encoder.stages.3.{2 * number - 1}.convs.0", "bott", number)
    # The bottleneck: pooling, block, ASPP, block.
    for stage in (1, 2, 3):
        ours[f"decoder.attentions.{3 - stage}.conv.weight"] = arrays[f"dec{stage}.sam.kernel"]
    ours["decoder.seg_layers.2.weight"], ours["decoder.seg_layers.2.bias"] = arrays["head.kernel"], arrays["head.bias"]
    return ours


def build_full(arrays: Arrays, cls: type[SAUNet] = SAUNet, **norm_op_kwargs: Any) -> SAUNet:
    network = cls(
        input_channels=1,
        n_stages=4,
        features_per_stage=[BASE, 2 * BASE, 4 * BASE, 8 * BASE],
        conv_op=nn.Conv3d,
        kernel_sizes=[[1, 3, 3]] * 3 + [[3, 3, 3]],
        strides=[[1, 1, 1]] + [[1, 2, 2]] * 3,
        n_conv_per_stage=[2] * 4,
        num_classes=3,
        n_conv_per_stage_decoder=[2] * 3,
        norm_op=GroupNorm,
        norm_op_kwargs=norm_op_kwargs,
        nonlin=nn.ReLU,
        attention_kernel=[1, 14, 14],
        rates=[6, 12, 16],
    )
    state = {key: weight(array) for key, array in full_weights(arrays).items()}
    # The heads of deep supervision, which the authors' network does not have and which do nothing here.
    unused = {key: value for key, value in network.state_dict().items() if key.startswith(UNUSED_HEADS)}
    network.load_state_dict(state | unused, strict=True)
    return network


UNUSED_HEADS = ("decoder.seg_layers.0", "decoder.seg_layers.1")


def largest_difference(module: nn.Module, x: torch.Tensor, expected: torch.Tensor) -> float:
    with torch.no_grad():
        return float((module(x) - expected).abs().max())


def build_sam(arrays: Arrays, cls: type[SpatialAttention] = SpatialAttention) -> SpatialAttention:
    sam = cls(nn.Conv3d, [1, 14, 14])
    load(sam, {"conv.weight": arrays["kernel"]})
    return sam


def build_aspp(arrays: Arrays, cls: type[ASPP] = ASPP) -> ASPP:
    aspp = cls(nn.Conv3d, 16, [6, 12, 16], GroupNorm, {}, nn.ReLU)
    load(aspp, aspp_weights(arrays))
    return aspp


# These outputs were computed in float32, so float64 can come no closer than the rounding in them.
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 5e-6)])
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("sam_7x9x3", build_sam),
        ("sam_7x9x3", partial(build_sam, cls=PlainSpatialAttention)),
        ("aspp_8x8x8", build_aspp),
        ("aspp_8x8x8", partial(build_aspp, cls=PlainASPP)),
    ],
)
def test_module_agrees_with_keras(
    golden: Callable[[str], Arrays],
    name: str,
    build: Callable[[Arrays], nn.Module],
    dtype: torch.dtype,
    atol: float,
) -> None:
    arrays = golden(name)
    difference = largest_difference(
        build(arrays).to(dtype), tensor(arrays["input"]).to(dtype), tensor(arrays["output"])
    )
    assert difference < atol


# The logits were computed in float64 and saved in float32: half a unit in the last place of 4 is 2.4e-7.
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 2.5e-7)])
@pytest.mark.parametrize("cls", [SAUNet, PlainSAUNet])
def test_whole_network_agrees_with_keras(
    golden: Callable[[str], Arrays], cls: type[SAUNet], dtype: torch.dtype, atol: float
) -> None:
    arrays = golden("full_n8_48x64x6_io")
    network = build_full(golden("full_n8_weights"), cls).to(dtype)
    assert largest_difference(network, tensor(arrays["input"]).to(dtype), tensor(arrays["logits_f64"])) < atol


def pad_more_before(network: SAUNet) -> None:
    for sam in network.decoder.attentions:
        assert sam.padding == [6, 7, 6, 7, 0, 0]
        sam.padding = [7, 6, 7, 6, 0, 0]


def swap_mean_and_max(network: SAUNet) -> None:
    for sam in network.decoder.attentions:
        sam.conv.weight = nn.Parameter(sam.conv.weight.flip(1))


def concatenate_the_skip_first(network: SAUNet) -> None:
    for stage in network.decoder.stages:
        conv = stage.convs[0].conv
        skip = conv.out_channels
        # The blocks hold their convolution under two names.
        conv.weight.data = torch.cat((conv.weight.data[:, -skip:], conv.weight.data[:, :-skip]), 1)


def attend_to_the_upsampled(network: SAUNet) -> None:
    network.decoder.upsamplings = nn.ModuleList(
        nn.Sequential(up, sam) for up, sam in zip(network.decoder.upsamplings, network.decoder.attentions, strict=True)
    )
    network.decoder.attentions = nn.ModuleList(nn.Identity() for _ in network.decoder.attentions)


def upsample_linearly(network: SAUNet) -> None:
    for up in network.decoder.upsamplings:
        up.mode = "trilinear"


def pool_by_the_mean(network: SAUNet) -> None:
    for stage in network.encoder.stages[1:]:
        stage[0] = nn.AvgPool3d((1, 2, 2))


def put_aspp_last(network: SAUNet) -> None:
    bottleneck = network.encoder.stages[3]
    network.encoder.stages[3] = nn.Sequential(bottleneck[0], bottleneck[1], bottleneck[3], bottleneck[2])


def drop_the_bias_of_a_convolution(network: SAUNet) -> None:
    network.encoder.stages[1][1].convs[1].conv.bias = None


def drop_the_bias_of_the_head(network: SAUNet) -> None:
    network.decoder.seg_layers[-1].bias = None


MISTAKES = [
    pad_more_before,
    swap_mean_and_max,
    concatenate_the_skip_first,
    attend_to_the_upsampled,
    upsample_linearly,
    pool_by_the_mean,
    put_aspp_last,
    drop_the_bias_of_a_convolution,
    drop_the_bias_of_the_head,
]


@pytest.mark.parametrize("break_it", MISTAKES)
def test_comparison_with_keras_notices(golden: Callable[[str], Arrays], break_it: Callable[[SAUNet], None]) -> None:
    arrays = golden("full_n8_48x64x6_io")
    network = build_full(golden("full_n8_weights"))
    break_it(network)
    assert largest_difference(network, tensor(arrays["input"]), tensor(arrays["logits_f64"])) > 1e-3


@pytest.mark.parametrize("change", [{"eps": 1e-5}, {"num_groups": 4}])
def test_comparison_with_keras_notices_another_group_norm(
    golden: Callable[[str], Arrays], change: dict[str, Any]
) -> None:
    arrays = golden("full_n8_48x64x6_io")
    network = build_full(golden("full_n8_weights"), **change)
    assert largest_difference(network, tensor(arrays["input"]), tensor(arrays["logits_f64"])) > 1e-3
