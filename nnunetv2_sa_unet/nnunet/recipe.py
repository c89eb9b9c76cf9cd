"""The training block of the plans, applied to a trainer of nnU-Net."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from nnunetv2_sa_unet.plans.overrides import Training

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

__all__ = ["build_optimizer", "set_hyperparameters"]

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
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build ``Adam`` or ``AdamW``; nnU-Net's SGD is built by nnU-Net.

    Adam has Keras' eps of 1e-7, because the paper's network was trained with Keras; AdamW has torch's 1e-8.
    """
    if name == "Adam":
        return torch.optim.Adam(parameters, learning_rate, weight_decay=weight_decay, eps=1e-7)
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
