"""What the group norm's own autograd function is worth in a training step of SA-UNet on a CPU.

In turn with it: torch's kernel over copies in the usual storage, and torch's operations over channels-last storage.
Forward with deep supervision and backward of one patch of 32×128×128, float32, two threads.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from planned import build, configurations

from nnunetv2_sa_unet.networks import norm as plain
from nnunetv2_sa_unet.networks.fast import norm as fast

PATCH, THREADS, ROUNDS = (32, 128, 128), 2, 7


class Copies:
    """Torch's kernel, before and after which the map is copied."""

    @staticmethod
    def apply(x: torch.Tensor, weight: Any, bias: Any, groups: int, eps: float) -> torch.Tensor:
        memory_format = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        normed = plain.group_norm(x.contiguous(), groups, weight, bias, eps)
        return normed.contiguous(memory_format=memory_format)


class Operations:
    """Torch's operations, which autograd differentiates one by one."""

    @staticmethod
    def apply(x: torch.Tensor, weight: Any, bias: Any, groups: int, eps: float) -> torch.Tensor:
        voxels = x.movedim(1, -1)
        variance, mean = torch.var_mean(voxels.reshape(len(x), -1, groups, x.shape[1] // groups), (1, 3), correction=0)
        scale = fast._per_channel((variance + eps).rsqrt(), x) * weight
        shift = bias - fast._per_channel(mean, x) * scale
        return torch.addcmul(fast._beside(shift, x), voxels, fast._beside(scale, x)).movedim(-1, 1)


def main() -> None:
    """Measure, one after the other in every round, and print medians and their ratios to the first."""
    torch.set_num_threads(THREADS)
    network = build(configurations(PATCH)["SAUNet"], deep_supervision=True)
    x = torch.randn(1, 1, *PATCH)
    ways: dict[str, Any] = {"own function": fast._ChannelsLast, "copies": Copies, "operations": Operations}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            fast._ChannelsLast = way  # type: ignore[misc]
            network.zero_grad(set_to_none=True)
            start = time.perf_counter()
            sum(logits.square().mean() for logits in network(x)).backward()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s, {median / medians['own function']:.2f}")


if __name__ == "__main__":
    main()
