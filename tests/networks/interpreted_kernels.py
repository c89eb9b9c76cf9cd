"""What :mod:`test_kernels` runs in a process of its own, in which Triton interprets the kernels on the CPU.

The functions, the storage and the door are those of a GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.fast import attention, norm, norm_kernels, trial
from nnunetv2_sa_unet.networks.fast.fused_attention import describe, weigh
from nnunetv2_sa_unet.networks.fast.fused_norm import group_norm_relu
from nnunetv2_sa_unet.networks.unet import UNet

Function = Callable[..., torch.Tensor]
#: Relative errors that the storage of a map explains.
ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-7, torch.float16: 5e-4, torch.bfloat16: 4e-3}


def drawn(*shape: int, dtype: torch.dtype = torch.float64, mean: float = 0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (mean + torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def stored_last(x: torch.Tensor) -> torch.Tensor:
    """In channels-last storage with any number of axes."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def results(function: Function, inputs: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """The values, and the gradients of all inputs."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    values = function(*leaves)
    incoming = drawn(*values.shape, dtype=dtype, seed=1).to(values.dtype)
    return [values.detach(), *torch.autograd.grad(values, leaves, incoming)]


def assert_near(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).norm() <= tolerance * max(1e-3, float(other.norm()))


def norm_by_torch(groups: int, relu: bool, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    weight, bias = parameters or (None, None)
    normed = functional.group_norm(x.contiguous(), groups, weight, bias, 1e-3)
    return functional.relu(normed) if relu else normed


def norm_by_kernels(groups: int, relu: bool, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    weight, bias = parameters or (None, None)
    return group_norm_relu(x, weight, bias, groups, 1e-3, relu)


@pytest.mark.parametrize(
    ("shape", "groups", "dtype", "relu", "affine", "mean"),
    [
        ((2, 24, 3, 7, 11), 8, torch.float64, True, True, 0),
        ((1, 48, 9, 13), 8, torch.float16, True, True, 1),
        ((1, 320, 2, 3, 5), 8, torch.bfloat16, True, True, 0),
        ((1, 96, 1, 5, 17), 4, torch.float32, True, False, 0),
        ((1, 6, 2, 41, 37), 2, torch.float32, False, False, 30),  # several parts
        ((1, 7, 5500), 1, torch.float64, False, True, 30),
        ((2, 16, 1, 1, 1), 8, torch.float64, True, True, 0),
        ((3, 8, 1, 1, 3), 8, torch.float32, False, True, -5),
    ],
)
def test_norm_and_its_gradients_are_those_of_float64(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype, relu: bool, affine: bool, mean: float
) -> None:
    x = stored_last(drawn(*shape, dtype=dtype, mean=mean))
    parameters = [drawn(shape[1], mean=1, seed=2), drawn(shape[1], seed=3)] if affine else []
    of_kernels = [each.to(torch.promote_types(dtype, torch.float32)) for each in parameters]
    found = results(lambda *inputs: norm_by_kernels(groups, relu, *inputs), (x, *of_kernels), dtype)
    expected = results(
        lambda *inputs: norm_by_torch(groups, relu, *inputs), (x.double(), *(p.double() for p in of_kernels)), dtype
    )
    assert found[0].dtype == found[1].dtype == dtype
    assert stored_last(found[0]).stride() == found[0].stride()
    assert_near(found, expected, ROUNDING[dtype] * max(1, abs(mean)))


def test_a_gradient_in_any_storage_will_do() -> None:
    x, incoming = drawn(2, 6, 5, 7), drawn(2, 6, 5, 7, seed=1)
    found = []
    for gradient in (incoming, stored_last(incoming), incoming[:1, :1, :1, :1].expand_as(x)):
        leaf = stored_last(x).requires_grad_()
        group_norm_relu(leaf, None, None, 2, 1e-3, True).backward(gradient)
        found.append(leaf.grad)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_without_gradients_the_norm_works_in_place() -> None:
    x = stored_last(drawn(1, 6, 5, 7))
    expected = norm_by_torch(2, True, x)
    with torch.no_grad():
        normed = group_norm_relu(x, None, None, 2, 1e-3, True)
    assert normed.data_ptr() == x.data_ptr()
    torch.testing.assert_close(x, expected)


def test_what_is_no_number_stays_so() -> None:
    x = stored_last(drawn(1, 2, 1, 3))
    x[0, 1, 0, 0] = float("nan")
    normed = group_norm_relu(x, None, None, 2, 1e-3, True)
    assert normed[0, 0].isfinite().all()
    assert normed[0, 1].isnan().all()


def test_places_beyond_32_bit_are_found() -> None:
    """A map of 2³¹ values and some more; only what is read of it takes memory."""
    channels, rows, far = 32, 1 << 26, 5
    x = torch.empty(rows * channels + far * channels, dtype=torch.float16)
    near, distant = x[: far * channels], x[-far * channels :]
    near.fill_(1)
    distant.copy_(torch.arange(far * channels))
    means, squares = (torch.zeros(2, 1, channels) for _ in range(2))
    # As if every sample had all its rows, of which the one part that is launched has five.
    norm_kernels.moments[(1, 1, 2)](
        x, means, squares, rows, far, channels=channels, tile_rows=64, tile_channels=32, num_warps=4
    )
    assert (means[0] == 1).all()
    torch.testing.assert_close(means[1, 0], distant.float().reshape(far, channels).mean(0))


def second_gradients(function: Function, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    first = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
    return list(torch.autograd.grad(sum(each.square().sum() for each in first), leaves))


@pytest.mark.parametrize("name", ["norm", "describe", "weigh"])
def test_gradients_have_gradients_and_are_mapped(name: str) -> None:
    """As torch.autograd.functional.hessian and jacobian(vectorize=True) need it."""
    x, weight, score = stored_last(drawn(1, 4, 2, 3)), drawn(4, seed=1), drawn(1, 1, 2, 3, seed=2)
    inputs: tuple[torch.Tensor, ...]
    ours, torchs, inputs = {
        "norm": (
            lambda x, weight: norm_by_kernels(2, True, x, weight, weight),
            lambda x, weight: norm_by_torch(2, True, x, weight, weight),
            (x, weight),
        ),
        "describe": (describe, describe_by_torch, (x,)),
        "weigh": (weigh, weigh_by_torch, (x, score)),
    }[name]
    assert_near(second_gradients(ours, inputs), second_gradients(torchs, inputs), 1e-12)
    if name == "norm" and Version(torch.__version__) < Version("2.7"):
        pytest.skip("torch 2.6 maps no gradient of its own group norm")
    leaves = [each.requires_grad_() for each in inputs]
    values = ours(*leaves)
    many = drawn(2, *values.shape, seed=3)
    found = torch.autograd.grad(values, leaves, many, is_grads_batched=True, retain_graph=True)
    for place, gradient in enumerate(many):
        one = torch.autograd.grad(values, leaves, gradient, retain_graph=True)
        assert_near([each[place] for each in found], one, 1e-12)


def describe_by_torch(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)


def weigh_by_torch(x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(score)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 24, 3, 5, 7), torch.float64), ((1, 5, 9, 30), torch.float32), ((1, 320, 1, 4), torch.float16)],
)
def test_attention_and_its_gradients_are_those_of_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    # As in the networks: many channels share the maximum 0.
    x = stored_last((drawn(*shape) - 1).relu().to(dtype))
    score = drawn(shape[0], 1, *shape[2:], dtype=dtype, seed=1)
    assert_near(results(describe, (x,), dtype), results(describe_by_torch, (x.double(),), dtype), ROUNDING[dtype])
    assert_near(
        results(weigh, (x, score), dtype),
        results(weigh_by_torch, (x.double(), score.double()), dtype),
        ROUNDING[dtype],
    )


#: As small as a network with all parts can be.
SMALL: dict[str, Any] = {
    "n_stages": 2,
    "features_per_stage": [4, 6],
    "n_conv_per_stage": [1, 2],
    "n_conv_per_stage_decoder": [1],
    "norm_op_kwargs": {"num_groups": 2, "eps": 1e-3},
    "rates": [1, 2],
}
SMALL_3D = SMALL | {"kernel_sizes": [[1, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2]]}
SMALL_2D = SMALL | {"kernel_sizes": [[3, 3]] * 2, "strides": [[1, 1], [2, 2]]}
PLANNED = SMALL_3D | {"kernel_sizes": [[3, 3, 3]] * 2, "strides": [[1, 1, 1], [2, 2, 2]]}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions with kernels that a network has called."""
    names: list[str] = []

    def counting(name: str, function: Function) -> Function:
        return lambda *arguments: (names.append(name), function(*arguments))[1]

    for module, name in ((norm, "group_norm_relu"), (attention, "describe"), (attention, "weigh")):
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return names


def whole(forward: Function, network: UNet, x: torch.Tensor) -> list[torch.Tensor]:
    parameters = [each for each in network.parameters() if each.requires_grad]
    leaf = x.detach().clone().requires_grad_()
    logits: Any = forward(network, leaf)
    loss = sum((scale * drawn(*scale.shape, seed=1)).sum() for scale in logits)
    return [*(scale.detach() for scale in logits), *torch.autograd.grad(loss, [leaf, *parameters])]


@pytest.mark.parametrize(
    ("name", "changes", "size"),
    [("SAUNet", SMALL_3D, (2, 10, 6)), ("SAUNet-2d", SMALL_2D, (10, 6)), ("SAUNet", PLANNED, (2, 4, 6))],
    ids=["3d", "2d", "planned"],
)
def test_the_whole_network_is_the_plain_one(
    networks: dict[str, Any], launched: list[str], name: str, changes: dict[str, Any], size: tuple[int, ...]
) -> None:
    network = networks[name].build(deep_supervision=True, **changes).double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    strides = [each.stride() for each in network.parameters()]
    x = drawn(1, 2, *size)
    assert fast.why_not_fast(network, x) is None
    assert_near(whole(UNet.__call__, network, x), whole(UNet.forward, network, x), 1e-12)
    # Encoder three, pyramid four and decoder one; the pyramid's single voxel is torch's.
    assert (launched.count("group_norm_relu"), launched.count("describe"), launched.count("weigh")) == (8, 1, 1)
    assert [each.stride() for each in network.parameters()] == strides
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Copies(TorchDispatchMode):
    """Counts by operation what reads and writes the parameters' memory alone."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.names = {each.untyped_storage().data_ptr(): name for name, each in network.named_parameters()}
        self.found: list[tuple[str, str]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        if isinstance(result, torch.Tensor) and arguments and isinstance(arguments[0], torch.Tensor):
            source = self.names.get(arguments[0].untyped_storage().data_ptr())
            if source is not None and result.untyped_storage().data_ptr() not in self.names:
                self.found.append((source, function.overloadpacket.__name__))
        return result


def test_weights_are_stored_for_the_kernels_by_the_cast_of_autocast(networks: dict[str, Any]) -> None:
    """Nothing copies a weight but the cast to 16 bit, which autocast needs in any case: no step converts them."""
    network = networks["SAUNet"].build(**SMALL_3D).eval()
    x = drawn(1, 2, 2, 10, 6, dtype=torch.float32)
    weights = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, torch.nn.Conv3d)}
    # Those that are split or rearranged first have copies by their nature.
    once = {name for name in weights if name.startswith("encoder") and "project" not in name}
    for _ in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Copies(network) as copies:
            fast.sa_unet(network, x)
        copied = [(name, operation) for name, operation in copies.found if name in once]
        assert all(operation == "_to_copy" for _, operation in copied), copied
        assert len(copied) == len(set(copied)) > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("has_gradients", [True, False])
def test_kernels_pass_their_trial(dtype: torch.dtype, has_gradients: bool) -> None:
    with warnings.catch_warnings():
        # No other kind: the interpreter of an older Triton meets deprecations of NumPy.
        warnings.simplefilter("error", UserWarning)
        assert trial._passes(torch.device("cpu"), dtype, has_gradients, True, True, 6, 2, True)


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What stands for an input on a GPU; the trials of the kernels are those of the CPU, none is remembered."""
    passes = cache(trial._passes.__wrapped__)
    monkeypatch.setattr(trial, "_passes", lambda device, *rest: passes(torch.device("cpu"), *rest))
    monkeypatch.setattr(trial, "_SIZE", (1, 3, 5))
    monkeypatch.setattr(trial, "TRUSTED", {})
    return SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.float32)


def wrong(*arguments: Any) -> torch.Tensor:
    return 1.1 * group_norm_relu(*arguments)


def broken(*_: Any) -> torch.Tensor:
    raise RuntimeError("Failed to find C compiler.\nMore lines")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (wrong, "the group norm of 4 channels in torch.float32 is wrong there"),
        (broken, "RuntimeError: Failed to find C compiler."),
    ],
)
def test_kernels_that_fail_are_not_used_and_one_line_says_why(
    networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, on_a_gpu: Any, fault: Function, reason: str
) -> None:
    network = networks["SAUNet"].build(**SMALL_3D)
    monkeypatch.setattr(trial, "group_norm_relu", fault)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        for _ in range(3):
            assert not trial.kernels_work(network, on_a_gpu)
    assert len(said) == 1
    assert str(said[0].message).endswith(reason)


def test_a_lack_of_memory_says_nothing_of_the_kernels(
    networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, on_a_gpu: Any
) -> None:
    def out_of_memory(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        patch.setattr(trial, "group_norm_relu", out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            trial.kernels_work(networks["SAUNet"].build(**SMALL_3D), on_a_gpu)
    assert trial.kernels_work(networks["SAUNet"].build(**SMALL_3D), on_a_gpu)


def test_a_trial_leaves_no_trace(networks: dict[str, Any], on_a_gpu: Any) -> None:
    """It draws none of the training's random numbers, and works in whatever mode the network is called."""
    before = torch.get_rng_state()
    network = networks["SAUNet"].build(**SMALL_3D)
    torch.set_rng_state(before)
    with torch.inference_mode():
        assert trial.kernels_work(network, on_a_gpu)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_with_batch_norm_keep_their_storage(networks: dict[str, Any], on_a_gpu: Any) -> None:
    assert not trial.kernels_work(networks["SAUNet-backbone-2d"].build(), on_a_gpu)
