from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from math import prod

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.benchmark.measure import Job, count_multiplications, interleaved, peak_memory
from nnunetv2_sa_unet.benchmark.networks import build, configurations

PATCH = (8, 32, 32)


@pytest.fixture(scope="module")
def networks():
    return configurations(PATCH)


@pytest.fixture
def job(networks):
    return Job(networks["SAUNet"], "forward", PATCH, 1, "cpu", torch.float32, False)


@dataclass(frozen=True)
class Noted:
    """A job that notes its name when it runs."""

    name: str
    notes: list[str]

    def prepare(self):
        return lambda: self.notes.append(self.name)


def test_jobs_take_turns_and_warm_up_is_not_counted():
    notes: list[str] = []
    seconds = interleaved([Noted(name, notes) for name in "abc"], rounds=3)
    assert [len(durations) for durations in seconds] == [3, 3, 3]
    assert "".join(notes) == "abc" * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", ["forward", "train"])
def test_networks_run_in_every_way(job, what, dtype):
    (seconds,) = interleaved([replace(job, what=what, dtype=dtype)], rounds=1)
    assert seconds[0] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the peak of resident memory")
def test_training_needs_more_memory_than_prediction(job):
    large = replace(job, patch_size=(16, 64, 64))
    forward, train = (peak_memory(replace(large, what=what)) for what in ("forward", "train"))
    # 16 bytes at each of 16·64·64 voxels and 24 channels and more: convolution, norm, and nonlinearity in place.
    assert 10 < forward < train


def test_multiplications_are_those_of_the_convolutions(networks):
    network = build(networks["PlainConvUNet"], deep_supervision=False)
    expected = []

    def note(conv, inputs, output):
        # A transposed convolution takes each input, another one makes each output, with one kernel of all channels.
        tensor, channels = (
            (inputs[0], conv.out_channels) if isinstance(conv, nn.ConvTranspose3d) else (output, conv.in_channels)
        )
        expected.append(tensor.numel() * channels * prod(conv.kernel_size))

    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(note)
    with torch.no_grad():
        network(torch.zeros(1, 1, *PATCH))
    parameters, multiplications = count_multiplications(networks["PlainConvUNet"], PATCH, "cpu")
    assert multiplications == sum(expected)
    assert parameters == sum(parameter.numel() for parameter in network.parameters())
