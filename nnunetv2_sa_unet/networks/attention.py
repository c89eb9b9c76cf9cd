"""The paper's 3D spatial attention module (section 2.1), for 2d and 3d."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from torch import nn
from torch.nn import functional

__all__ = ["SpatialAttention"]


class SpatialAttention(nn.Module):
    """Weigh every voxel by what the channels hold there (equation 1 of the paper).

    The mean and the maximum over the channels, in this order, go through one convolution without bias and a
    sigmoid; the result multiplies the input. The module comes from CBAM (Woo et al., ECCV 2018).

    'Same' padding of an even kernel is asymmetric in Keras, and so it is here: a kernel of 14 pads 6 voxels
    before and 7 after.

    Args:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_size: size of the convolution in voxels, one number per axis; the paper uses (1, 14, 14) in
            nnU-Net's axis order (z, y, x).

    Shape:
        (N, C, *spatial) → the same.

    Raises:
        ValueError: if ``kernel_size`` has not one number per axis.
    """

    def __init__(self, conv_op: type[nn.Module], kernel_size: Sequence[int]) -> None:
        super().__init__()
        n_axes = convert_conv_op_to_dim(conv_op)
        if len(kernel_size) != n_axes:
            raise ValueError(f"attention_kernel is {list(kernel_size)}, expected {n_axes} numbers, one per axis")
        self.conv = conv_op(2, 1, tuple(kernel_size), bias=False)
        # functional.pad lists the last axis first.
        self.padding = [side for k in reversed(kernel_size) for side in ((k - 1) // 2, k // 2)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        descriptor = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.conv(functional.pad(descriptor, self.padding)))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Count the values that the convolution puts out for one sample of ``input_size`` voxels."""
        return int(np.prod(input_size))
