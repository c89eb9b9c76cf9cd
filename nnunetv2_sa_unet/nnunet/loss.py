"""Losses of papers: that of 3D SA-UNet's released training script, and the Dice of the challenge's winner."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.utilities.ddp_allgather import AllGatherGrad
from torch import nn
from torch.nn import functional

__all__ = ["PaperLoss", "dice_alone"]

_EPS = 1e-5
_SMOOTH_OF_LI = 1.0


def dice_alone(loss: Any) -> None:
    """Make of nnU-Net's compound loss the Dice of Li et al. (2018), over the whole batch and smoothed by 1.

    Labels, regions, the ignore label and several processes are nnU-Net's matter as before. The mean is over classes;
    their one class is WMH.

    Args:
        loss: as nnU-Net builds it, before the weights for resolutions; changed in place.
    """
    loss.weight_ce = 0
    # Behind torch.compile, where nnU-Net compiles.
    dice = getattr(loss.dc, "_orig_mod", loss.dc)
    dice.batch_dice = True
    dice.smooth = _SMOOTH_OF_LI


class PaperLoss(nn.Module):
    """Binary cross-entropy + 1 - Dice over all classes and the whole batch.

    The paper (section 3.1) names "cross-entropy and Dice loss". The authors' script multiplies the sum by 100 and
    uses the *binary* cross-entropy, averaged over voxels and classes, of the probabilities, and a single Dice,
    2 Σ p t / (Σ p + Σ t + 1e-5), whose sums run over classes, voxels and the batch. This is what is computed here,
    in float32 and from logits: log p and log (1 - p) are differences of logsumexps and so never infinite.

    The factor 100 is left out. Adam divides it out again, but nnU-Net clips the norm of the gradient at 12, which
    100 times the gradient would exceed at almost every step.

    With regions, classes overlap and p is a sigmoid; else p is a softmax. Voxels with nnU-Net's ignore label count
    in neither term. With several processes the Dice is that of the batches of all.

    Args:
        has_regions: targets are regions, not labels.
        ignore_label: nnU-Net's ignore label, or None; with regions its mask is the target's last channel.
        ddp: sum the Dice over the processes.

    Shape:
        logits (N, C, *spatial); target (N, 1, *spatial) with labels, or (N, C, *spatial) with regions, C + 1 if
        there is an ignore label → scalar.
    """

    def __init__(self, has_regions: bool, ignore_label: int | None, ddp: bool) -> None:
        super().__init__()
        self.has_regions = has_regions
        self.ignore_label = ignore_label
        self.ddp = ddp

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # Sums over millions of voxels do not fit into 16 bit.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            one_hot, valid = self._one_hot(target, logits.shape[1])
            if self.has_regions:
                log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
            else:
                log_p, log_not_p = functional.log_softmax(logits, 1), _log_of_the_others(logits)
            n_valid = valid.sum().clamp(min=1) * logits.shape[1]
            cross_entropy = -(torch.where(one_hot, log_p, log_not_p) * valid).sum() / n_valid
            p = log_p.exp() * valid
            sums = torch.stack(((p * one_hot).sum(), p.sum() + (one_hot & valid).sum()))
            if self.ddp:
                sums = AllGatherGrad.apply(sums).sum(0)
            return cross_entropy + 1 - 2 * sums[0] / (sums[1] + _EPS)

    def _one_hot(self, target: torch.Tensor, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return targets (N, C, *spatial) and the voxels that count (N, 1, *spatial), both boolean."""
        if self.has_regions:
            one_hot = target[:, :n_classes].bool()
            valid = torch.ones_like(one_hot[:, :1]) if self.ignore_label is None else ~target[:, -1:].bool()
            return one_hot, valid
        classes = torch.arange(n_classes, device=target.device).view(-1, *[1] * (target.ndim - 2))
        valid = torch.ones_like(target, dtype=torch.bool) if self.ignore_label is None else target != self.ignore_label
        return target == classes, valid


def _log_of_the_others(logits: torch.Tensor) -> torch.Tensor:
    """Return log (1 - softmax): the logsumexp of the other classes minus that of all."""
    others = [
        torch.cat((logits[:, :c], logits[:, c + 1 :]), 1).logsumexp(1, keepdim=True) for c in range(logits.shape[1])
    ]
    return torch.cat(others, 1) - logits.logsumexp(1, keepdim=True)
