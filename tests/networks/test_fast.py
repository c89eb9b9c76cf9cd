"""The faster formulations against the plain modules: the same parameters give the same logits and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.unet import UNet

PLANNED = {"kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}
Forward = Callable[[UNet, torch.Tensor], Any]


def results(forward: Forward, network: UNet, x: torch.Tensor) -> list[torch.Tensor]:
    """Logits at all resolutions, then the gradients of the input and of all parameters that have one."""
    network.zero_grad()
    x = x.detach().requires_grad_()
    logits = forward(network, x)
    logits = logits if isinstance(logits, list) else [logits]
    generator = torch.Generator().manual_seed(2)
    sum((scale * torch.randn(scale.shape, generator=generator, dtype=x.dtype)).sum() for scale in logits).backward()
    parameters = [parameter.grad for parameter in network.parameters() if parameter.requires_grad]
    return [*(scale.detach() for scale in logits), x.grad, *parameters]


def assert_fast_equals_plain(network: UNet, x: torch.Tensor, atol: float = 1e-12) -> None:
    assert fast.why_not_fast(network, x) is None
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = results(fast.sa_unet, network, x)
    buffers_of_fast = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.load_state_dict(buffers, strict=False)
    assert_equal(found, results(UNet.forward, network, x), atol)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffers_of_fast[name], buffer, rtol=0, atol=atol)


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
def test_logits_and_gradients_are_the_plain_ones(
    sa_unet_variant: Any, store: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    network = sa_unet_variant.build(deep_supervision=True).double()
    assert_fast_equals_plain(network, store(sa_unet_variant.input().double()))


def test_one_output_and_its_gradients_are_the_plain_ones(sa_unet_variant: Any) -> None:
    network = sa_unet_variant.build(deep_supervision=False).double()
    assert_fast_equals_plain(network, sa_unet_variant.input().double())


def test_statistics_of_batches_are_used_as_in_the_plain_network(sa_unet_variant: Any) -> None:
    network = sa_unet_variant.build(deep_supervision=True).double()
    network(sa_unet_variant.input().double())
    assert_fast_equals_plain(network.eval(), sa_unet_variant.input().double())


@pytest.mark.parametrize("size", [(6, 20, 28), (5, 4, 12), (3, 36, 4), (1, 20, 12)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        PLANNED,
        {"rates": [6, 12, 16]},
        {"nonlin_kwargs": None},
        {"conv_bias": False},
        {"norm_op": None, "norm_op_kwargs": None},
        {"norm_op_kwargs": {"affine": False}},
        {"nonlin": None, "nonlin_kwargs": None},
        {"attention_kernel": [3, 5, 4]},
        {"n_conv_per_stage_decoder": [1, 3]},
        {"dropout_op": torch.nn.Dropout3d, "dropout_op_kwargs": {"p": 0.0}},
    ],
)
def test_other_sizes_kernels_strides_and_rates(
    networks: dict[str, Any], size: tuple[int, ...], changes: dict[str, Any]
) -> None:
    network = networks["SAUNet"].build(deep_supervision=True, **changes).double()
    if changes is PLANNED:  # which halves z
        size = (2 * size[0], *size[1:])
    x = torch.randn(1, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert_fast_equals_plain(network, x)


def test_float32_differs_by_rounding_alone(networks: dict[str, Any]) -> None:
    network, x = networks["SAUNet"].build().eval(), networks["SAUNet"].input()
    assert fast.why_not_fast(network, x) is None
    with torch.no_grad():
        torch.testing.assert_close(network(x), UNet.forward(network, x), rtol=0, atol=2e-5)


def test_neither_input_nor_parameters_are_overwritten(sa_unet_variant: Any) -> None:
    """Without gradients the network computes in place, but only in memory that nobody else can see."""
    network = sa_unet_variant.build().eval()
    for x in (sa_unet_variant.input(), channels_last(sa_unet_variant.input())):
        before = [each.clone() for each in (x, *network.state_dict().values())]
        with torch.no_grad():
            assert torch.equal(network(x), network(x))
        assert all(map(torch.equal, (x, *network.state_dict().values()), before))


def test_logits_without_gradients_are_those_with_them(sa_unet_variant: Any) -> None:
    network, x = sa_unet_variant.build().eval().double(), sa_unet_variant.input().double()
    with torch.inference_mode():
        found = network(x)
    torch.testing.assert_close(found, network(x).detach(), rtol=0, atol=1e-12)


def test_gradients_under_autocast_are_as_near_to_float32_as_the_plain_ones(networks: dict[str, Any]) -> None:
    x = networks["SAUNet"].input()
    network = networks["SAUNet"].build(deep_supervision=True)
    expected = results(UNet.forward, network, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert fast.why_not_fast(network, x) is None
        all_found, all_plain = (results(forward, network, x) for forward in (fast.sa_unet, UNet.forward))
    for found, in_plain, exact in zip(all_found, all_plain, expected, strict=True):
        assert (found.float() - exact).norm() < 2 * (in_plain.float() - exact).norm() + 0.02 * exact.norm()


def test_gradients_are_stored_like_their_parameters(networks: dict[str, Any]) -> None:
    """As optimizers, checkpoints and DistributedDataParallel know them, whatever the storage of the maps."""
    network = networks["SAUNet"].build(deep_supervision=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(networks["SAUNet"].input())
    torch.autograd.backward(logits, [torch.ones_like(scale) for scale in logits])
    for parameter in network.parameters():
        assert parameter.grad.stride() == parameter.stride() == torch.empty(parameter.shape).stride()


def test_logits_have_torchs_usual_storage(networks: dict[str, Any]) -> None:
    network = networks["SAUNet"].build(deep_supervision=True)
    assert all(scale.is_contiguous() for scale in network(networks["SAUNet"].input()))


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
