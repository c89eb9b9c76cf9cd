"""DropBlock (Ghiasi, Lin and Le, "DropBlock: A regularization method for convolutional networks", NeurIPS 2018), for
2d and 3d."""

from __future__ import annotations

from math import prod

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DropBlock"]


class DropBlock(nn.Module):
    """In training, set whole blocks of each channel to 0 and scale up what is left; nothing else.

    Blocks lie within the map, as in the paper, and begin with a probability that drops the fraction ``p`` of it. The
    mask and the factor are computed in float32 whatever the type of the input: the number of kept values does not fit
    into 16 bit. Where the map is smaller than the block, the block is as large as the map.

    Args:
        p: fraction of the values to drop.
        block_size: edge of a block along every axis.

    Shape:
        (N, C, *spatial) → the same.
    """

    def __init__(self, p: float, block_size: int) -> None:
        super().__init__()
        self.p = p
        self.block_size = block_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        size = list(x.shape[2:])
        block = [min(self.block_size, extent) for extent in size]
        corners = [extent - edge + 1 for extent, edge in zip(size, block, strict=True)]
        rate = self.p / prod(block) * prod(size) / prod(corners)
        begins = (torch.rand((*x.shape[:2], *corners), device=x.device) < rate).float()
        # functional.pad lists the last axis first.
        begins = functional.pad(begins, [side for edge in reversed(block) for side in (edge - 1, edge - 1)])
        max_pool = functional.max_pool2d if len(size) == 2 else functional.max_pool3d
        kept = 1 - max_pool(begins, block, stride=1)
        factor = kept.numel() / kept.sum().clamp(min=1)
        return x * (kept * factor).to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}, block_size={self.block_size}"
