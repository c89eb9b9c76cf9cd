"""SAUNet against the formulation of the paper: the same parameters give the same logits and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

NAMES = ("SAUNet", "SAUNet-2d", "SAUNet-no-ASPP", "SAUNet-no-SAM", "SAUNet-backbone-2d", "SAUNet-BN-mixed-strides")
PLANNED = {"kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}


def results(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Logits at all resolutions, then the gradients of the input and of all parameters."""
    x = x.clone().requires_grad_()
    logits = network(x)
    generator = torch.Generator().manual_seed(2)
    sum((scale * torch.randn(scale.shape, generator=generator, dtype=x.dtype)).sum() for scale in logits).backward()
    return [*(scale.detach() for scale in logits), x.grad, *(parameter.grad for parameter in network.parameters())]


def assert_equal(found: list[torch.Tensor], expected: list[torch.Tensor], atol: float) -> None:
    for one, other in zip(found, expected, strict=True):
        scale = max(1, float(other.abs().max()))
        torch.testing.assert_close(one, other, rtol=0, atol=atol * scale)


def as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.to(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def every_other(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, -1)[..., ::2]


@pytest.mark.parametrize("store", [as_it_is, channels_last, every_other])
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_the_plain_ones(
    networks: dict[str, Any], name: str, store: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    fast = networks[name].build(deep_supervision=True).double()
    plain = networks[name].plain().build(deep_supervision=True).double()
    plain.load_state_dict(fast.state_dict(), strict=True)
    x = networks[name].input().double()
    assert_equal(results(fast, store(x)), results(plain, x), 1e-12)


@pytest.mark.parametrize("size", [(6, 20, 28), (2, 4, 12)])
@pytest.mark.parametrize("changes", [{}, PLANNED, {"rates": [6, 12, 16]}, {"nonlin_kwargs": None}])
def test_other_sizes_kernels_strides_and_rates(
    networks: dict[str, Any], size: tuple[int, ...], changes: dict[str, Any]
) -> None:
    fast = networks["SAUNet"].build(deep_supervision=True, **changes).double()
    plain = networks["SAUNet"].plain().build(deep_supervision=True, **changes).double()
    x = torch.randn(1, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert_equal(results(fast, x), results(plain, x), 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_interchange_both_ways(networks: dict[str, Any], name: str) -> None:
    fast, plain = networks[name].build(), networks[name].plain().build()
    assert list(fast.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(fast.state_dict(), strict=True)
    fast.load_state_dict(plain.state_dict(), strict=True)


def test_float32_differs_by_rounding_alone(networks: dict[str, Any]) -> None:
    fast, plain = networks["SAUNet"].build().eval(), networks["SAUNet"].plain().build().eval()
    x = networks["SAUNet"].input()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=2e-5)


def test_neither_input_nor_features_are_overwritten(networks: dict[str, Any]) -> None:
    """Without gradients the networks compute in place, but only in memory that nobody else can see."""
    built = networks["SAUNet"].build().eval()
    for x in (networks["SAUNet"].input(), channels_last(networks["SAUNet"].input())):
        with torch.no_grad():
            features = built.encoder(x)
            before = [each.clone() for each in (x, *features)]
            first = built.decoder(features)
            second = built.decoder(features)
        assert torch.equal(first, second)
        assert all(map(torch.equal, (x, *features), before))


def test_logits_without_gradients_are_those_with_them(networks: dict[str, Any]) -> None:
    built, x = networks["SAUNet"].build().double(), networks["SAUNet"].input().double()
    with torch.inference_mode():
        found = built(x)
    torch.testing.assert_close(found, built(x).detach(), rtol=0, atol=1e-12)


def test_gradients_under_autocast_are_as_near_to_float32_as_the_plain_ones(networks: dict[str, Any]) -> None:
    x = networks["SAUNet"].input()
    fast = networks["SAUNet"].build(deep_supervision=True)
    plain = networks["SAUNet"].plain().build(deep_supervision=True)
    expected = results(plain, x)
    plain.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        all_found, all_plain = results(fast, x), results(plain, x)
    for found, in_plain, exact in zip(all_found, all_plain, expected, strict=True):
        assert (found.float() - exact).norm() < 2 * (in_plain.float() - exact).norm() + 0.02 * exact.norm()


def test_logits_have_torchs_usual_storage(networks: dict[str, Any]) -> None:
    built = networks["SAUNet"].build(deep_supervision=True)
    assert all(scale.is_contiguous() for scale in built(networks["SAUNet"].input()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cuda_agrees_with_the_cpu_on_large_flat_maps(networks: dict[str, Any], dtype: torch.dtype) -> None:
    """cuDNN 9.10.2 gives wrong bf16 results for large convolutions of 1×3×3."""
    built = networks["SAUNet"].build(features_per_stage=[24, 48, 96]).eval()
    x = torch.randn(1, 2, 32, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = built(x)
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            found = built.cuda()(x.cuda()).float().cpu()
    scale = float(expected.abs().max())
    # TF32, which torch allows in convolutions, and 16 bit keep three digits or fewer.
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * scale)
    assert float((found - expected).abs().mean()) < 0.005 * scale
