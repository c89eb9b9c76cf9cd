"""Time, memory, parameters and multiplications of networks on random patches."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from planned import INPUT_CHANNELS, build
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.networks.unet import UNet

Pass = Literal["forward", "train"]
Forward = Callable[[torch.Tensor], Any]
_WARM_UP = 2


def as_it_is(network: nn.Module) -> Forward:
    """The network, which is SA-UNet in its faster formulations wherever they are allowed."""
    return network


def plain_modules(network: nn.Module) -> Forward:
    """SA-UNet as its modules say."""
    return partial(UNet.forward, network)


@dataclass(frozen=True)
class Job:
    """What one network is asked to do.

    Attributes:
        configuration: of the network, as in a plan.
        what: ``forward`` as in prediction, or ``train``: forward with deep supervision, and backward.
        patch_size: (z, y, x).
        batch_size: patches at once.
        device: name of a torch device.
        dtype: of the computation; other than float32 by autocast, as nnU-Net does it.
        compiled: by torch.compile.
        formulate: gives what is called with the patches.
    """

    configuration: Mapping[str, Any]
    what: Pass
    patch_size: tuple[int, ...]
    batch_size: int
    device: str
    dtype: torch.dtype
    compiled: bool
    formulate: Callable[[nn.Module], Forward] = as_it_is

    def prepare(self) -> Callable[[], None]:
        """Build the network and return what runs it once, to its end also on a GPU."""
        torch.manual_seed(0)
        device = torch.device(self.device)
        trains = self.what == "train"
        network = build(dict(self.configuration), deep_supervision=trains).to(device).train(trains)
        model = self.formulate(network)
        model = torch.compile(model) if self.compiled else model
        x = torch.randn(self.batch_size, INPUT_CHANNELS, *self.patch_size, device=device)
        autocast = torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

        def forward() -> None:
            with torch.no_grad(), autocast:
                model(x)

        def train() -> None:
            network.zero_grad(set_to_none=True)
            with autocast:
                logits = model(x)
            # The gradient of a loss without the time of one.
            torch.autograd.backward(logits, [torch.full_like(scale, 1 / scale.numel()) for scale in logits])

        def run() -> None:
            (train if trains else forward)()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run


def interleaved(jobs: Sequence[Job], rounds: int) -> list[list[float]]:
    """Run the jobs in turn, A B C A B C …, so that what slows the machine for a while slows all of them.

    Returns:
        for each job the seconds of every round; two rounds to warm up come before.
    """
    runs = [job.prepare() for job in jobs]
    seconds: list[list[float]] = [[] for _ in jobs]
    with _cudnn_benchmark():
        for number in range(_WARM_UP + rounds):
            for run, durations in zip(runs, seconds, strict=True):
                start = perf_counter()
                run()
                if number >= _WARM_UP:
                    durations.append(perf_counter() - start)
    return seconds


@contextmanager
def _cudnn_benchmark() -> Iterator[None]:
    """Let cuDNN choose its kernels as in nnU-Net."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def peak_memory(job: Job) -> float | None:
    """Return how many MB a job needs at most beyond what is in memory before it: network and input included.

    On CUDA the allocator's peak. On a CPU the growth of the peak resident memory of a process of its own, which Linux
    alone tells: None elsewhere.
    """
    if torch.device(job.device).type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(job.device)
        torch.cuda.reset_peak_memory_stats(job.device)
        job.prepare()()
        return (torch.cuda.max_memory_allocated(job.device) - before) / 1e6
    if torch.device(job.device).type != "cpu" or sys.platform != "linux":
        return None
    # A new process: in one that has measured before, freed memory would be used again and not show.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident_growth, (job, torch.get_num_threads()))


def _resident_growth(job: Job, threads: int) -> float:
    torch.set_num_threads(threads)
    before = _peak_resident()
    job.prepare()()
    return (_peak_resident() - before) / 1e6


def _peak_resident() -> int:
    """Return the highest resident memory of this process so far, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")


def count_multiplications(
    configuration: Mapping[str, Any], patch_size: Sequence[int], formulate: Callable[[nn.Module], Forward]
) -> tuple[int, int]:
    """Return the parameters, and the multiplications of all convolutions in one forward pass of one patch."""
    network = build(dict(configuration), deep_supervision=False).eval().to("meta")
    x = torch.zeros(1, INPUT_CHANNELS, *patch_size, device="meta")
    model = formulate(network)
    # Whoever counts closes the door to the faster formulations, so they are called without it.
    if model is network and fast.why_not_modules(network, x) is None:
        model = partial(fast.sa_unet, network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2
