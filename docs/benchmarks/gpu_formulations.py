"""Compare formulations, storages and group norms of 3D SA-UNet on a GPU, in one run, forward and in training.

python docs/benchmarks/gpu_formulations.py [--device cuda] [--batch 4] [--patch 32 256 256] [--rounds 7]

Ratios refer to the plain formulation with torch's group norm, which autocast computes in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import nn

from nnunetv2_sa_unet.benchmark.measure import Job, count_multiplications, interleaved, peak_memory
from nnunetv2_sa_unet.benchmark.networks import configurations
from nnunetv2_sa_unet.benchmark.tables import Row, make_row, markdown
from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.reference import PlainASPP, PlainSAUNet, PlainSpatialAttention
from nnunetv2_sa_unet.networks.sa_unet import SAUNet
from nnunetv2_sa_unet.networks.unet import Blocks, Decoder

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchNorm:
    """Torch's own group norm in place of ours, which stays in 16 bit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in self.modules():  # type: ignore[attr-defined]
            if isinstance(module, nn.GroupNorm):
                module.__class__ = nn.GroupNorm


class ChannelsLast:
    """Channels-last storage, in which convolutions within planes are those of images."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x.clone(memory_format=torch.channels_last_3d))  # type: ignore[misc]


class PlainTorchNorm(TorchNorm, PlainSAUNet):
    pass


class PlainChannelsLast(ChannelsLast, PlainSAUNet):
    pass


class FastTorchNorm(TorchNorm, SAUNet):
    pass


class FastChannelsLast(ChannelsLast, SAUNet):
    pass


class FastWithPlainDecoder(SAUNet):
    blocks_class: ClassVar[type[Blocks]] = Blocks
    decoder_class: ClassVar[type[Decoder]] = Decoder


class FastWithPlainAttention(SAUNet):
    attention_class: ClassVar[type[SpatialAttention]] = PlainSpatialAttention


class FastWithPlainASPP(SAUNet):
    aspp_class: ClassVar[type[ASPP]] = PlainASPP


#: Class in the place of ``SAUNet``, or the name of another network; whether it is compiled.
NETWORKS: dict[str, tuple[type[nn.Module] | str, bool]] = {
    "plain, torch's norm": (PlainTorchNorm, False),
    "plain": (PlainSAUNet, False),
    "plain, channels last": (PlainChannelsLast, False),
    "SAUNet": (SAUNet, False),
    "SAUNet, torch's norm": (FastTorchNorm, False),
    "SAUNet, channels last": (FastChannelsLast, False),
    "SAUNet, plain decoder and blocks": (FastWithPlainDecoder, False),
    "SAUNet, plain attention": (FastWithPlainAttention, False),
    "SAUNet, plain ASPP": (FastWithPlainASPP, False),
    "SAUNet, compiled": (SAUNet, True),
    "PlainConvUNet": ("PlainConvUNet", False),
    "PlainConvUNet, compiled": ("PlainConvUNet", True),
    "ResidualEncoderUNet, compiled": ("ResidualEncoderUNet", True),
}


def jobs(
    what: Any, patch: list[int], batch: int, device: str, dtype: torch.dtype
) -> Iterator[tuple[str, dict[str, Any], Job]]:
    """Give the name, the configuration and the job of every network."""
    for name, (network, compiled) in NETWORKS.items():
        configuration = configurations(patch)[network if isinstance(network, str) else "SAUNet"]
        if not isinstance(network, str):
            configuration["architecture"]["network_class_name"] = f"{network.__module__}.{network.__qualname__}"
        yield name, configuration, Job(configuration, what, tuple(patch), batch, device, dtype, compiled)


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
            for (name, configuration, _), durations, peak in zip(made, seconds, peaks, strict=True):
                counts = count_multiplications(configuration, arguments.patch, "meta")
                rows.append(make_row(what, name, dtype, durations, seconds[0], peak, *counts))
    setting = {
        "patch": f"{arguments.batch} × {'×'.join(map(str, arguments.patch))}",
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device,
        "versions": f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    }
    print(markdown(rows, setting))


if __name__ == "__main__":
    main()
