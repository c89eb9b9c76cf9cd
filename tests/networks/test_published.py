"""The systems of other papers: their sizes, and what makes each of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.dropblock import DropBlock
from nnunetv2_sa_unet.networks.li2018 import Li2018
from nnunetv2_sa_unet.networks.sa_unet_2d import SAUNet2D
from nnunetv2_sa_unet.networks.truenet import TrUENet
from nnunetv2_sa_unet.networks.unet import UNet, up_convolution
from nnunetv2_sa_unet.networks.uresnet import UResNet


def original(cls: type[UNet], channels: int, classes: int, widths: list[int], **kwargs: Any) -> UNet:
    """Build with the channels and outputs of the paper's own data."""
    n_axes, depth = kwargs.pop("n_axes", 2), len(widths)
    n_convs = kwargs.pop("n_convs", 2)
    return cls(
        **{
            "input_channels": channels,
            "num_classes": classes,
            "n_stages": depth,
            "features_per_stage": widths,
            "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[n_axes],
            "kernel_sizes": [[3] * n_axes] * depth,
            "strides": [[1] * n_axes] + [[2] * n_axes] * (depth - 1),
            "n_conv_per_stage": [n_convs] * depth,
            "n_conv_per_stage_decoder": [n_convs] * (depth - 1),
            "norm_op": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[n_axes],
            "nonlin": nn.ReLU,
        }
        | kwargs
    )


def trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


FIRST_KERNELS = [[1, 3, 3], [5, 1, 5], [5, 5, 1]]
DROP = {"dropout_op": DropBlock, "dropout_op_kwargs": {"p": 0.1, "block_size": 7}}


def test_the_winners_parameters_are_those_of_the_code_but_for_one_kernel_and_the_norm() -> None:
    kernels = [[5, 5]] + [[3, 3]] * 4
    network = original(Li2018, 2, 1, [64, 96, 128, 256, 512], kernel_sizes=kernels, norm_op=None)

    # The second convolution of the fourth stage is 4×4 in the code.
    assert trained(network) == 8_742_209 - (16 - 9) * 256 * 256 == 8_283_457
    sizes = {tuple(conv.kernel_size) for conv in network.modules() if isinstance(conv, nn.Conv2d)}
    assert sizes == {(5, 5), (3, 3), (1, 1)}
    large = [conv for conv in network.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (5, 5)]
    assert [conv.in_channels for conv in large] == [2, 64]


def test_sa_unet_has_the_parameters_that_keras_counts() -> None:
    network = original(SAUNet2D, 3, 1, [16, 32, 64, 128], attention_kernel=[7, 7], **DROP)
    statistics = sum(value.numel() for name, value in network.named_buffers() if "running" in name)

    assert trained(network) + statistics == 538_707
    # One DropBlock for each of the 14 convolutions with a norm, and one attention in all.
    assert sum(isinstance(module, DropBlock) for module in network.modules()) == 14
    (attention,) = (name for name, module in network.named_modules() if isinstance(module, SpatialAttention))
    assert attention == "encoder.stages.3.2"


def test_sa_unet_needs_two_convolutions_around_its_attention() -> None:
    with pytest.raises(ValueError, match="n_conv_per_stage ends with 1, but the attention stands between two"):
        original(SAUNet2D, 1, 2, [4, 8, 8], attention_kernel=[7, 7], n_convs=1)


def test_uresnet_has_twelve_layers_of_a_million_parameters() -> None:
    network = original(UResNet, 1, 3, [32, 64, 128, 256], n_convs=1)

    assert trained(network) == 1_080_963
    kinds = [type(module).__name__ for module in network.modules()]
    assert kinds.count("ResidualElement") == 8
    assert kinds.count("ConvTranspose2d") == 3
    channels = [
        (module.conv.in_channels, module.conv.out_channels)
        for module in network.decoder.modules()
        if type(module).__name__ == "ResidualElement"
    ]
    assert sorted(channels) == [(32, 32), (64, 64), (128, 64), (128, 128)]


def test_uresnet_adds_its_skip_connections() -> None:
    decoder = original(UResNet, 1, 2, [4, 4, 4], n_convs=1).decoder
    one, other = torch.randn(2, 1, 4, 6, 6)

    torch.testing.assert_close(decoder.merge(one, other), one + other)


def test_truenets_planes_have_the_parameters_of_the_authors() -> None:
    network = original(TrUENet, 2, 2, [64, 128, 256, 512], n_axes=3, first_kernels=FIRST_KERNELS)
    planes = zip(network.encoder.planes, network.decoder.planes, strict=True)

    assert [trained(encoder) + trained(decoder) for encoder, decoder in planes] == [8_563_211, 8_631_819, 8_631_819]


def test_no_plane_looks_across_its_slices() -> None:
    network = original(TrUENet, 1, 2, [4, 8, 8], n_axes=3, first_kernels=FIRST_KERNELS).eval()
    x = torch.randn(1, 1, 8, 8, 8)
    for plane, (encoder, decoder) in enumerate(zip(network.encoder.planes, network.decoder.planes, strict=True)):
        changed = x.clone()
        changed.select(plane + 2, 3).add_(1)
        moved = (decoder(encoder(changed)) - decoder(encoder(x))).abs().amax((0, 1)) > 0
        slices = moved.movedim(plane, 0).flatten(1).any(1)
        assert slices.nonzero().flatten().tolist() == [3]


def test_truenet_averages_the_logits_of_its_planes() -> None:
    network = original(TrUENet, 1, 2, [4, 8, 8], n_axes=3, first_kernels=FIRST_KERNELS, deep_supervision=True).eval()
    x = torch.randn(1, 1, 8, 8, 16)
    planes = [d(e(x)) for e, d in zip(network.encoder.planes, network.decoder.planes, strict=True)]
    full, half = network(x)

    torch.testing.assert_close(full, sum(logits[0] for logits in planes) / 3)
    # The axial map has all slices and half the rows and columns; two slices become one.
    axial, coronal, sagittal = (logits[1] for logits in planes)
    assert [tuple(each.shape[2:]) for each in (axial, coronal, sagittal)] == [(8, 4, 8), (4, 8, 8), (4, 4, 16)]
    shared = (axial[:, :, ::2] + axial[:, :, 1::2]) / 2
    shared = shared + (coronal[:, :, :, ::2] + coronal[:, :, :, 1::2]) / 2
    shared = shared + (sagittal[..., ::2] + sagittal[..., 1::2]) / 2
    torch.testing.assert_close(half, shared / 3)


def test_truenet_is_for_volumes() -> None:
    with pytest.raises(ValueError, match="conv_op is Conv2d, expected Conv3d: a slice has no three planes"):
        original(TrUENet, 1, 2, [4, 8, 8], first_kernels=[[3, 3]] * 3)


@pytest.mark.parametrize(
    ("conv_op", "kernel", "stride", "size"),
    [
        (nn.Conv2d, (3, 3), (2, 2), (5, 6)),
        (nn.Conv3d, (3, 1, 3), (2, 1, 2), (3, 4, 5)),
        (nn.Conv3d, (3, 3, 3), (1, 2, 2), (3, 4, 5)),
    ],
)
def test_an_up_convolution_gives_the_size_before_the_stride(
    conv_op: Any, kernel: tuple[int, ...], stride: tuple[int, ...], size: tuple[int, ...]
) -> None:
    out = up_convolution(conv_op, 2, 3, kernel, stride)(torch.zeros(1, 2, *size))

    assert tuple(out.shape) == (1, 3, *(extent * step for extent, step in zip(size, stride, strict=True)))
