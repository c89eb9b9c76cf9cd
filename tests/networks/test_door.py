"""The one door to the faster formulations: it closes for each reason, and the plain modules run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.fast import observers
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.sa_unet import SAUNet
from nnunetv2_sa_unet.networks.unet import UNet


@pytest.fixture
def network(networks: dict[str, Any]) -> SAUNet:
    built: SAUNet = networks["SAUNet"].build()
    return built


@pytest.fixture
def x(networks: dict[str, Any]) -> torch.Tensor:
    images: torch.Tensor = networks["SAUNet"].input()
    return images


def test_every_variant_passes_or_is_told_why_not(variant: Any) -> None:
    built = variant.build()
    reason = fast.why_not_fast(built, variant.input())
    assert (reason is None) == (variant.cls is SAUNet), reason


def test_looking_at_all_modules_takes_less_than_a_millisecond(networks: dict[str, Any]) -> None:
    """At the paper's depth, in the best of some tries."""
    name = "SAUNet-BN-mixed-strides"
    built, images = networks[name].build(), networks[name].input()
    durations = []
    for _ in range(20):
        start = perf_counter()
        assert fast.why_not_fast(built, images) is None
        durations.append(perf_counter() - start)
    assert min(durations) < 1e-3


def test_sa_unet_goes_through_the_door(network: SAUNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(fast, "sa_unet", lambda *_: called.append("fast") or x)
    monkeypatch.setattr(UNet, "forward", lambda *_: called.append("plain") or x)
    network(x)
    network.encoder.register_forward_hook(lambda *_: None)
    network(x)
    assert called == ["fast", "plain"]


def first_conv(network: UNet) -> Any:
    return network.decoder.stages[0].convs[0].all_modules[0]


class Adapter(nn.Module):
    """Any wrapper around a module."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.wrapped = wrapped

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrapped(x)


class OtherConv(nn.Conv3d):
    pass


class OtherParameter(nn.Parameter):
    pass


def wrap(network: UNet) -> None:
    network.decoder.stages[0].convs[0].all_modules[0] = Adapter(first_conv(network))


def wrap_under_the_other_name(network: UNet) -> None:
    network.decoder.stages[0].convs[0].conv = Adapter(first_conv(network))


def become_a_subclass(network: UNet) -> None:
    network.__class__ = type("Other", (SAUNet,), {})


def hold_a_subclass(network: UNet) -> None:
    first_conv(network).__class__ = OtherConv


def hold_another_module(network: UNet) -> None:
    network.extra = nn.Identity()


def replace_forward(network: UNet) -> None:
    first_conv(network).forward = lambda x: x


def replace_a_method(network: UNet) -> None:
    network.decoder.attend = lambda attention, skip, below: skip


def compile_a_part(network: UNet) -> None:
    network.decoder.stages[0].compile()


def change(path: str, **attributes: Any) -> Callable[[UNet], None]:
    def apply(network: UNet) -> None:
        for name, value in attributes.items():
            setattr(network.get_submodule(path), name, value)

    apply.__name__ = f"{path}: {', '.join(attributes)}"
    return apply


def put(path: str, module: nn.Module) -> Callable[[UNet], None]:
    def apply(network: UNet) -> None:
        owner, _, name = path.rpartition(".")
        setattr(network.get_submodule(owner), name, module)

    apply.__name__ = f"{path}: {type(module).__name__}"
    return apply


CONV = "encoder.stages.0.0.convs.0.all_modules.0"
NORM = "encoder.stages.0.0.convs.0.all_modules.1"
DECODER_CONV = "decoder.stages.0.convs.0.all_modules.0"
UPSAMPLE = "decoder.upsamplings.0"
ASPP = "encoder.stages.2.2"
CHANGES: list[tuple[Callable[[UNet], Any], str]] = [
    (lambda network: network.register_forward_hook(lambda *_: None), "the network: it has hooks"),
    (lambda network: first_conv(network).register_forward_hook(lambda *_: None), "hooks"),
    (lambda network: first_conv(network).register_forward_pre_hook(lambda *_: None), "hooks"),
    (lambda network: first_conv(network).register_full_backward_hook(lambda *_: None), "hooks"),
    (lambda network: first_conv(network).register_full_backward_pre_hook(lambda *_: None), "hooks"),
    (lambda network: prune.l1_unstructured(first_conv(network), "weight", 0.5), "hooks"),
    (lambda network: parametrizations.weight_norm(first_conv(network)), "ParametrizedConv3d"),
    (lambda network: parametrizations.spectral_norm(first_conv(network)), "ParametrizedConv3d"),
    (wrap, "Adapter"),
    (wrap_under_the_other_name, "Adapter"),
    (become_a_subclass, "Other is another network"),
    (hold_a_subclass, "OtherConv"),
    (hold_another_module, "SAUNet is another network"),
    (replace_forward, "one of its methods is replaced"),
    (replace_a_method, "decoder: one of its methods is replaced"),
    (compile_a_part, "one of its methods is replaced"),
    (lambda network: network.double(), "weight is not an ordinary parameter of torch.float32 on cpu"),
    (lambda network: network.to("meta"), "weight is not an ordinary parameter of torch.float32 on cpu"),
    (change(CONV, stride=(1, 2, 2)), r"stride=\(1, 2, 2\)"),
    (change(CONV, groups=2), "groups=2"),
    (change(CONV, padding_mode="circular"), "padding_mode='circular'"),
    (change(CONV, padding="same"), "padding='same'"),
    (change(DECODER_CONV, padding=(0, 0, 0)), "changes the size"),
    (change(DECODER_CONV, dilation=(1, 2, 2)), "dilation"),
    (change(UPSAMPLE, mode="trilinear"), "mode='trilinear'"),
    (change(UPSAMPLE, scale_factor=(1.0, 1.5, 2.0)), "scale_factor"),
    (change(UPSAMPLE, scale_factor=2.0), "scale_factor"),
    (put(UPSAMPLE, nn.Sequential(nn.Upsample(scale_factor=(1.0, 2.0, 2.0)))), "not made of upsampling"),
    (put("decoder.stages.0", nn.Identity()), "not made of upsampling"),
    (change("encoder.stages.1.0", kernel_size=2), "kernel_size=2"),
    (change("encoder.stages.1.0", ceil_mode=True), "ceil_mode"),
    (put("encoder.stages.1.0", nn.AvgPool3d((1, 2, 2))), "AvgPool3d"),
    (put(NORM, nn.InstanceNorm3d(16)), "InstanceNorm3d"),
    (put(NORM, nn.GroupNorm(8, 16)), "GroupNorm"),
    (put(NORM, nn.SyncBatchNorm(16)), "SyncBatchNorm"),
    (put(NORM, nn.Dropout3d(0.5)), "it is active"),
    (put("encoder.stages.0.0.convs.0.all_modules.2", nn.LeakyReLU()), "LeakyReLU"),
    (put("decoder.attentions.0.conv", nn.Conv3d(2, 1, (1, 14, 14))), "a bias"),
    (change("decoder.attentions.0", padding=[6, 6, 6, 7, 0, 0]), "padding="),
    (put(f"{ASPP}.project.0", nn.Conv3d(160, 32, 1)), "its projection"),
    (put(f"{ASPP}.pool.0", nn.Identity()), "does not start with a convolution"),
    (put(f"{CONV}.weight", OtherParameter(torch.zeros(16, 2, 1, 3, 3))), "weight is not an ordinary parameter"),
    (lambda network: delattr(network.get_submodule(CONV), "bias"), "its weight or bias is no parameter"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_door_closes_for_a_changed_network(
    network: SAUNet, x: torch.Tensor, change: Callable[[UNet], Any], reason: str
) -> None:
    assert fast.why_not_fast(network, x) is None
    change(network)
    found = fast.why_not_fast(network, x)
    assert found is not None
    assert re.search(reason, found), found


@contextmanager
def hook_for_all_modules(register: Callable[[Any], Any]) -> Iterator[None]:
    handle = register(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


SITUATIONS: list[tuple[Callable[[], AbstractContextManager[Any]], str]] = [
    (lambda: saved_tensors_hooks(lambda t: t, lambda t: t), "saved-tensor hooks"),
    (lambda: torch.autograd.graph.save_on_cpu(), "saved-tensor hooks"),
    (forward_ad.dual_level, "forward-mode"),
    (lambda: FlopCounterMode(display=False), "TorchDispatchMode"),
    (lambda: hook_for_all_modules(register_module_forward_hook), "all modules"),
    (lambda: hook_for_all_modules(register_module_full_backward_hook), "all modules"),
    (lambda: torch.autocast("cpu", torch.float16), "nobody measured"),
]


@pytest.mark.parametrize(("situation", "reason"), SITUATIONS)
def test_door_closes_while_somebody_looks(
    network: SAUNet, x: torch.Tensor, situation: Callable[[], AbstractContextManager[Any]], reason: str
) -> None:
    with situation():
        assert reason in str(fast.why_not_fast(network, x))
    assert fast.why_not_fast(network, x) is None


@pytest.mark.parametrize(
    "situation",
    [
        nullcontext,
        torch.no_grad,
        torch.inference_mode,
        torch.autograd.detect_anomaly,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("cpu"),
        lambda: torch.autograd.graph.disable_saved_tensors_hooks("not here"),
    ],
)
def test_door_stays_open(
    network: SAUNet, x: torch.Tensor, situation: Callable[[], AbstractContextManager[Any]]
) -> None:
    with situation():
        assert fast.why_not_fast(network, x) is None


def test_saved_tensor_hooks_do_not_matter_without_gradients(network: SAUNet, x: torch.Tensor) -> None:
    with torch.autograd.graph.save_on_cpu(), torch.no_grad():
        assert fast.why_not_fast(network, x) is None


def test_door_closes_for_transforms_and_tracing(network: SAUNet, x: torch.Tensor) -> None:
    reasons = []

    def note(x: torch.Tensor) -> torch.Tensor:
        reasons.append(fast.why_not_fast(network, x))
        return x.sum()

    torch.func.grad(note)(x)
    torch.func.jvp(note, (x,), (x,))
    torch.func.vmap(note)(x[None])
    torch.func.grad(lambda _: note(x))(torch.ones(()))  # the transform is not about the input
    torch.jit.trace(note, x, check_trace=False)
    assert None not in reasons
    assert len(reasons) == 5


def test_door_closes_for_parameters_of_a_functional_call(network: SAUNet, x: torch.Tensor) -> None:
    tensors = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    reasons = []
    network.forward = lambda x: reasons.append(fast.why_not_modules(network, x))  # type: ignore[method-assign]
    torch.func.functional_call(network, tensors, (x,))
    assert "not an ordinary parameter" in reasons[0] or "replaced" in reasons[0]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.zeros(2, 2, 4, 16, 12, dtype=torch.float16), "nobody measured torch.float16 on cpu"),
        (torch.zeros(2, 2, 4, 16, 12, dtype=torch.float64), "not an ordinary parameter of torch.float64"),
        (torch.zeros(2, 2, 4, 16, 12, device="meta"), "nobody measured torch.float32 on meta"),
        (torch.zeros(2, 4, 16, 12), "shape"),
        (torch.zeros(0, 2, 4, 16, 12), "shape"),
        (torch.zeros(2, 2, 4, 16, 10), "do not divide"),
        (torch.zeros(2, 2, 4, 16, 12).to_sparse(), "strided"),
        (torch.zeros(2, 2, 4, 16, 12).as_subclass(type("Other", (torch.Tensor,), {})), "Other"),
    ],
)
def test_door_closes_for_another_input(network: SAUNet, images: torch.Tensor, reason: str) -> None:
    assert reason in str(fast.why_not_fast(network, images))


@pytest.mark.parametrize("name", ["_functorch_stack", "_dispatch_modes"])
def test_door_closes_where_torch_has_a_private_part_no_more(
    network: SAUNet, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(observers, name, observers._private("torch._C", "no_such_thing"))
    assert fast.why_not_fast(network, x) is not None


def test_door_closes_for_sizes_that_the_plain_network_refuses(network: SAUNet) -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(torch.zeros(1, 2, 4, 16, 10))


def test_active_dropout_draws_as_in_the_plain_network(networks: dict[str, Any], x: torch.Tensor) -> None:
    network = networks["SAUNet"].build(dropout_op=nn.Dropout3d, dropout_op_kwargs={"p": 0.5})
    assert "it is active" in str(fast.why_not_fast(network, x))
    assert fast.why_not_fast(network.eval(), x) is None


def test_pruning_that_was_made_permanent_opens_the_door_again(network: SAUNet, x: torch.Tensor) -> None:
    prune.l1_unstructured(first_conv(network), "weight", 0.5)
    prune.remove(first_conv(network), "weight")
    assert fast.why_not_fast(network, x) is None


def test_without_parameters_of_its_own_a_norm_is_known(networks: dict[str, Any], x: torch.Tensor) -> None:
    network = networks["SAUNet"].build(norm_op=GroupNorm, norm_op_kwargs={"affine": False})
    assert fast.why_not_fast(network, x) is None
