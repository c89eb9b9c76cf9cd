"""Triton's kernels of the group norm over channels-last maps, which :mod:`.fused_norm` launches.

A map is a matrix for each sample, (rows, channels): its voxels one after the other, each with its channels side by
side. The grids are (block of channels, part of the rows, sample), so that what lies side by side is read at the same
time and even a single sample is spread over the whole GPU. A program goes through its part tile by tile. Another launch
adds up the parts, in an order that does not change and without atomics: the same input gives the same bits.

Where a part begins is computed in 64 bit, places within a tile in 32: a map may have more than 2³¹ values.

``dtype`` is what is computed in, that of the statistics: float32, or float64 for maps of float64. Parameters are in
the dtype they are learnt in.
"""

# Triton compiles the source of these functions: what it knows of Python is little, and annotations are its own.
import triton
from triton import language as tl

__all__ = ["add_up_gradients", "add_up_moments", "input_gradient", "moments", "normalise", "parameter_gradients"]

#: Numbers that differ from map to map. Of multiples of 16 and of 1 Triton would make kernels of their own.
_SIZES = ["n_rows", "rows_each", "n_parts"]


@triton.jit
def _columns(channels: tl.constexpr, tile_channels: tl.constexpr):
    """The channels of this program, and which of them exist."""
    columns = tl.program_id(0) * tile_channels + tl.arange(0, tile_channels)
    return columns, columns < channels


@triton.jit
def _begin(n_rows, rows_each, channels: tl.constexpr):
    """Where the part of this program begins, and how many rows it has."""
    first = tl.program_id(1).to(tl.int64) * rows_each
    begin = (tl.program_id(2).to(tl.int64) * n_rows + first) * channels
    return begin, tl.minimum(n_rows - first, rows_each).to(tl.int32)


@triton.jit
def _of_channels(pointer, columns, inside, dtype: tl.constexpr):
    return tl.load(pointer + columns, mask=inside, other=0).to(dtype)[None, :]


@triton.jit
def _affine(weight, bias, columns, inside, dtype: tl.constexpr):
    """Scale and shift of the channels; a norm without them has None."""
    if weight is None:
        scale = tl.full([1, columns.shape[0]], 1, dtype)
        shift = tl.full([1, columns.shape[0]], 0, dtype)
    else:
        scale = _of_channels(weight, columns, inside, dtype)
        shift = _of_channels(bias, columns, inside, dtype)
    return scale, shift


@triton.jit(do_not_specialize=_SIZES)
def moments(
    x,
    means,
    squares,
    n_rows,
    rows_each,
    channels: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write mean and sum of squared deviations of every channel in every part, (N, parts, C).

    Every place of the tile keeps moments of its own by Welford's updates, which Chan's formula combines at the end:
    nothing is squared before a mean near it is subtracted.
    """
    dtype: tl.constexpr = means.dtype.element_ty
    columns, inside = _columns(channels, tile_channels)
    begin, remaining = _begin(n_rows, rows_each, channels)
    x += begin

    rows = tl.arange(0, tile_rows)
    offsets = rows[:, None] * channels + columns[None, :]
    mean = tl.zeros([tile_rows, tile_channels], dtype)
    square = tl.zeros([tile_rows, tile_channels], dtype)
    seen = tl.zeros([1, 1], dtype)
    for start in range(0, remaining, tile_rows):
        present = (start + rows < remaining)[:, None] & inside[None, :]
        values = tl.load(x + offsets, mask=present, other=0).to(dtype)
        deviation = tl.where(present, values - mean, 0)
        seen += 1
        mean += deviation * (1 / seen)
        square += deviation * (values - mean)
        x += tile_rows * channels

    count = ((remaining - rows + tile_rows - 1) // tile_rows).to(dtype)[:, None]
    of_channel = tl.sum(count * mean, 0) / remaining.to(dtype)
    between = mean - of_channel[None, :]
    place = (tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * channels + columns
    tl.store(means + place, of_channel, mask=inside)
    tl.store(squares + place, tl.sum(square + count * between * between, 0), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def add_up_moments(
    means,
    squares,
    mean,
    inverse,
    n_rows,
    rows_each,
    n_parts,
    eps: tl.constexpr,
    per_group: tl.constexpr,
    tile_parts: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write mean and inverse deviation of every group, (N, groups), by Chan's formula over parts and channels.

    The grid is (groups, 1, samples).
    """
    dtype: tl.constexpr = means.dtype.element_ty
    columns = tl.arange(0, tile_channels)
    inside = columns < per_group
    channels = tl.num_programs(0) * per_group
    begin = tl.program_id(2).to(tl.int64) * n_parts * channels + tl.program_id(0) * per_group
    size = n_rows.to(dtype) * per_group

    total = tl.zeros([tile_parts, tile_channels], dtype)
    for start in range(0, n_parts, tile_parts):
        parts = start + tl.arange(0, tile_parts)
        present = (parts < n_parts)[:, None] & inside[None, :]
        count = tl.minimum(n_rows - parts.to(tl.int64) * rows_each, rows_each).to(dtype)[:, None]
        total += count * tl.load(means + begin + parts[:, None] * channels + columns[None, :], mask=present, other=0)
    of_group = tl.sum(tl.sum(total, 1), 0) / size

    total = tl.zeros([tile_parts, tile_channels], dtype)
    for start in range(0, n_parts, tile_parts):
        parts = start + tl.arange(0, tile_parts)
        present = (parts < n_parts)[:, None] & inside[None, :]
        offsets = begin + parts[:, None] * channels + columns[None, :]
        count = tl.minimum(n_rows - parts.to(tl.int64) * rows_each, rows_each).to(dtype)[:, None]
        between = tl.load(means + offsets, mask=present, other=0) - of_group
        total += tl.where(present, tl.load(squares + offsets, mask=present, other=0) + count * between * between, 0)
    variance = tl.sum(tl.sum(total, 1), 0) / size

    place = tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)
    tl.store(mean + place, of_group)
    tl.store(inverse + place, 1 / tl.sqrt(variance + eps))


@triton.jit(do_not_specialize=_SIZES)
def normalise(
    x,
    weight,
    bias,
    mean,
    inverse,
    y,
    n_rows,
    rows_each,
    channels: tl.constexpr,
    per_group: tl.constexpr,
    relu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the normalised ``x``, scaled and shifted, its negative values as 0, into ``y``, which may be ``x``."""
    dtype: tl.constexpr = mean.dtype.element_ty
    columns, inside = _columns(channels, tile_channels)
    begin, remaining = _begin(n_rows, rows_each, channels)
    x += begin
    y += begin
    groups = tl.program_id(2) * (channels // per_group) + columns // per_group
    centre = _of_channels(mean, groups, inside, dtype)
    scale, shift = _affine(weight, bias, columns, inside, dtype)
    scale *= _of_channels(inverse, groups, inside, dtype)

    rows = tl.arange(0, tile_rows)
    offsets = rows[:, None] * channels + columns[None, :]
    for start in range(0, remaining, tile_rows):
        present = (start + rows < remaining)[:, None] & inside[None, :]
        values = (tl.load(x + offsets, mask=present, other=0).to(dtype) - centre) * scale + shift
        if relu:
            values = tl.where(values <= 0, 0, values)  # what is no number stays, as with torch
        tl.store(y + offsets, values.to(y.dtype.element_ty), mask=present)
        x += tile_rows * channels
        y += tile_rows * channels


@triton.jit
def _load_gradient(
    x,
    gradient,
    offsets,
    present,
    centre,
    inverse,
    scale,
    shift,
    relu: tl.constexpr,
    dtype: tl.constexpr,
):
    """The normalised ``x``, and of the gradient what ReLU let through."""
    normed = (tl.load(x + offsets, mask=present, other=0).to(dtype) - centre) * inverse
    incoming = tl.load(gradient + offsets, mask=present, other=0).to(dtype)
    if relu:
        incoming = tl.where(normed * scale + shift <= 0, 0, incoming)
    return normed, incoming


@triton.jit(do_not_specialize=_SIZES)
def parameter_gradients(
    x,
    gradient,
    weight,
    bias,
    mean,
    inverse,
    of_scale,
    of_shift,
    n_rows,
    rows_each,
    channels: tl.constexpr,
    per_group: tl.constexpr,
    relu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the gradients of scale and shift of every channel in every part, (N, parts, C)."""
    dtype: tl.constexpr = mean.dtype.element_ty
    columns, inside = _columns(channels, tile_channels)
    begin, remaining = _begin(n_rows, rows_each, channels)
    x += begin
    gradient += begin
    groups = tl.program_id(2) * (channels // per_group) + columns // per_group
    centre = _of_channels(mean, groups, inside, dtype)
    to_one = _of_channels(inverse, groups, inside, dtype)
    scale, shift = _affine(weight, bias, columns, inside, dtype)

    rows = tl.arange(0, tile_rows)
    offsets = rows[:, None] * channels + columns[None, :]
    sum_scale = tl.zeros([tile_rows, tile_channels], dtype)
    sum_shift = tl.zeros([tile_rows, tile_channels], dtype)
    for start in range(0, remaining, tile_rows):
        present = (start + rows < remaining)[:, None] & inside[None, :]
        normed, incoming = _load_gradient(x, gradient, offsets, present, centre, to_one, scale, shift, relu, dtype)
        sum_scale += incoming * normed
        sum_shift += incoming
        x += tile_rows * channels
        gradient += tile_rows * channels

    place = (tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * channels + columns
    tl.store(of_scale + place, tl.sum(sum_scale, 0), mask=inside)
    tl.store(of_shift + place, tl.sum(sum_shift, 0), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def add_up_gradients(
    scale_parts,
    shift_parts,
    weight,
    of_scale,
    of_shift,
    by_normed,
    constant,
    n_rows,
    n_parts,
    per_group: tl.constexpr,
    tile_parts: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Add up the parts of the gradients of scale and shift, (N, C), and take their means over groups, (N, groups).

    The grid is (groups, 1, samples).
    """
    dtype: tl.constexpr = scale_parts.dtype.element_ty
    columns = tl.arange(0, tile_channels)
    inside = columns < per_group
    channels = tl.num_programs(0) * per_group
    first = tl.program_id(0) * per_group
    begin = tl.program_id(2).to(tl.int64) * n_parts * channels + first

    sum_scale = tl.zeros([tile_parts, tile_channels], dtype)
    sum_shift = tl.zeros([tile_parts, tile_channels], dtype)
    for start in range(0, n_parts, tile_parts):
        parts = start + tl.arange(0, tile_parts)
        present = (parts < n_parts)[:, None] & inside[None, :]
        offsets = begin + parts[:, None] * channels + columns[None, :]
        sum_scale += tl.load(scale_parts + offsets, mask=present, other=0)
        sum_shift += tl.load(shift_parts + offsets, mask=present, other=0)
    scale_gradient = tl.sum(sum_scale, 0)
    shift_gradient = tl.sum(sum_shift, 0)

    place = tl.program_id(2) * channels + first + columns
    tl.store(of_scale + place, scale_gradient, mask=inside)
    tl.store(of_shift + place, shift_gradient, mask=inside)
    if weight is not None:
        scale = tl.load(weight + first + columns, mask=inside, other=0).to(dtype)
        scale_gradient *= scale
        shift_gradient *= scale
    size = n_rows.to(dtype) * per_group
    place_of_group = tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)
    tl.store(by_normed + place_of_group, tl.sum(scale_gradient, 0) / size)
    tl.store(constant + place_of_group, tl.sum(shift_gradient, 0) / size)


@triton.jit(do_not_specialize=_SIZES)
def input_gradient(
    x,
    gradient,
    weight,
    bias,
    mean,
    inverse,
    by_normed,
    constant,
    of_x,
    n_rows,
    rows_each,
    channels: tl.constexpr,
    per_group: tl.constexpr,
    relu: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_channels: tl.constexpr,
):
    """Write the gradient of ``x``: inverse · (scale · gradient - constant - normed · by_normed)."""
    dtype: tl.constexpr = mean.dtype.element_ty
    columns, inside = _columns(channels, tile_channels)
    begin, remaining = _begin(n_rows, rows_each, channels)
    x += begin
    gradient += begin
    of_x += begin
    groups = tl.program_id(2) * (channels // per_group) + columns // per_group
    centre = _of_channels(mean, groups, inside, dtype)
    to_one = _of_channels(inverse, groups, inside, dtype)
    slope = _of_channels(by_normed, groups, inside, dtype)
    level = _of_channels(constant, groups, inside, dtype)
    scale, shift = _affine(weight, bias, columns, inside, dtype)

    rows = tl.arange(0, tile_rows)
    offsets = rows[:, None] * channels + columns[None, :]
    for start in range(0, remaining, tile_rows):
        present = (start + rows < remaining)[:, None] & inside[None, :]
        normed, incoming = _load_gradient(x, gradient, offsets, present, centre, to_one, scale, shift, relu, dtype)
        values = (scale * incoming - level - normed * slope) * to_one
        tl.store(of_x + offsets, values.to(of_x.dtype.element_ty), mask=present)
        x += tile_rows * channels
        gradient += tile_rows * channels
        of_x += tile_rows * channels
