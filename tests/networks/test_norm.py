from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nnunetv2_sa_unet.networks.fast.norm import group_norm
from nnunetv2_sa_unet.networks.norm import GroupNorm

Normalise = Callable[[GroupNorm, torch.Tensor], torch.Tensor]


def in_float64(x: torch.Tensor, norm: GroupNorm) -> torch.Tensor:
    grouped = x.double().reshape(x.shape[0], norm.num_groups, -1)
    normed = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, correction=0, keepdim=True) + norm.eps).sqrt()
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    return normed.reshape(x.shape) * norm.weight.double().reshape(per_channel) + norm.bias.double().reshape(per_channel)


def with_random_affine(norm: GroupNorm) -> GroupNorm:
    torch.manual_seed(0)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    return norm


@pytest.mark.parametrize("shape", [(2, 16, 7, 5), (2, 16, 3, 7, 5), (2, 16, 1, 1, 1)])
def test_values_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    norm = with_random_affine(GroupNorm(16)).double()
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(norm(x), in_float64(x, norm), rtol=0, atol=1e-12)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.to(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


@pytest.mark.parametrize("normalise", [GroupNorm.__call__, group_norm])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 16, 7, 5), (3, 16, 3, 7, 5), (2, 16, 3, 1, 1), (1, 16, 1, 1, 7)])
def test_channels_last_storage_changes_neither_values_nor_gradients(
    shape: tuple[int, ...], affine: bool, normalise: Normalise
) -> None:
    norm = GroupNorm(16, affine=affine).double()
    if affine:
        with_random_affine(norm)
    x, incoming = torch.randn(2, *shape, dtype=torch.float64)
    results = []
    for function, store in ((GroupNorm.__call__, torch.Tensor.contiguous), (normalise, channels_last)):
        norm.zero_grad()
        leaf = x.clone().requires_grad_()
        normed = function(norm, store(leaf))
        before = incoming.clone()
        normed.backward(incoming)
        assert torch.equal(incoming, before)
        results.append([normed.detach(), leaf.grad, *(parameter.grad for parameter in norm.parameters())])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("store", [torch.Tensor.contiguous, channels_last])
def test_fast_norm_overwrites_nothing_that_a_gradient_needs(store: Callable[..., torch.Tensor]) -> None:
    norm = with_random_affine(GroupNorm(16)).double()
    x = store(torch.randn(2, 16, 3, 7, 5, dtype=torch.float64))
    kept, expected = x.clone(memory_format=torch.preserve_format), norm(x)
    torch.testing.assert_close(group_norm(norm, x), expected, rtol=0, atol=1e-12)
    assert torch.equal(x, kept)
    with torch.no_grad():
        torch.testing.assert_close(group_norm(norm, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
def test_gradient_of_the_fast_norm_has_a_gradient(affine: bool) -> None:
    norm = GroupNorm(16, affine=affine).double()
    x = torch.randn(2, 16, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    if affine:
        with_random_affine(norm)
    assert torch.autograd.gradgradcheck(lambda x: group_norm(norm, channels_last(x)), (x,))


def test_gradients_of_the_fast_norm_are_mapped() -> None:
    """As torch.autograd.functional.jacobian(vectorize=True) does."""
    norm = with_random_affine(GroupNorm(16)).double()
    x = torch.randn(2, 16, 2, 3, dtype=torch.float64, requires_grad=True)
    many = torch.randn(5, *x.shape, dtype=torch.float64)
    found = [
        torch.autograd.grad(normed, (x, norm.weight, norm.bias), many, is_grads_batched=True)
        for normed in (group_norm(norm, channels_last(x)), norm(x))
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalise", [GroupNorm.__call__, group_norm])
@pytest.mark.parametrize("mean", [0, 3])
def test_millions_of_channels_last_values_are_normalised_to_rounding(mean: float, normalise: Normalise) -> None:
    norm = with_random_affine(GroupNorm(16))
    x = channels_last(mean + torch.randn(1, 16, 32, 192, 192, generator=torch.Generator().manual_seed(0)))
    expected = in_float64(x, norm)
    with torch.no_grad():
        torch.testing.assert_close(normalise(norm, x).double(), expected, rtol=0, atol=1e-5)


def test_defaults_are_the_papers() -> None:
    norm = GroupNorm(32)
    assert (norm.num_groups, norm.eps) == (8, 1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("affine", [True, False])
def test_autocast_keeps_the_dtype_of_the_input(dtype: torch.dtype, affine: bool) -> None:
    norm = GroupNorm(16, affine=affine)
    x = torch.randn(2, 16, 5, 7)
    with torch.autocast("cpu", dtype):
        assert norm(x.to(dtype)).dtype == dtype
        assert norm(x).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_16_bit_inputs_are_taken_in_float32(dtype: torch.dtype) -> None:
    norm = with_random_affine(GroupNorm(16))
    # A mean of 100 standard deviations: squares and sums in 16 bit would leave nothing of the variance.
    x = (400 + 4 * torch.randn(2, 16, 8, 16, 16)).to(dtype)
    with torch.autocast("cpu", dtype):
        y = norm(x)
    torch.testing.assert_close(y.double(), in_float64(x, norm), rtol=0.01, atol=0.02)


def test_gradients_reach_input_scale_and_shift_under_autocast() -> None:
    norm, plain = (with_random_affine(GroupNorm(16)) for _ in range(2))
    x = torch.randn(2, 16, 6, 6).bfloat16()
    one, other = x.clone().requires_grad_(), x.double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        norm(one).float().square().sum().backward()
    plain.double()(other).square().sum().backward()
    for found, expected in ((one, other), (norm.weight, plain.weight), (norm.bias, plain.bias)):
        torch.testing.assert_close(found.grad.double(), expected.grad, rtol=0.02, atol=0.05 * expected.grad.abs().max())


def test_channels_that_do_not_divide_into_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="num_channels"):
        GroupNorm(12)
