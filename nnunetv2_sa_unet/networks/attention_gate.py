"""The additive attention gate of Attention U-Net (Oktay et al., MIDL 2018, figure 2), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nnunetv2_sa_unet.networks.unet import feature_map_size, upsampling

__all__ = ["AttentionGate"]


class AttentionGate(nn.Module):
    """Weigh every voxel of a skip connection by what the coarser map says of it (equations 1 and 2).

    With x the skip connection and g the gating signal, the coefficients are
    sigmoid(psi(relu(W_x(x) + W_g(g) + b_g)) + b_psi), computed on the grid of g and brought to the grid of x by
    (tri)linear interpolation; x times the coefficients comes out. W_g and psi are 1×1×1 convolutions. W_x brings x to
    the grid of g: the stride between the two grids is its stride and its kernel.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        channels: channels of x, and of the space in which x and g are added.
        gating_channels: channels of g.
        stride: how much coarser the grid of g is, one number per axis.
        gating: what makes g of the coarser map.

    Shape:
        x (N, ``channels``, *spatial), coarser map (N, ``gating_channels``, *(spatial / ``stride``)) → that of x.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        channels: int,
        gating_channels: int,
        stride: Sequence[int],
        gating: nn.Module,
    ) -> None:
        super().__init__()
        self.gating = gating
        self.stride = tuple(stride)
        self.w_x = conv_op(channels, channels, self.stride, stride=self.stride, bias=False)
        self.w_g = conv_op(gating_channels, channels, 1)
        self.psi = conv_op(channels, 1, 1)
        self.resample = upsampling(stride, "linear")

    def forward(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        return x * self.coefficients(x, below)

    def coefficients(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Return the factors of the voxels, (N, 1, *spatial), between 0 and 1."""
        added = torch.relu(self.w_x(x) + self.w_g(self.gating(below)))
        coefficients: torch.Tensor = self.resample(torch.sigmoid(self.psi(added)))
        return coefficients

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that all convolutions put out for one sample, x being ``input_size`` voxels large."""
        coarse = [extent // step for extent, step in zip(input_size, self.stride, strict=True)]
        return sum(feature_map_size(module, coarse) for module in (self.gating, self.w_x, self.w_g, self.psi))
