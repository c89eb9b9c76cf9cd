"""The paper's learning rate: lower it when the validation loss no longer falls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

__all__ = ["PlateauSchedule", "plateau_learning_rate"]

FACTOR = 0.1
PATIENCE = 3
MIN_DELTA = 1e-4
FLOOR = 1e-8


def plateau_learning_rate(initial_lr: float, val_losses: Sequence[float]) -> float:
    """Return the learning rate after the epochs with these validation losses.

    It falls to a tenth, not below 1e-8, after three epochs in a row without a loss that is better by more than
    1e-4 (the authors' script with the defaults of Keras' ``ReduceLROnPlateau``). As a function of the logged
    losses it needs no state of its own: a continued training goes on exactly as if it had not been interrupted.

    Args:
        initial_lr: the learning rate of the first epoch.
        val_losses: the validation loss of each epoch so far, the first epoch first.
    """
    learning_rate, best, waited = initial_lr, float("inf"), 0
    for loss in val_losses:
        if loss < best - MIN_DELTA:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= PATIENCE and learning_rate > FLOOR:
            learning_rate, waited = max(learning_rate * FACTOR, FLOOR), 0
    return learning_rate


class PlateauSchedule:
    """The plateau schedule as nnU-Net's trainer steps it, at the start of every epoch.

    Args:
        optimizer: whose learning rate is set.
        initial_lr: the learning rate of the first epoch.
        val_losses: gives the validation losses logged so far.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, val_losses: Callable[[], Sequence[float]]
    ) -> None:
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.val_losses = val_losses

    def step(self, current_epoch: int) -> None:
        """Set the learning rate of epoch ``current_epoch``, counted from 0."""
        learning_rate = plateau_learning_rate(self.initial_lr, self.val_losses()[:current_epoch])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
