"""The spatial attention, its large kernel by phases."""

from __future__ import annotations

import torch
from torch.nn import functional

from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast.convolution import convolve, convolve_by_phases
from nnunetv2_sa_unet.networks.fast.fused_attention import describe, weigh
from nnunetv2_sa_unet.networks.fast.launching import is_for_kernels
from nnunetv2_sa_unet.networks.fast.storage import fold_planes, unfold_planes

__all__ = ["attend"]

#: Extent from which on a kernel is convolved by phases; with fewer taps the plain convolution is as fast.
LARGE = 8


def attend(attention: SpatialAttention, x: torch.Tensor) -> torch.Tensor:
    """Return what ``attention`` would make of ``x``, (N, C, *spatial)."""
    if is_for_kernels(x):
        return weigh(x, _score(attention, describe(x)))
    # A sum and not a mean: its gradient is a view, that of a mean a map as large as x.
    mean = x.sum(1, keepdim=True) / x.shape[1]
    descriptor = torch.cat((mean, x.amax(1, keepdim=True)), 1)
    return x * torch.sigmoid(_score(attention, descriptor))


def _score(attention: SpatialAttention, descriptor: torch.Tensor) -> torch.Tensor:
    """Convolve mean and maximum, (N, 2, *spatial), with 'same' padding; large kernels within planes by phases."""
    weight = attention.conv.get_parameter("weight")
    *through_plane, height, width = weight.shape[2:]
    if through_plane not in ([], [1]) or min(height, width) < LARGE:
        return convolve(functional.pad(descriptor, attention.padding), weight)
    before = (attention.padding[2], attention.padding[0])
    if descriptor.ndim == 4:
        return convolve_by_phases(descriptor, weight, before)
    planes = convolve_by_phases(fold_planes(descriptor), weight.squeeze(2), before)
    return unfold_planes(planes, descriptor.shape[0])
