"""The paper's 3D atrous spatial pyramid pooling (section 2.2, figure 2), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from torch import nn

from nnunetv2_sa_unet.networks.exact import convolve, convolve_dilated

__all__ = ["ASPP", "DilatedConv2d", "DilatedConv3d"]


class _WithoutIdleTaps:
    """Leave out the taps that read nothing but padding.

    Where the dilation is at least as large as the map along an axis, the outer taps of a kernel of 3 lie outside the
    map wherever the kernel stands: a kernel of 1 along this axis computes the same. The weights keep their shape, so
    state dicts do not depend on the size of the map.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    padding: Any
    dilation: tuple[int, ...]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, padding = self.weight, list(self.padding)
        for axis, (extent, dilation) in enumerate(zip(x.shape[2:], self.dilation, strict=True)):
            if dilation >= extent and weight.shape[axis + 2] == 3:
                weight, padding[axis] = weight.narrow(axis + 2, 1, 1), 0
        if self.bias is None and max(self.dilation) > 1:
            return convolve_dilated(x, weight, padding, self.dilation)
        return convolve(x, weight, self.bias, padding, self.dilation)


class DilatedConv2d(_WithoutIdleTaps, nn.Conv2d):
    """A convolution of 1×1, or a dilated one of 3×3, with 'same' padding; see :class:`_WithoutIdleTaps`."""


class DilatedConv3d(_WithoutIdleTaps, nn.Conv3d):
    """A convolution of 1×1×1, or a dilated one of 3×3×3, with 'same' padding; see :class:`_WithoutIdleTaps`."""


class ASPP(nn.Module):
    """See the map at several scales at once, without losing resolution.

    Branches, concatenated in this order: the mean over the whole map, a 1×1×1 convolution, and a 3×3×3
    convolution for each dilation rate. A 1×1×1 convolution brings them back to ``channels``. Every
    convolution is followed by norm and nonlinearity; only that of the pooling branch has a bias, as in the
    authors' network.

    The pooling branch works on a single value per channel. Group normalisation still has the other channels of
    the group to normalise over; batch and instance normalisation have nothing, so with any norm other than
    a group norm this branch has none.

    A rate as large as the map or larger reads only padding with its outer taps, which are left out: choose the depth
    of the network by the rates (``plans.topology``).

    The pooling branch has one value per channel, so its share in the projection is the same at every voxel:
    with the weights of the projection split, W [pooled, rest] = W_pooled pooled + W_rest rest. It is added
    afterwards, and no map is made of it.

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

    conv_classes: ClassVar[dict[int, type[nn.Module]]] = {2: DilatedConv2d, 3: DilatedConv3d}

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

        def branch(conv: nn.Module, norm: type[nn.Module] | None) -> nn.Sequential:
            modules: list[nn.Module] = [conv]
            if norm is not None:
                modules.append(norm(channels, **(norm_op_kwargs or {})))
            if nonlin is not None:
                modules.append(nonlin(**(nonlin_kwargs or {})))
            return nn.Sequential(*modules)

        can_normalise_one_value = norm_op is not None and issubclass(norm_op, nn.GroupNorm)
        self.pool = branch(conv_op(channels, channels, 1), norm_op if can_normalise_one_value else None)
        conv_class = self.conv_classes[convert_conv_op_to_dim(conv_op)]
        self.convs = nn.ModuleList([branch(conv_class(channels, channels, 1, bias=False), norm_op)])
        for rate in rates:
            conv = conv_class(channels, channels, 3, padding=rate, dilation=rate, bias=False)
            self.convs.append(branch(conv, norm_op))
        n_branches = 1 + len(self.convs)
        self.project = branch(conv_op(n_branches * channels, channels, 1, bias=False), norm_op)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(x.mean(tuple(range(2, x.ndim)), keepdim=True))
        rest = torch.cat([conv(x) for conv in self.convs], 1)
        conv, *norm_and_nonlinearity = self.project
        weight = conv.get_parameter("weight")
        fused = convolve(rest, weight[:, self.channels :]) + convolve(pooled, weight[:, : self.channels])
        for module in norm_and_nonlinearity:
            fused = module(fused)
        return fused

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample of ``input_size`` voxels."""
        maps = len(self.convs) + 1
        return int(self.channels * (maps * np.prod(input_size) + 1))
