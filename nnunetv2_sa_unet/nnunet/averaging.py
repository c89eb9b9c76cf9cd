"""An exponential moving average of the weights beside those that are trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["WeightAverage", "unwrapped"]

#: Where the trained weights stand in the optimiser's state, when checkpoints hold their average as the network's.
TRAINED_KEY = "trained_weights"


class WeightAverage:
    """torch's ``AveragedModel`` over weights and buffers, as nnU-Net's checkpoints can keep it.

    The checkpoint of a training has one entry for the network, which every program that predicts reads. With
    averaging that is the average. The weights being trained travel in the state of the optimiser, whose business
    they are: its hooks put them there on saving and back into the network on loading, so that a training that is
    continued goes on with both. The average starts at the weights after the first step, whatever they were
    initialised or pretrained with.

    Args:
        network: the one that is trained, in whatever wrappers of ``torch.compile`` and DDP.
        optimizer: of the network.
        decay: fraction of the average that one step leaves.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.network = unwrapped(network)
        # Batch norm's running statistics have to fit the averaged weights, hence the buffers.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.model = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
        self._in_use = False
        optimizer.register_state_dict_post_hook(self._add_trained)
        optimizer.register_load_state_dict_pre_hook(self._take_trained)

    def update(self) -> None:
        """Take the weights after a step into the average."""
        self.model.update_parameters(self.network)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the network have the average as its weights until the block ends."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the network's weights for the average, or back, in place: wrappers and optimiser do not notice."""
        for trained, averaged in zip(_tensors(self.network), _tensors(self.model.module), strict=True):
            kept = trained.clone()
            trained.copy_(averaged)
            averaged.copy_(kept)
        self._in_use = not self._in_use

    def _add_trained(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        holder = self.model.module if self._in_use else self.network
        return state | {TRAINED_KEY: holder.state_dict()}

    def _take_trained(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        # nnU-Net has loaded the checkpoint's network by now; a training without average has no other weights.
        self.model.module.load_state_dict(self.network.state_dict())
        # Not the first step any more, which would overwrite the average.
        self.model.n_averaged.fill_(1)
        trained = state.get(TRAINED_KEY)
        if trained is not None:
            self.network.load_state_dict(trained)
        return {key: value for key, value in state.items() if key != TRAINED_KEY}


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, without the wrappers of DDP and ``torch.compile`` in which nnU-Net keeps it."""
    if isinstance(network, DistributedDataParallel):
        network = network.module
    if isinstance(network, OptimizedModule):
        network = network._orig_mod
    return network


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    # Not the state dict, in which nnU-Net's blocks have each parameter under several names.
    return itertools.chain(network.parameters(), network.buffers())
