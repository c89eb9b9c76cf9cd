"""The kernels of a GPU without one: interpreted on the CPU, and compiled as far as a GPU would get them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.fast.fused_norm import _parts_tile
from nnunetv2_sa_unet.networks.fast.launching import power_of_two, tile
from nnunetv2_sa_unet.networks.fast.trial import kernels_work

pytest.importorskip("triton")

import triton
from triton import language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nnunetv2_sa_unet.networks.fast import attention_kernels, norm_kernels

HERE = Path(__file__).parent
TRITON_OF = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
#: What all maps have in common; other pointers are to float32.
MAPS = ("x", "y", "gradient", "of_x", "descriptor", "score", "of_score")
SIZES = ("n_rows", "rows_each", "n_parts")


def test_interpreted_kernels_compute_what_torch_does() -> None:
    """In a process of its own, because Triton decides at its import whether it interprets."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "interpreted_kernels.py")],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout[-10000:] + process.stderr[-2000:]
    assert " passed" in process.stdout


def compiled(kernel: Any, dtype: str, capability: int, constants: dict[str, Any]) -> Any:
    """Compile a kernel for a GPU that need not be there, down to its machine code."""
    num_warps = constants["num_warps"]
    values = {(kernel.arg_names.index(name),): constants[name] for name in kernel.arg_names if name in constants}
    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name in SIZES:
            signature[name] = "i32"
        else:
            # In the norm's kernels, a gradient is of a map only if the map is there.
            is_map = name in MAPS
            signature[name] = f"*{TRITON_OF[dtype]}" if is_map else "*fp32"
    # Torch gives memory at multiples of 512 bytes.
    aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(signature.values()) if kind[0] == "*"}
    source = ASTSource(kernel, signature, values, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": num_warps})


def kernels(channels: int, groups: int, affine: bool = True) -> list[tuple[Any, dict[str, Any]]]:
    """All kernels with the constants of a map of so many channels."""
    whole = tile(channels, min(64, power_of_two(channels)))
    parts = _parts_tile(channels // groups)
    options = whole | {"per_group": channels // groups, "relu": True}
    if not affine:
        options |= {"weight": None, "bias": None}
        parts |= {"weight": None}
    rows = tile(channels, power_of_two(channels)) | {"dtype": tl.float32}
    return [
        (norm_kernels.moments, whole),
        (norm_kernels.add_up_moments, parts | {"eps": 1e-3}),
        (norm_kernels.normalise, options),
        (norm_kernels.parameter_gradients, options),
        (norm_kernels.add_up_gradients, parts),
        (norm_kernels.input_gradient, options),
        (attention_kernels.describe, rows),
        (attention_kernels.spread, rows),
        (attention_kernels.weigh, rows),
        (attention_kernels.weigh_back, rows),
    ]


def assert_compile(dtype: str, capability: int, channels: int, affine: bool) -> None:
    for kernel, constants in kernels(channels, 8, affine):
        made = compiled(kernel, dtype, capability, constants)
        assert made.asm["cubin"], kernel.fn.__name__
        assert made.metadata.shared <= 16 * 1024
        if "tile_rows" in constants and kernel.arg_names[0] == "x":
            # Maps are read 16 bytes at a time.
            assert "ld.global.v4.b32" in made.asm["ptx"], kernel.fn.__name__


@pytest.mark.skipif(Version(triton.__version__) < Version("3.3"), reason="Triton 3.2 is told of constants otherwise")
@pytest.mark.parametrize(
    ("dtype", "capability", "channels", "affine"),
    [("float16", 90, 24, True), ("bfloat16", 80, 192, True), ("float32", 75, 48, False)],
)
def test_kernels_compile(dtype: str, capability: int, channels: int, affine: bool) -> None:
    assert_compile(dtype, capability, channels, affine)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernels_pass_their_trial_on_this_gpu(networks: dict[str, Any], dtype: torch.dtype) -> None:
    network, x = networks["SAUNet"].build().cuda(), networks["SAUNet"].input().cuda()
    for has_gradients in (True, False):
        with torch.set_grad_enabled(has_gradients), torch.autocast("cuda", dtype):
            assert fast.why_not_fast(network, x) is None
            assert kernels_work(network, x)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TRITON_OF)
@pytest.mark.parametrize("capability", [75, 80, 90])
@pytest.mark.parametrize("channels", [24, 96, 320])
def test_kernels_compile_for_every_gpu_and_dtype(dtype: str, capability: int, channels: int) -> None:
    assert_compile(dtype, capability, channels, affine=True)
