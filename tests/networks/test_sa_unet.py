from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.sa_unet import SAUNet

FLAT = {"kernel_sizes": [[1, 3, 3]] * 3 + [[3, 3, 3]], "strides": [[1, 1, 1]] + [[1, 2, 2]] * 3}
CUBIC = {"kernel_sizes": [[3, 3, 3]] * 4, "strides": [[1, 1, 1]] + [[2, 2, 2]] * 3}
BN, GN = {"norm_op": nn.BatchNorm3d}, {"norm_op": GroupNorm}
SAM, ASPP = {"attention_kernel": [1, 14, 14]}, {"rates": [6, 12, 16]}


def build(**kwargs: Any) -> SAUNet:
    """The paper's width and depth; what table 1 varies is left to the caller."""
    return SAUNet(
        **{
            "input_channels": 1,
            "n_stages": 4,
            "features_per_stage": [24, 48, 96, 192],
            "conv_op": nn.Conv3d,
            "n_conv_per_stage": [2] * 4,
            "num_classes": 3,
            "n_conv_per_stage_decoder": [2] * 3,
            "nonlin": nn.ReLU,
        }
        | kwargs
    )


def trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


TABLE_1 = [
    pytest.param(CUBIC | BN, 3_285_363, id="backbone (3,3,3) (2,2,2)"),
    pytest.param(FLAT | BN, 2_092_611, id="backbone (3,3,1) (2,2,1)"),
    pytest.param(FLAT | GN, 2_092_611, id="backbone* GN"),
    pytest.param(FLAT | GN | ASPP, 5_339_139, id="backbone* GN + ASPP"),
    pytest.param(FLAT | GN | SAM, 2_093_787, id="backbone* GN + SAM"),
    pytest.param(FLAT | GN | SAM | ASPP, 5_340_315, id="3D SA-UNet"),
]


@pytest.mark.parametrize(("kwargs", "parameters"), TABLE_1)
def test_trainable_parameters_of_table_1(kwargs: dict[str, Any], parameters: int) -> None:
    assert trainable(build(**kwargs)) == parameters
    assert trainable(build(**kwargs, deep_supervision=True)) == parameters + 438


def test_trainable_parameters_of_each_part() -> None:
    network = build(**FLAT, **GN, **SAM, **ASPP)
    assert [trainable(stage) for stage in network.encoder.stages[:3]] == [5_544, 31_392, 124_992]
    assert [trainable(part) for part in network.encoder.stages[3]] == [0, 498_240, 3_246_528, 995_904]
    assert [trainable(stage) for stage in network.decoder.stages] == [332_352, 83_232, 20_880]
    assert [trainable(attention) for attention in network.decoder.attentions] == [392] * 3
    assert trainable(network.decoder.seg_layers[-1]) == 75


def test_aspp_in_a_bottleneck_of_one_convolution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n_conv_per_stage ends with 1, but ASPP stands between two convolutions"):
        build(**FLAT, **GN, **ASPP, n_conv_per_stage=[2, 2, 2, 1])


def test_attention_kernel_with_a_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="attention_kernel"):
        build(**FLAT, **GN, attention_kernel=[14, 14])


def test_convolutions_of_the_decoder_are_counted_from_the_deepest_step() -> None:
    network = build(**FLAT, **GN, n_conv_per_stage_decoder=[3, 2, 1])
    assert [len(stage.convs) for stage in network.decoder.stages] == [3, 2, 1]


def test_dropout_stands_in_every_block_that_convolves() -> None:
    network = build(**FLAT, **GN, dropout_op=nn.Dropout3d, dropout_op_kwargs={"p": 0.5})
    assert sum(isinstance(module, nn.Dropout3d) for module in network.modules()) == 14
    torch.manual_seed(0)
    x = torch.randn(1, 1, 2, 16, 16)
    assert not torch.equal(network(x), network(x))
