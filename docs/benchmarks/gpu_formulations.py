"""Compare formulations, storages and group norms of 3D SA-UNet on a GPU, in one run, forward and in training.

python docs/benchmarks/gpu_formulations.py [--device cuda] [--batch 4] [--patch 32 256 256] [--rounds 7]

Ratios refer to the plain modules with torch's group norm, which autocast computes in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from measure import Forward, Job, as_it_is, count_multiplications, interleaved, peak_memory, plain_modules
from planned import configurations
from tables import Row, make_row, markdown
from torch import nn

from nnunetv2_sa_unet.networks import fast

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def faster(network: nn.Module) -> Forward:
    """The faster formulations, whatever the door says of the dtype."""
    return partial(fast.sa_unet, network)


def with_torchs_norm(network: nn.Module) -> Forward:
    """Torch's own group norm in place of ours, which stays in 16 bit."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.__class__ = nn.GroupNorm
    return plain_modules(network)


def channels_last(network: nn.Module) -> Forward:
    """Channels-last storage in the plain modules."""
    forward = plain_modules(network)
    return lambda x: forward(x.contiguous(memory_format=torch.channels_last_3d))


#: Name of the network, what is called of it, and whether it is compiled.
NETWORKS: dict[str, tuple[str, Callable[[nn.Module], Forward], bool]] = {
    "plain, torch's norm": ("SAUNet", with_torchs_norm, False),
    "plain": ("SAUNet", plain_modules, False),
    "plain, channels last": ("SAUNet", channels_last, False),
    "plain, compiled": ("SAUNet", plain_modules, True),
    "faster": ("SAUNet", faster, False),
    "faster, compiled": ("SAUNet", faster, True),
    "PlainConvUNet": ("PlainConvUNet", as_it_is, False),
    "PlainConvUNet, compiled": ("PlainConvUNet", as_it_is, True),
    "ResidualEncoderUNet, compiled": ("ResidualEncoderUNet", as_it_is, True),
}


def jobs(
    what: Any, patch: list[int], batch: int, device: str, dtype: torch.dtype
) -> Iterator[tuple[str, dict[str, Any], Job]]:
    """Give the name, the configuration and the job of every network."""
    for name, (network, formulate, compiled) in NETWORKS.items():
        configuration = configurations(patch)[network]
        yield name, configuration, Job(configuration, what, tuple(patch), batch, device, dtype, compiled, formulate)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, nargs=3, default=[32, 256, 256])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for what in ("forward", "train"):
        for dtype, torch_dtype in DTYPES.items():
            made = list(jobs(what, arguments.patch, arguments.batch, arguments.device, torch_dtype))
            peaks = [peak_memory(job) for _, _, job in made]
            seconds = interleaved([job for _, _, job in made], arguments.rounds)
            for (name, configuration, job), durations, peak in zip(made, seconds, peaks, strict=True):
                counts = count_multiplications(configuration, arguments.patch, job.formulate)
                rows.append(make_row(what, name, dtype, durations, seconds[0], peak, *counts))
    setting = {
        "patch": f"{arguments.batch} × {'×'.join(map(str, arguments.patch))}",
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device,
        "versions": f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    }
    print(markdown(rows, setting))


if __name__ == "__main__":
    main()
