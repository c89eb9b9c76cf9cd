"""Triton's kernels of the spatial attention over channels-last maps, which :mod:`.fused_attention` launches.

A map is a matrix (rows, channels) of the voxels of all samples, and a program has one tile of whole rows, so that what
is asked of the channels of a voxel is known within the program. Where a tile begins is computed in 64 bit.
"""

# Triton compiles the source of these functions: what it knows of Python is little, and annotations are its own.
import triton
from triton import language as tl

__all__ = ["describe", "spread", "weigh", "weigh_back"]

#: Of multiples of 16 and of 1 Triton would make kernels of their own.
_SIZES = ["n_rows"]


@triton.jit
def _tile(n_rows, channels: tl.constexpr, tile_rows: tl.constexpr, tile_channels: tl.constexpr):
    """The first row, which rows exist, where their values are from the first on, and which of these exist."""
    first = tl.program_id(0).to(tl.int64) * tile_rows
    rows = tl.arange(0, tile_rows)
    columns = tl.arange(0, tile_channels)
    present_rows = first + rows < n_rows
    present = present_rows[:, None] & (columns < channels)[None, :]
    return first, rows, present_rows, rows[:, None] * channels + columns[None, :], present


@triton.jit(do_not_specialize=_SIZES)
def describe(
    x,
    descriptor,
    n_rows,
    dtype: tl.constexpr,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write mean and maximum of the channels, (rows, 2)."""
    first, rows, present_rows, offsets, present = _tile(n_rows, channels, tile_rows, tile_channels)
    values = tl.load(x + first * channels + offsets, mask=present, other=0).to(dtype)
    mean = tl.sum(values, 1) / channels
    largest = tl.max(tl.where(present, values, float("-inf")), 1)
    descriptor += 2 * first
    tl.store(descriptor + 2 * rows, mean.to(descriptor.dtype.element_ty), mask=present_rows)
    tl.store(descriptor + 2 * rows + 1, largest.to(descriptor.dtype.element_ty), mask=present_rows)


@triton.jit(do_not_specialize=_SIZES)
def spread(
    x,
    gradient,
    of_x,
    n_rows,
    dtype: tl.constexpr,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the gradient of ``x`` from that of mean and maximum, in equal shares where several channels are largest."""
    first, rows, present_rows, offsets, present = _tile(n_rows, channels, tile_rows, tile_channels)
    values = tl.load(x + first * channels + offsets, mask=present, other=0).to(dtype)
    values = tl.where(present, values, float("-inf"))
    is_largest = (values == tl.max(values, 1)[:, None]).to(dtype)
    gradient += 2 * first
    of_mean = tl.load(gradient + 2 * rows, mask=present_rows, other=0).to(dtype) / channels
    of_largest = tl.load(gradient + 2 * rows + 1, mask=present_rows, other=0).to(dtype) / tl.sum(is_largest, 1)
    result = of_mean[:, None] + of_largest[:, None] * is_largest
    tl.store(of_x + first * channels + offsets, result.to(of_x.dtype.element_ty), mask=present)


@triton.jit(do_not_specialize=_SIZES)
def weigh(
    x,
    score,
    y,
    n_rows,
    dtype: tl.constexpr,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the product of ``x`` and the sigmoid of the score of each row."""
    first, rows, present_rows, offsets, present = _tile(n_rows, channels, tile_rows, tile_channels)
    weight = tl.sigmoid(tl.load(score + first + rows, mask=present_rows, other=0).to(dtype))
    values = tl.load(x + first * channels + offsets, mask=present, other=0).to(dtype) * weight[:, None]
    tl.store(y + first * channels + offsets, values.to(y.dtype.element_ty), mask=present)


@triton.jit(do_not_specialize=_SIZES)
def weigh_back(
    x,
    score,
    gradient,
    of_x,
    of_score,
    n_rows,
    dtype: tl.constexpr,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the gradients of ``x`` and of the scores."""
    first, rows, present_rows, offsets, present = _tile(n_rows, channels, tile_rows, tile_channels)
    weight = tl.sigmoid(tl.load(score + first + rows, mask=present_rows, other=0).to(dtype))
    values = tl.load(x + first * channels + offsets, mask=present, other=0).to(dtype)
    incoming = tl.load(gradient + first * channels + offsets, mask=present, other=0).to(dtype)
    slope = tl.sum(values * incoming, 1) * weight * (1 - weight)
    tl.store(of_score + first + rows, slope.to(of_score.dtype.element_ty), mask=present_rows)
    result = incoming * weight[:, None]
    tl.store(of_x + first * channels + offsets, result.to(of_x.dtype.element_ty), mask=present)
