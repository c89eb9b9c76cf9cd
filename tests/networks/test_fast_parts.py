"""Each faster formulation against the plain operations that it replaces, in float64, gradients included."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast.blocks import apply
from nnunetv2_sa_unet.networks.fast.convolution import (
    convolve,
    convolve_by_phases,
    convolve_upsampled,
    without_idle_taps,
)
from nnunetv2_sa_unet.networks.fast.storage import channels_last
from nnunetv2_sa_unet.networks.norm import GroupNorm

Function = Callable[..., torch.Tensor]


def tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def assert_equal(one: Function, other: Function, *inputs: torch.Tensor) -> None:
    """Compare values and the gradients of all inputs; the gradient that comes in differs from value to value."""
    results = []
    for function in (one, other):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        output = function(*leaves)
        (incoming,) = tensors(tuple(output.shape))
        output.backward(incoming)
        results.append([output.detach(), *(leaf.grad for leaf in leaves)])
    assert_close(*results)


def assert_module_equal(module: nn.Module, store: Function, x: torch.Tensor) -> None:
    """Compare a module with its faster formulation, the gradients of its parameters included."""
    results = []
    for function in (lambda x: apply(module, store(x)), module):
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        output = function(leaf)
        (incoming,) = tensors(tuple(output.shape))
        output.backward(incoming)
        results.append([output.detach(), leaf.grad, *(parameter.grad for parameter in module.parameters())])
    assert_close(*results)


def assert_close(all_found: list[torch.Tensor], all_expected: list[torch.Tensor]) -> None:
    for found, expected in zip(all_found, all_expected, strict=True):
        scale = max(1, float(expected.abs().max()))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * scale)


STORAGES = pytest.mark.parametrize("store", [torch.Tensor.contiguous, channels_last])
# Odd, even, one voxel wide, flat.
VOLUMES = [(3, 7, 6), (1, 5, 8), (4, 1, 9), (2, 6, 1), (1, 1, 1)]


@STORAGES
@pytest.mark.parametrize("size", VOLUMES)
@pytest.mark.parametrize("kernel", [(1, 3, 3), (1, 1, 1), (3, 3, 3), (1, 5, 3)])
@pytest.mark.parametrize("channels", [1, 4])
def test_convolution_plane_by_plane(
    store: Function, size: tuple[int, ...], kernel: tuple[int, ...], channels: int
) -> None:
    padding = tuple(extent // 2 for extent in kernel)
    x, weight, bias = tensors((2, channels, *size), (3, channels, *kernel), (3,))
    assert_equal(
        lambda x, *parameters: convolve(store(x), *parameters, padding),
        lambda x, *parameters: functional.conv3d(x, *parameters, padding=padding),
        *(x, weight, bias),
    )


# Extents below, at and above the dilation.
@STORAGES
@pytest.mark.parametrize("size", [*VOLUMES, (4, 3, 13), (6, 7, 5)])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3, 3), 3), ((1, 3, 3), 3), ((3, 1, 1), 2), ((3, 3, 3), 1)])
def test_idle_taps_are_left_out(store: Function, size: tuple[int, ...], kernel: tuple[int, ...], dilation: int) -> None:
    padding = tuple(dilation * (extent // 2) for extent in kernel)
    x, weight = tensors((2, 4, *size), (3, 4, *kernel))

    def trimmed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        remaining, needed = without_idle_taps(weight, padding, (dilation,) * 3, size)
        for axis, extent in enumerate(size):
            assert remaining.shape[axis + 2] == (1 if dilation >= extent else kernel[axis])
        return convolve(store(x), remaining, None, needed, (dilation,) * 3)

    assert_equal(trimmed, lambda x, weight: functional.conv3d(x, weight, padding=padding, dilation=dilation), x, weight)


@pytest.mark.parametrize("padding", [0, 2, 4])
def test_taps_are_kept_where_padding_is_not_that_of_the_dilation(padding: int) -> None:
    (weight,) = tensors((3, 4, 3, 3))
    remaining, needed = without_idle_taps(weight, (padding, 3), (3, 3), (3, 9))
    assert remaining.shape == weight.shape
    assert needed == (padding, 3)


@STORAGES
@pytest.mark.parametrize("size", VOLUMES)
@pytest.mark.parametrize(
    ("kernel", "factors"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((1, 3, 3), (2, 2, 2)),
        ((1, 5, 1), (1, 3, 2)),
    ],
)
def test_convolution_of_an_upsampled_map(
    store: Function, size: tuple[int, ...], kernel: tuple[int, ...], factors: tuple[int, ...]
) -> None:
    padding = tuple(extent // 2 for extent in kernel)
    upsample = nn.Upsample(scale_factor=tuple(map(float, factors)), mode="nearest")
    x, weight, bias = tensors((2, 4, *size), (3, 4, *kernel), (3,))
    assert_equal(
        lambda x, *parameters: convolve_upsampled(store(x), *parameters, factors),
        lambda x, *parameters: functional.conv3d(upsample(x), *parameters, padding=padding),
        *(x, weight, bias),
    )


@STORAGES
@pytest.mark.parametrize("size", [(7, 6), (1, 5)])
def test_convolution_of_an_upsampled_image(store: Function, size: tuple[int, ...]) -> None:
    upsample = nn.Upsample(scale_factor=(2.0, 2.0), mode="nearest")
    x, weight, bias = tensors((2, 4, *size), (3, 4, 3, 3), (3,))
    assert_equal(
        lambda x, *parameters: convolve_upsampled(store(x), *parameters, (2, 2)),
        lambda x, *parameters: functional.conv2d(upsample(x), *parameters, padding=1),
        *(x, weight, bias),
    )


@pytest.mark.parametrize("size", [(20, 17), (16, 16), (3, 30), (1, 1), (13, 1)])
@pytest.mark.parametrize("kernel", [(14, 14), (8, 9), (13, 16)])
def test_convolution_by_phases(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    before = [(extent - 1) // 2 for extent in kernel]
    padding = [side for extent in reversed(kernel) for side in ((extent - 1) // 2, extent // 2)]
    x, weight = tensors((2, 2, *size), (1, 2, *kernel))
    assert_equal(
        lambda x, weight: convolve_by_phases(x, weight, before),
        lambda x, weight: functional.conv2d(functional.pad(x, padding), weight),
        *(x, weight),
    )


@STORAGES
@pytest.mark.parametrize(
    ("conv_op", "kernel"), [(nn.Conv3d, [1, 14, 14]), (nn.Conv3d, [3, 9, 9]), (nn.Conv2d, [14, 7])]
)
def test_spatial_attention(store: Function, conv_op: type[nn.Module], kernel: list[int]) -> None:
    module = SpatialAttention(conv_op, kernel).double()
    (x,) = tensors((2, 5, 3, 9, 18)[: len(kernel) + 2])
    x = x.relu()  # as in the networks: many channels share the maximum 0
    assert_module_equal(module, store, x)


@STORAGES
@pytest.mark.parametrize("size", [(5, 6, 7), (2, 12, 13), (1, 3, 9)])
def test_pyramid_pooling(store: Function, size: tuple[int, ...]) -> None:
    module = ASPP(nn.Conv3d, 8, [1, 5, 6, 12], GroupNorm, None, nn.ReLU).double()
    assert_module_equal(module, store, *tensors((2, 8, *size)))


@STORAGES
@pytest.mark.parametrize("size", [(3, 7, 6), (1, 2, 9)])
def test_pooling_plane_by_plane(store: Function, size: tuple[int, ...]) -> None:
    (x,) = tensors((2, 3, *size))
    pool = nn.MaxPool3d((1, 2, 2), (1, 2, 2))
    assert_equal(lambda x: apply(pool, store(x)), pool, x)


@pytest.mark.parametrize("n_axes", [2, 3])
def test_channels_last_storage_shows_in_the_strides_of_a_single_channel(n_axes: int) -> None:
    for samples, channels in itertools.product((1, 2), repeat=2):
        x = torch.randn(samples, channels, *(4, 5, 6)[-n_axes:])
        stored = channels_last(x)
        assert stored.stride(1) == 1
        assert torch.equal(stored, x)
