"""The paper's 3D atrous spatial pyramid pooling (section 2.2, figure 2), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["ASPP"]


class ASPP(nn.Module):
    """See the map at several scales at once, without losing resolution.

    Branches, concatenated in this order: the mean over the whole map, a 1×1×1 convolution, and a 3×3×3
    convolution for each dilation rate. A 1×1×1 convolution brings them back to ``channels``. Every
    convolution is followed by norm and nonlinearity; only that of the pooling branch has a bias, as in the
    authors' network.

    The pooling branch works on a single value per channel. Group normalisation still has the other channels of
    the group to normalise over; batch and instance normalisation have nothing, so with any norm other than
    a group norm this branch has none.

    A rate as large as the map or larger reads only padding with its outer taps: choose the depth of the network by
    the rates (``plans.topology``).

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        channels: number of channels C of input, output and each branch.
        rates: dilation rates in voxels of the map, the same along all axes; 6, 12 and 16 in the paper.
        norm_op: norm class, called with the number of channels; none if None.
        norm_op_kwargs: further arguments of ``norm_op``.
        nonlin: class of the nonlinearity; none if None.
        nonlin_kwargs: its arguments.

    Shape:
        (N, C, *spatial) → the same.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        channels: int,
        rates: Sequence[int],
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels

        def branch(conv: nn.Module, norm: type[nn.Module] | None = norm_op) -> nn.Sequential:
            norms = [] if norm is None else [norm(channels, **(norm_op_kwargs or {}))]
            nonlins = [] if nonlin is None else [nonlin(**(nonlin_kwargs or {}))]
            return nn.Sequential(conv, *norms, *nonlins)

        can_normalise_one_value = norm_op is not None and issubclass(norm_op, nn.GroupNorm)
        self.pool = branch(conv_op(channels, channels, 1), norm_op if can_normalise_one_value else None)
        self.convs = nn.ModuleList([branch(conv_op(channels, channels, 1, bias=False))])
        for rate in rates:
            self.convs.append(branch(conv_op(channels, channels, 3, padding=rate, dilation=rate, bias=False)))
        self.project = branch(conv_op((len(self.convs) + 1) * channels, channels, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(x.mean(tuple(range(2, x.ndim)), keepdim=True)).expand_as(x)
        fused: torch.Tensor = self.project(torch.cat((pooled, *(conv(x) for conv in self.convs)), 1))
        return fused

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample of ``input_size`` voxels."""
        maps = len(self.convs) + 1
        return int(self.channels * (maps * np.prod(input_size) + 1))
