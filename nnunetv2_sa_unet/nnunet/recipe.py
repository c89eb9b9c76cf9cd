"""The training block of the plans, applied to a trainer of nnU-Net: its attributes, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.overrides import Training

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

__all__ = [
    "PlateauSchedule", "WarmupSchedule", "build_optimizer", "plateau_learning_rate", "set_hyperparameters",
    "warmup_learning_rate",
]  # fmt: skip

# nnU-Net's, of its polynomial decay.
POWER = 0.9

#: Of a group of parameters: by what its learning rate differs from that of the others.
FACTOR_KEY = "lr_factor"

# Keras' ReduceLROnPlateau as the authors' script calls it.
FACTOR = 0.1
PATIENCE = 3
MIN_DELTA = 1e-4
FLOOR = 1e-8

# Keys of the training block that are attributes of nnU-Net's trainer, under the trainer's name for them.
_ATTRIBUTES = {
    "num_epochs": "num_epochs",
    "num_iterations_per_epoch": "num_iterations_per_epoch",
    "num_val_iterations_per_epoch": "num_val_iterations_per_epoch",
    "initial_lr": "initial_lr",
    "weight_decay": "weight_decay",
    "deep_supervision": "enable_deep_supervision",
    "oversample_foreground_percent": "oversample_foreground_percent",
    "save_every": "save_every",
}


def set_hyperparameters(trainer: nnUNetTrainer, training: Training) -> None:
    """Set the attributes of ``trainer`` that the training block names; the others keep nnU-Net's defaults."""
    for key, attribute in _ATTRIBUTES.items():
        value = getattr(training, key)
        if value is not None:
            setattr(trainer, attribute, value)


def build_optimizer(
    name: str, network: nn.Module, learning_rate: float, weight_decay: float, head_lr: float | None = None
) -> torch.optim.Optimizer:
    """Build ``Adam`` or ``AdamW``; nnU-Net's SGD is built by nnU-Net.

    Adam has Keras' eps of 1e-7, because the paper's network was trained with Keras; AdamW has torch's 1e-8.

    Args:
        name: of the two.
        network: whose parameters are trained.
        learning_rate: at the start.
        weight_decay: of the optimiser.
        head_lr: at the start, of the last layers. Adam moves a weight by no more than the learning rate a step, and
            layers that begin anew on a pretrained network have to come as far in a short training as the others
            did in a long one.
    """
    groups: list[dict[str, Any]] = [{"params": network.parameters()}]
    if head_lr is not None:
        heads: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter_name, parameter in network.named_parameters():
            (heads if ".seg_layers." in parameter_name else others).append(parameter)
        groups = [{"params": others}, {"params": heads, FACTOR_KEY: head_lr / learning_rate}]
    if name == "Adam":
        return torch.optim.Adam(groups, learning_rate, weight_decay=weight_decay, eps=1e-7)
    return torch.optim.AdamW(groups, learning_rate, weight_decay=weight_decay)


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


def warmup_learning_rate(initial_lr: float, iteration: int, warmup: int, total: int) -> float:
    """Return the learning rate of an iteration: up to ``initial_lr`` linearly, then down polynomially to 0.

    Args:
        initial_lr: the highest learning rate, that of iteration ``warmup``.
        iteration: counted from 0.
        warmup: iterations over which the rate rises.
        total: iterations of the whole training, more than ``warmup``.
    """
    if iteration < warmup:
        return initial_lr * (iteration + 1) / (warmup + 1)
    left = 1 - (iteration - warmup) / (total - warmup)
    return initial_lr * float(left**POWER)


class WarmupSchedule:
    """Warm-up and polynomial decay from batch to batch.

    Like :class:`PlateauSchedule` it has no state that a continued training would have to restore.

    Args:
        optimizer: whose learning rate is set.
        initial_lr: the highest learning rate.
        warmup: iterations over which the rate rises, may be 0.
        epochs: of the whole training.
        iterations_per_epoch: batches an epoch.

    Raises:
        InputError: the warm-up is as long as the training, or longer.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, warmup: int, epochs: int, iterations_per_epoch: int
    ) -> None:
        self.total = epochs * iterations_per_epoch
        if warmup >= self.total:
            raise InputError(
                f"training.warmup_iterations: found {warmup}, but the training has {self.total} iterations in all "
                f"({epochs} epochs of {iterations_per_epoch}): warm up over fewer, or train longer"
            )
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.warmup = warmup
        self.iterations_per_epoch = iterations_per_epoch
        self.iteration = 0

    def step(self, current_epoch: int) -> None:
        """Set the learning rate of the first batch of epoch ``current_epoch``, counted from 0."""
        self._set(current_epoch * self.iterations_per_epoch)

    def step_iteration(self) -> None:
        """Set the learning rate of the next batch."""
        self._set(self.iteration + 1)

    def _set(self, iteration: int) -> None:
        self.iteration = iteration
        # After the last batch of all there is none whose rate this would be.
        learning_rate = warmup_learning_rate(self.initial_lr, min(iteration, self.total), self.warmup, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get(FACTOR_KEY, 1)
