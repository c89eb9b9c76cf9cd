"""What people do to networks besides calling them: each does with every variant what it does with plain modules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import distributed, nn
from torch.func import functional_call
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from nnunetv2_sa_unet.networks.unet import UNet

Logits = torch.Tensor | list[torch.Tensor]


def loss_of(logits: Logits) -> torch.Tensor:
    scales = logits if isinstance(logits, list) else [logits]
    generator = torch.Generator().manual_seed(2)
    return sum(
        (scale.square() * torch.rand(scale.shape, generator=generator, dtype=scale.dtype)).mean() for scale in scales
    )  # type: ignore[return-value]


def gradients(network: UNet, x: torch.Tensor, forward: Callable[[UNet, torch.Tensor], Any]) -> list[torch.Tensor]:
    network.zero_grad()
    # What is dropped in training is drawn anew each time.
    torch.manual_seed(0)
    loss_of(forward(network, x)).backward()
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def assert_close(found: Any, expected: Any, atol: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=atol)


def plainly(network: UNet, x: torch.Tensor) -> Any:
    """The plain modules, of the networks without a faster formulation as well."""
    return UNet.forward(network, x)


@pytest.mark.parametrize("store", [torch.Tensor.contiguous, torch.Tensor.clone])
def test_gradients_of_tensors_saved_elsewhere_are_exact(variant: Any, store: Callable[..., torch.Tensor]) -> None:
    network, x = variant.build(deep_supervision=True).double(), variant.input(batch=2).double()
    expected = gradients(network, x, plainly)
    # As torch.autograd.graph.save_on_cpu(pin_memory=True) does, which needs CUDA.
    with torch.autograd.graph.saved_tensors_hooks(
        store, lambda saved: saved.clone(memory_format=torch.contiguous_format)
    ):
        assert_close(gradients(network, x, UNet.__call__), expected)
    with torch.autograd.graph.save_on_cpu():
        assert_close(gradients(network, x, UNet.__call__), expected)


def test_checkpointed_gradients_are_exact(variant: Any) -> None:
    network, x = variant.build(deep_supervision=True).eval().double(), variant.input().double()
    expected = gradients(network, x, plainly)

    def checkpointed(network: UNet, x: torch.Tensor) -> Any:
        return checkpoint(network, x.requires_grad_(), use_reentrant=False)

    assert_close(gradients(network, x, checkpointed), expected)


class LoRA(nn.Module):
    """A convolution beside another one, whose weights stay."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.conv, self.beside = conv, copy.deepcopy(conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.conv(x) + self.beside(x)
        return added


class Place:
    """Where a module hangs in another one, to be read and written as the first of a list."""

    def __init__(self, holder: nn.Module, name: str) -> None:
        self.holder, self.name = holder, name

    def __getitem__(self, index: int) -> Any:
        return getattr(self.holder, self.name)

    def __setitem__(self, index: int, module: nn.Module) -> None:
        setattr(self.holder, self.name, module)


def parts_of(part: Any) -> list[Any]:
    """The encoder or decoder itself, or those of its planes."""
    return list(part.planes) if hasattr(part, "planes") else [part]


def modules_of(network: UNet) -> Place:
    """Where the decoder's first convolution hangs."""
    stage = parts_of(network.decoder)[0].stages[0]
    return Place(stage.convs[0].all_modules, "0") if hasattr(stage, "convs") else Place(stage[0], "conv")


def test_a_wrapper_around_a_convolution_of_the_decoder_works(variant: Any) -> None:
    network, x = variant.build().eval().double(), variant.input().double()
    with torch.no_grad():
        before = network(x)
        modules_of(network)[0] = LoRA(modules_of(network)[0])
        # Norm takes the factor 2 away from all but a bias, so the wrapper's own weights are others.
        modules_of(network)[0].beside.weight.normal_()
        found = network(x)
        assert_close(found, plainly(network, x))
    assert (found - before).abs().max() > 1e-3
    network.train()
    loss_of(network(x)).backward()
    assert modules_of(network)[0].beside.weight.grad.any()


def test_pruning_takes_effect_at_once(variant: Any) -> None:
    network, x = variant.build().eval().double(), variant.input().double()
    with torch.no_grad():
        before = network(x)
        prune.random_unstructured(modules_of(network)[0], "weight", 0.7)
        pruned = network(x)
        assert (pruned - before).abs().max() > 1e-3
        assert_close(pruned, plainly(network, x))
        # Its weight is computed from another one, which training changes.
        modules_of(network)[0].weight_orig.add_(torch.randn_like(modules_of(network)[0].weight))
        assert (network(x) - pruned).abs().max() > 1e-3
        prune.remove(modules_of(network)[0], "weight")
        assert_close(network(x), plainly(network, x))


@pytest.mark.parametrize("grad", [True, False])
def test_every_leaf_module_fires_its_hook_with_what_it_puts_out(variant: Any, grad: bool) -> None:
    network, x = variant.build(deep_supervision=True).eval(), variant.input()
    leaves = {module: name for name, module in network.named_modules() if not list(module.children())}
    seen: dict[str, torch.Tensor] = {}

    def check(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        assert output.isfinite().all()
        seen[leaves[module]] = output
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            (images,) = inputs
            torch.testing.assert_close(output, module._conv_forward(images, module.weight, module.bias))

    for module in leaves:
        module.register_forward_hook(check)
    with torch.set_grad_enabled(grad):
        network(x)
    assert set(seen) == set(leaves.values())
    # A convolution's output that was kept is still that of the convolution: with ReLU in it, half would be zero.
    for name, output in seen.items():
        if name.endswith("all_modules.0"):
            assert (output < 0).any(), name


def test_gradients_for_activation_maps_reach_the_convolutions(variant: Any) -> None:
    """As Grad-CAM takes them: output of a convolution from a forward hook, gradient from a backward hook."""
    network, x = variant.build().eval(), variant.input()
    found = {}
    conv = modules_of(network)[0]
    conv.register_forward_hook(lambda _module, _inputs, output: found.update(output=output))
    conv.register_full_backward_hook(lambda _module, _of_inputs, of_outputs: found.update(gradient=of_outputs[0]))
    loss_of(network(x)).backward()
    assert found["gradient"].shape == found["output"].shape
    assert found["gradient"].any()


def test_gradients_have_gradients(variant: Any) -> None:
    network, x = variant.build(deep_supervision=True).eval().double(), variant.input(batch=1).double().requires_grad_()

    def penalty(forward: Callable[[UNet, torch.Tensor], Any]) -> list[torch.Tensor]:
        (of_x,) = torch.autograd.grad(loss_of(forward(network, x)), x, create_graph=True)
        parameters = list(network.parameters())
        found = torch.autograd.grad(of_x.square().sum(), parameters, allow_unused=True)
        return [each for each in found if each is not None]

    assert_close(penalty(UNet.__call__), penalty(plainly), atol=1e-10)


def test_transforms_of_torch_func_work(variant: Any) -> None:
    network, x = variant.build().eval().double(), variant.input().double()
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return loss_of(functional_call(network, parameters, (x,)))

    expected = gradients(network, x, plainly)
    found = torch.func.grad(loss)(parameters, x)
    trainable = [found[name] for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert_close(trainable, expected)

    direction = torch.randn_like(x)
    images = x.clone().requires_grad_()
    (of_x,) = torch.autograd.grad(loss_of(plainly(network, images)), images)
    _, along = torch.func.jvp(lambda x: loss_of(network(x)), (x,), (direction,))
    assert_close(along, (of_x * direction).sum(), atol=1e-10)

    each = torch.func.vmap(network)(x[:, None])
    assert_close(each.squeeze(1), plainly(network, x))


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="needs torch with gloo")
def test_sharded_stages_train_as_whole_ones(variant: Any, tmp_path: Path) -> None:
    """FSDP2 swaps the classes of the stages and makes their parameters DTensors."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if Version(torch.__version__) < Version("2.7"):
        pytest.skip("torch 2.6 shards on GPUs alone")
    network, x = variant.build(deep_supervision=True).double(), variant.input().double()
    plain = copy.deepcopy(network)
    expected = gradients(plain, x, plainly)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    try:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
        for part in (*parts_of(network.encoder), *parts_of(network.decoder)):
            for stage in part.stages:
                fsdp.fully_shard(stage, mesh=mesh)
        fsdp.fully_shard(network, mesh=mesh)
        found = [gradient.full_tensor() for gradient in gradients(network, x, UNet.__call__)]
        assert_close(found, expected)
    finally:
        distributed.destroy_process_group()
