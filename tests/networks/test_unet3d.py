from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.unet3d import UNet3D

# Çiçek et al. 2016, figure 2.
PAPER: dict[str, Any] = {
    "input_channels": 3,
    "n_stages": 4,
    "features_per_stage": [64, 128, 256, 512],
    "conv_op": nn.Conv3d,
    "kernel_sizes": [[3, 3, 3]] * 4,
    "strides": [[1, 1, 1]] + [[2, 2, 2]] * 3,
    "n_conv_per_stage": [2] * 4,
    "num_classes": 3,
    "n_conv_per_stage_decoder": [2] * 3,
    "nonlin": nn.ReLU,
}


def widths(network: nn.Module) -> list[tuple[int, int]]:
    """Channels into and out of every convolution, in the order of computation."""
    order: list[tuple[int, int]] = []
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(
                lambda conv, _inputs, _output: order.append((conv.in_channels, conv.out_channels))
            )
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 8, 8, 8))
    return order


def test_parameters_are_the_papers() -> None:
    # "The architecture has 19069955 parameters in total": its batch norms are not among them.
    network = UNet3D(**PAPER)
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == 19_069_955


def test_channels_double_before_pooling_and_stay_in_the_up_convolutions() -> None:
    assert widths(UNet3D(**PAPER)) == [
        *[(3, 32), (32, 64)],
        *[(64, 64), (64, 128)],
        *[(128, 128), (128, 256)],
        *[(256, 256), (256, 512)],
        *[(512, 512), (512 + 256, 256), (256, 256)],
        *[(256, 256), (256 + 128, 128), (128, 128)],
        *[(128, 128), (128 + 64, 64), (64, 64)],
        (64, 3),
    ]


def test_channels_that_no_longer_grow_are_never_halved() -> None:
    network = UNet3D(**PAPER | {"features_per_stage": [16, 32, 40, 40], "norm_op": nn.BatchNorm3d})
    assert widths(network)[:8] == [(3, 8), (8, 16), (16, 16), (16, 32), (32, 32), (32, 40), (40, 40), (40, 40)]


@pytest.mark.parametrize("n_convs", [1, 3])
def test_the_last_convolution_of_a_stage_doubles(n_convs: int) -> None:
    network = UNet3D(**PAPER | {"features_per_stage": [4, 8, 16, 32], "n_conv_per_stage": [n_convs] * 4})
    last = [stage[-1].convs[-1].conv.out_channels for stage in network.encoder.stages]
    assert last == [4, 8, 16, 32]
    assert [len(stage[-1].convs) for stage in network.encoder.stages] == [n_convs] * 4
    assert n_convs == 1 or network.encoder.stages[1][-1].convs[1].conv.out_channels == 4


def test_up_convolutions_have_neither_bias_nor_norm() -> None:
    network = UNet3D(**PAPER | {"features_per_stage": [4, 8, 16, 32], "norm_op": nn.BatchNorm3d})
    for up in network.decoder.upsamplings:
        assert isinstance(up, nn.ConvTranspose3d)
        assert up.bias is None
        assert up.kernel_size == up.stride == (2, 2, 2)
