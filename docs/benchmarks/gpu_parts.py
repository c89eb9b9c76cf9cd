"""What gpu.py measures, each in a process of its own: python gpu_parts.py PART '{"argument": …}' RESULT.json

A process measures one network, or one thing of several, and nothing else runs on the GPU meanwhile: cuDNN chooses its
kernels at the first run, for good, and chooses badly beside other work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from measure import Forward, Job, as_it_is, plain_modules
from planned import INPUT_CHANNELS, build, configurations
from torch import nn
from torch.nn import functional

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.fast import network as of_network
from nnunetv2_sa_unet.networks.fast.fused_norm import group_norm_relu
from nnunetv2_sa_unet.networks.fast.launching import TRUSTED
from nnunetv2_sa_unet.networks.fast.storage import channels_last
from nnunetv2_sa_unet.networks.fast.trial import kernels_work
from nnunetv2_sa_unet.networks.unet import UNet

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def stored(kernels: bool, network: nn.Module) -> Forward:
    """The faster formulations with the kernels over channels-last storage, or without them over the usual one."""
    of_network.kernels_work = lambda *_: kernels  # type: ignore[assignment]
    TRUSTED.update({torch.device("cuda", index): kernels for index in range(torch.cuda.device_count())})
    return partial(fast.sa_unet, network)  # type: ignore[arg-type]


#: What is called of a network.
WAYS: dict[str, Callable[[nn.Module], Forward]] = {
    "as it is": as_it_is,
    "plain": plain_modules,
    "usual storage": partial(stored, False),
    "channels last": partial(stored, True),
}


def network(
    name: str,
    way: str,
    patch: list[int],
    batch: int,
    device: str,
    dtype: str,
    rounds: int,
    compiled: bool,
    tasks: list[str],
) -> dict[str, Any]:
    """Time a network, and say what memory its training takes at most."""
    result: dict[str, Any] = {}
    for task in tasks:
        job = Job(
            configurations(patch)[name],
            task,
            tuple(patch),
            batch,
            device,
            DTYPES[dtype],
            compiled,
            WAYS[way],  # type: ignore[arg-type]
        )
        start = perf_counter()
        run = job.prepare()
        run()
        first = perf_counter() - start
        for _ in range(min(3, rounds)):
            run()
        _forget_peak(device)
        seconds = []
        for _ in range(rounds):
            start = perf_counter()
            run()
            seconds.append(perf_counter() - start)
        lower, _, upper = quantiles(seconds, n=4, method="inclusive")
        result[task] = {
            "ms": 1e3 * median(seconds), "lower": 1e3 * lower, "upper": 1e3 * upper, "first s": first,
            "peak GB": _peak(device),
        }  # fmt: skip
        del job, run
        torch.compiler.reset()
    return result


def exactness(patch: list[int], batch: int, device: str, dtypes: list[str]) -> list[dict[str, Any]]:
    """Compare logits and gradients with the plain modules in float64, as relative errors (Euclidean norms).

    cuDNN has had kernels that are wrong for large flat maps only, so the maps are as large as in training.
    """
    built = build(configurations(patch)["SAUNet"], deep_supervision=True).to(device)
    torch.manual_seed(0)
    x = torch.randn(batch, INPUT_CHANNELS, *patch).to(device)
    incoming: list[torch.Tensor] = []

    def results(forward: Forward) -> tuple[torch.Tensor, torch.Tensor]:
        built.zero_grad(set_to_none=True)
        logits = forward(x.to(next(built.parameters()).dtype))
        if not incoming:
            incoming.extend(torch.randn_like(scale) / scale.numel() for scale in logits)
        # Large enough for gradients in float16, as nnU-Net's loss is scaled.
        pairs = zip(logits, incoming, strict=True)
        torch.autograd.backward(logits, [(2.0**12 * gradient).to(scale.dtype) for scale, gradient in pairs])
        gradients = torch.cat([each.grad.flatten().double() for each in built.parameters() if each.grad is not None])
        return logits[0].detach().double(), gradients / 2.0**12

    built.double()
    expected = results(partial(UNet.forward, built))
    built.float()
    rows = []
    for dtype in dtypes:
        for way in ("plain", "usual storage", "channels last"):
            with torch.autocast(torch.device(device).type, DTYPES[dtype], enabled=dtype != "float32"):
                found = results(WAYS[way](built))
            errors = [float((one - other).norm() / other.norm()) for one, other in zip(found, expected, strict=True)]
            largest = float((found[0] - expected[0]).abs().max() / expected[0].abs().max())
            rows.append({"dtype": dtype, "way": way, "logits": errors[0], "largest": largest, "gradients": errors[1]})
    with torch.autocast(torch.device(device).type, DTYPES[dtypes[-1]]):
        TRUSTED.clear()
        closed, works = fast.why_not_fast(built, x), kernels_work(built, x)
    rows.append({"way": f"door {'open' if closed is None else closed}; kernels {'work' if works else 'do not work'}"})
    return rows


def norm(patch: list[int], batch: int, device: str, rounds: int) -> list[dict[str, Any]]:
    """Group norm and ReLU alone in float16, forward and backward, beside torch's: time and bytes a second."""
    rows = []
    for stage, channels in enumerate((24, 48, 96, 192)):
        size = [patch[0], *(max(1, extent >> stage) for extent in patch[1:])]
        x = torch.randn(batch, channels, *size, device=device).to(torch.float16)
        weight, bias = torch.ones(channels, device=device), torch.zeros(channels, device=device)

        def ours(x: torch.Tensor, weight: torch.Tensor = weight, bias: torch.Tensor = bias) -> torch.Tensor:
            return group_norm_relu(x, weight, bias, 8, 1e-3, True)

        def torchs(x: torch.Tensor, weight: torch.Tensor = weight, bias: torch.Tensor = bias) -> torch.Tensor:
            return functional.relu_(functional.group_norm(x, 8, weight.to(x.dtype), bias.to(x.dtype), 1e-3))

        for way, function, leaf in (("kernels", ours, channels_last(x)), ("torch", torchs, x)):
            leaf.requires_grad_()
            incoming = torch.randn_like(leaf)
            forward = _timed(partial(function, leaf), device, rounds)
            normed = function(leaf)
            backward = _timed(partial(torch.autograd.grad, normed, leaf, incoming, retain_graph=True), device, rounds)
            rows.append(
                {
                    "channels": channels,
                    "way": way,
                    "forward ms": forward,
                    "backward ms": backward,
                    # Read twice and written once; on the way back map and gradient are read twice.
                    "forward TB/s": 3 * x.nbytes / forward / 1e9,
                    "backward TB/s": 5 * x.nbytes / backward / 1e9,
                }
            )
    return rows


def profile(name: str, patch: list[int], batch: int, device: str, dtype: str, file: str) -> dict[str, Any]:
    """Write torch's table of a training step, by the time on the GPU."""
    job = Job(configurations(patch)[name], "train", tuple(patch), batch, device, DTYPES[dtype], False, as_it_is)
    run = job.prepare()
    for _ in range(4):
        run()
    on_gpu = torch.device(device).type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * on_gpu
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(3):
            run()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=70)
    Path(file).write_text(f"Three training steps of {name}, {batch} × {patch}, {dtype}\n{table}\n", encoding="utf-8")
    return {"file": Path(file).name}


def epoch(plans: str, trainer: str, device: str, iterations: int, epochs: int, promised: float) -> dict[str, Any]:
    """Train by nnU-Net with its loader; the last epoch counts, the first chooses cuDNN's kernels and compiles."""
    from nnunetv2.run.run_training import get_trainer_from_args

    with redirect_stdout(sys.stderr):
        trained = get_trainer_from_args("1", "3d_fullres", 0, trainer, plans, device=torch.device(device))
        trained.num_epochs, trained.num_iterations_per_epoch, trained.num_val_iterations_per_epoch = (
            epochs,
            iterations,
            2,
        )
        trained.disable_checkpointing = True
        _forget_peak(device)
        seconds: list[float] = []
        steps: list[float] = []
        step = trained.train_step

        def watched(batch: dict[str, Any]) -> dict[str, Any]:
            start = perf_counter()
            losses: dict[str, Any] = step(batch)
            steps.append(perf_counter() - start)
            return losses

        trained.train_step = watched
        begin, end = trained.on_epoch_start, trained.on_train_epoch_end
        started = [0.0]

        def on_epoch_start() -> None:
            begin()
            started[0] = perf_counter()

        def on_train_epoch_end(outputs: list[dict[str, Any]]) -> None:
            seconds.append(perf_counter() - started[0])
            end(outputs)

        trained.on_epoch_start, trained.on_train_epoch_end = on_epoch_start, on_train_epoch_end
        trained.run_training()
    configuration = trained.configuration_manager
    return {
        "patch": f"{configuration.batch_size} × {'×'.join(map(str, configuration.patch_size))}",
        "epoch s": seconds[-1], "first epoch s": seconds[0], "step ms": 1e3 * median(steps[-iterations:]),
        "peak GB": _peak(device), "reserved GB": _reserved(device), "promised GB": promised,
    }  # fmt: skip


def _timed(function: Callable[[], Any], device: str, rounds: int) -> float:
    """Median of the milliseconds."""
    seconds = []
    for number in range(3 + rounds):
        _wait(device)
        start = perf_counter()
        function()
        _wait(device)
        if number >= 3:
            seconds.append(perf_counter() - start)
    return 1e3 * median(seconds)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _forget_peak(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float | None:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.device(device).type == "cuda" else None


def _reserved(device: str) -> float | None:
    return torch.cuda.max_memory_reserved() / 1e9 if torch.device(device).type == "cuda" else None


PARTS: dict[str, Callable[..., Any]] = {
    "exactness": exactness, "norm": norm, "network": network, "profile": profile, "epoch": epoch,
}  # fmt: skip


if __name__ == "__main__":
    # From the first run on: a kernel that cuDNN has chosen without trying stays.
    torch.backends.cudnn.benchmark = True
    part, words, result = sys.argv[1:]
    Path(result).write_text(json.dumps(PARTS[part](**json.loads(words))), encoding="utf-8")
