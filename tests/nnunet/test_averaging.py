from __future__ import annotations

import copy
import io
from contextlib import suppress

import torch
from torch import nn

from nnunetv2_sa_unet.nnunet.averaging import WeightAverage

DECAY = 0.9


class Network(nn.Module):
    """A layer under two names, as in nnU-Net's blocks, and batch norm with its statistics."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Linear(3, 3)
        self.all_modules = nn.Sequential(self.conv, nn.BatchNorm1d(3))

    def forward(self, x):
        return self.all_modules(x)


class Training:
    def __init__(self, wrap=lambda network: network):
        torch.manual_seed(0)
        self.bare = Network()
        self.network = wrap(self.bare)
        self.optimizer = torch.optim.AdamW(self.bare.parameters(), 0.1)
        self.average = WeightAverage(self.network, self.optimizer, DECAY)
        self.batches = torch.Generator().manual_seed(1)

    def step(self):
        self.optimizer.zero_grad()
        self.bare(torch.randn(4, 3, generator=self.batches)).square().sum().backward()
        self.optimizer.step()
        self.average.update()

    def save(self):
        """What nnU-Net saves of network and optimiser."""
        stream = io.BytesIO()
        with self.average.in_use():
            torch.save({"network": self.bare.state_dict(), "optimizer": self.optimizer.state_dict()}, stream)
        stream.seek(0)
        return stream

    def load(self, stream):
        checkpoint = torch.load(stream)
        self.bare.load_state_dict(checkpoint["network"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])


def weights(network):
    return copy.deepcopy(network.state_dict())


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=name)


def test_the_average_is_exponential_and_starts_after_the_first_step():
    training = Training()
    training.step()
    expected = weights(training.bare)
    assert_equal(weights(training.average.model.module), expected)
    for _ in range(3):
        training.step()
        for name, value in training.bare.state_dict().items():
            if value.is_floating_point():
                expected[name] = DECAY * expected[name] + (1 - DECAY) * value
    found = weights(training.average.model.module)
    del found["all_modules.1.num_batches_tracked"], expected["all_modules.1.num_batches_tracked"]
    assert_equal(found, expected)


def test_the_average_is_in_use_for_a_block_and_training_goes_on_unchanged():
    with_blocks, without = Training(), Training()
    for _ in range(3):
        with_blocks.step()
        without.step()
        trained, averaged = weights(with_blocks.bare), weights(with_blocks.average.model.module)
        with suppress(KeyError), with_blocks.average.in_use():
            assert_equal(weights(with_blocks.bare), averaged)
            raise KeyError
        assert_equal(weights(with_blocks.bare), trained)
    assert_equal(weights(with_blocks.bare), weights(without.bare))


def test_a_checkpoint_has_the_average_for_prediction_and_both_for_going_on():
    undisturbed, resumed = Training(), Training()
    for _ in range(3):
        undisturbed.step()
    checkpoint = undisturbed.save()
    assert_equal(torch.load(checkpoint)["network"], weights(undisturbed.average.model.module))
    checkpoint.seek(0)

    resumed.load(checkpoint)
    resumed.batches.set_state(undisturbed.batches.get_state())
    for training in (undisturbed, resumed):
        training.step()

    assert_equal(weights(undisturbed.bare), weights(resumed.bare))
    assert_equal(weights(undisturbed.average.model.module), weights(resumed.average.model.module))


def test_a_checkpoint_without_average_starts_one():
    plain, averaging = Training(), Training()
    plain.step()
    averaging.bare.load_state_dict(plain.bare.state_dict())
    optimizer = torch.optim.AdamW(plain.bare.parameters(), 0.1)
    averaging.optimizer.load_state_dict(optimizer.state_dict())
    assert_equal(weights(averaging.average.model.module), weights(plain.bare))
    assert_equal(weights(averaging.bare), weights(plain.bare))


def test_an_optimiser_without_average_takes_the_state_of_one_with():
    training = Training()
    training.step()
    checkpoint = torch.load(training.save())
    plain = torch.optim.AdamW(Network().parameters(), 0.1)
    plain.load_state_dict(checkpoint["optimizer"])
    assert plain.state_dict().keys() == {"state", "param_groups"}


def test_wrappers_of_compile_are_looked_through():
    training = Training(torch.compile)
    training.step()
    assert_equal(weights(training.average.model.module), weights(training.bare))
