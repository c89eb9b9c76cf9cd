"""Agreement with the authors' network, computed in Keras.

The attention and ASPP are compared with the files in ``data``, which its README describes; the whole network with
larger ones in ``golden`` of the shared folder. Tensors are (N, y, x, z, C), kernels (y, x, z, C_in, C_out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast import sa_unet
from nnunetv2_sa_unet.networks.fast.blocks import apply
from nnunetv2_sa_unet.networks.fast.storage import channels_last
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.sa_unet import SAUNet
from nnunetv2_sa_unet.networks.unet import UNet

Arrays = Mapping[str, Any]
Forward = Callable[[Any, torch.Tensor], Any]
BASE = 8
DATA = Path(__file__).with_name("data")


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


def build_full(arrays: Arrays, **norm_op_kwargs: Any) -> SAUNet:
    network = SAUNet(
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


def largest_difference(
    module: nn.Module, x: torch.Tensor, expected: torch.Tensor, forward: Forward = nn.Module.__call__
) -> float:
    with torch.no_grad():
        return float((forward(module, x) - expected).abs().max())


def by_plain_modules(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = module(x)
    return result


def by_faster_formulations(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return apply(module, channels_last(x))


FORMULATIONS = pytest.mark.parametrize("forward", [by_plain_modules, by_faster_formulations])
# These outputs were computed in float32, so float64 can come no closer than the rounding in them.
FLOAT32 = pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 5e-6)])


@FLOAT32
@FORMULATIONS
def test_attention_agrees_with_keras(forward: Forward, dtype: torch.dtype, atol: float) -> None:
    with np.load(DATA / "keras_sam.npz") as arrays:
        sam = SpatialAttention(nn.Conv3d, [1, 14, 14])
        load(sam, {"conv.weight": arrays["kernel"]})
        x, expected = tensor(arrays["input"]).to(dtype), tensor(arrays["output"]).to(dtype)
    assert largest_difference(sam.to(dtype), x, expected, forward) < atol


@FLOAT32
@FORMULATIONS
def test_aspp_agrees_with_keras(forward: Forward, dtype: torch.dtype, atol: float) -> None:
    with np.load(DATA / "keras_aspp.npz") as arrays:
        weights = {key: np.asarray(array) for key, array in aspp_weights(arrays).items()}
        x, expected = tensor(arrays["input"]).to(dtype), tensor(arrays["output"]).to(dtype)
    for branch in ("convs.2", "convs.3"):
        centre = weights[f"{branch}.0.weight"]
        weights[f"{branch}.0.weight"] = np.pad(centre, [(1, 1)] * 3 + [(0, 0)] * 2)
    aspp = ASPP(nn.Conv3d, 16, [6, 12, 16], GroupNorm, {}, nn.ReLU)
    load(aspp, weights)

    def of_some_voxels(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return forward(module, x)[:, :, ::3, ::2, 1::2]

    assert largest_difference(aspp.to(dtype), x, expected, of_some_voxels) < atol


# The logits were computed in float64 and saved in float32: half a unit in the last place of 4 is 2.4e-7.
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 2.5e-7)])
@pytest.mark.parametrize("forward", [UNet.forward, sa_unet])
def test_whole_network_agrees_with_keras(
    golden: Callable[[str], Arrays], forward: Forward, dtype: torch.dtype, atol: float
) -> None:
    arrays = golden("full_n8_48x64x6_io")
    network = build_full(golden("full_n8_weights")).to(dtype)
    x, expected = tensor(arrays["input"]).to(dtype), tensor(arrays["logits_f64"])
    assert largest_difference(network, x, expected, forward) < atol


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
