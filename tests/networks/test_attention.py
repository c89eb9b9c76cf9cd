from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast.attention import attend as fast_attend

# [convolution, kernel, input shape]
SHAPES = [
    (nn.Conv3d, [1, 14, 14], (2, 5, 3, 7, 9)),
    (nn.Conv3d, [1, 14, 14], (1, 1, 1, 20, 16)),
    (nn.Conv3d, [7, 7, 7], (1, 4, 3, 4, 5)),
    (nn.Conv3d, [2, 3, 4], (1, 4, 3, 4, 5)),
    (nn.Conv2d, [14, 14], (2, 5, 7, 9)),
    (nn.Conv2d, [1, 1], (2, 5, 7, 9)),
]


@pytest.mark.parametrize(("conv_op", "kernel_size", "shape"), SHAPES)
def test_output_has_the_shape_of_the_input(
    conv_op: type[nn.Module], kernel_size: list[int], shape: tuple[int, ...]
) -> None:
    attended = SpatialAttention(conv_op, kernel_size)(torch.randn(shape))
    assert tuple(attended.shape) == shape
    assert attended.isfinite().all()


@pytest.mark.parametrize(
    ("conv_op", "kernel_size", "message"),
    [
        (nn.Conv3d, [14, 14], r"attention_kernel is \[14, 14\], expected 3 numbers, one per axis"),
        (nn.Conv2d, [1, 14, 14], r"attention_kernel is \[1, 14, 14\], expected 2 numbers, one per axis"),
    ],
)
def test_kernel_with_a_wrong_number_of_axes_is_refused(
    conv_op: type[nn.Module], kernel_size: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SpatialAttention(conv_op, kernel_size)


def test_all_channels_of_a_voxel_get_one_factor_below_one() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 6, 3, 8, 8) + 0.5
    factors = SpatialAttention(nn.Conv3d, [1, 14, 14])(x) / x
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert factors.min() > 0
    assert factors.max() < 1


@pytest.mark.parametrize("attend", [SpatialAttention.__call__, fast_attend])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("kernel", [[14, 14], [7, 14], [1, 14]])
def test_one_impulse_reaches_seven_voxels_before_and_six_after(
    attend: Callable[[SpatialAttention, torch.Tensor], torch.Tensor], axis: int, kernel: list[int]
) -> None:
    """Padding 6 before and 7 after: a voxel sees those from 6 before to 7 after it. Large kernels go by phases."""
    if axis == 2:
        kernel = kernel[::-1]
    sam = SpatialAttention(nn.Conv2d, kernel).double()
    nn.init.constant_(sam.conv.weight, 1e-3)
    # Where x is 1, the output is the factor; the impulse itself is compared with twice its factor.
    flat = torch.ones(1, 1, 31, 31, dtype=torch.float64)
    impulse = flat.clone()
    impulse[..., 15, 15] = 2
    difference = (attend(sam, impulse) / impulse - attend(sam, flat)).abs() > 1e-9
    reached = difference[0, 0, :, 15] if axis == 2 else difference[0, 0, 15]
    assert reached.nonzero().flatten().tolist() == list(range(8, 22))
