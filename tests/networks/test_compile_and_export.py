"""Networks under torch.compile, torch.export and ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch.nn.modules.batchnorm import _BatchNorm

from nnunetv2_sa_unet.networks.unet import UNet

# One network of every class.
KINDS = ["SAUNet", "UNet3D", "AttentionUNet", "Li2018", "UResNet", "TrUENet", "SAUNet2D"]


@pytest.fixture(autouse=True)
def _forget_compiled_graphs() -> Iterator[None]:
    yield
    torch.compiler.reset()


def shallow(network: Any, **changes: Any) -> UNet:
    """Build with as few convolutions as ASPP allows: tracing them takes the time of these tests."""
    n_stages = network.kwargs["n_stages"]
    few = {"n_conv_per_stage": [1] * (n_stages - 1) + [2], "n_conv_per_stage_decoder": [1] * (n_stages - 1)}
    built: UNet = network.build(**few, **changes).eval()
    return built


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16-autocast"])
@pytest.mark.parametrize("name", KINDS)
def test_one_compiled_graph_equals_eager(
    networks: dict[str, Any], name: str, deep_supervision: bool, dtype: torch.dtype
) -> None:
    built, x = shallow(networks[name], deep_supervision=deep_supervision), networks[name].input()
    compiled = torch.compile(built, fullgraph=True, backend="aot_eager")
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        # Compiled, the network leaves the storage to the compiler, and other kernels round.
        torch.testing.assert_close(compiled(x), built(x), rtol=0, atol=2e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("name", ["SAUNet", "AttentionUNet-2d", "TrUENet", "UResNet"])
def test_compiled_training_step_has_the_gradients_of_eager(networks: dict[str, Any], name: str) -> None:
    eager, compiled = (shallow(networks[name], deep_supervision=True) for _ in range(2))
    for model in (eager, torch.compile(compiled, fullgraph=True, backend="aot_eager")):
        sum(scale.square().mean() for scale in model(networks[name].input())).backward()
    for (parameter, one), other in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=parameter)


def test_inductor_equals_eager(networks: dict[str, Any]) -> None:
    network = networks["SAUNet-2d"]
    built = network.build(
        n_stages=2,
        features_per_stage=[8, 8],
        kernel_sizes=[[3, 3]] * 2,
        strides=[[1, 1], [2, 2]],
        n_conv_per_stage=[1, 1],
        n_conv_per_stage_decoder=[1],
        rates=None,
    ).eval()
    with torch.no_grad():
        found = torch.compile(built, fullgraph=True)(network.input())
        torch.testing.assert_close(found, built(network.input()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_exported_program_equals_eager(networks: dict[str, Any], name: str) -> None:
    built = shallow(networks[name])
    x = networks[name].input(batch=1)
    exported = torch.export.export(built, (x,))
    torch.testing.assert_close(exported.module()(x), built(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", [*KINDS, "SAUNet-2d", "AttentionUNet-2d"])
def test_onnx_equals_torch(networks: dict[str, Any], name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    built = shallow(networks[name])
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in built.modules())
    if has_batch_norm and Version(torch.__version__) < Version("2.7"):
        pytest.skip("torch 2.6 with today's onnxscript exports no batch norm")
    x = networks[name].input(batch=1)
    file = tmp_path / "network.onnx"
    torch.onnx.export(built, (x,), file, dynamo=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), built(x).detach(), rtol=0, atol=1e-4)
