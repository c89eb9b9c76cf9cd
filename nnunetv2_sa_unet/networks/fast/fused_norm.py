"""Group norm and ReLU over channels-last maps on a GPU, as one function with a gradient.

Torch's kernel reads maps in torch's usual storage only, gives a whole group of channels to one block of threads, and
leaves ReLU to another pass. Here a map is read twice and written once, and twice, with its gradient, on the way back.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nnunetv2_sa_unet.networks import norm as plain
from nnunetv2_sa_unet.networks.fast.gradients import gradients_by_torch
from nnunetv2_sa_unet.networks.fast.launching import needs_torch, on_device_of, power_of_two, rows_of, tile

__all__ = ["group_norm_by_torch", "group_norm_relu"]

#: Channels of a tile at most: 128 bytes of 16-bit maps.
_CHANNELS = 64
#: Programs of a launch that are enough for every GPU, and tiles that make a program worth its start.
_PROGRAMS, _TILES = 4096, 8


class _Cut(NamedTuple):
    """How a map is cut into parts: by its size alone, so that the same map gives the same bits on every GPU.

    Attributes:
        samples: N.
        rows: voxels of a sample.
        rows_each: rows of a part.
        tile: for the kernels.
    """

    samples: int
    rows: int
    rows_each: int
    tile: dict[str, int]

    @classmethod
    def of(cls, x: torch.Tensor) -> _Cut:
        """Cut a map of (N, *spatial, C)."""
        samples, channels = x.shape[0], x.shape[-1]
        rows = x.numel() // (samples * channels)
        taken = tile(channels, min(_CHANNELS, power_of_two(channels)))
        tiles = -(-rows // taken["tile_rows"])
        parts = max(1, _PROGRAMS // (samples * -(-channels // taken["tile_channels"])))
        return cls(samples, rows, max(min(_TILES, tiles), -(-tiles // parts)) * taken["tile_rows"], taken)

    @property
    def parts(self) -> int:
        return -(-self.rows // self.rows_each)

    @property
    def channels(self) -> int:
        return self.tile["channels"]

    @property
    def grid(self) -> tuple[int, int, int]:
        return -(-self.channels // self.tile["tile_channels"]), self.parts, self.samples


def group_norm_relu(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, groups: int, eps: float, relu: bool
) -> torch.Tensor:
    """Normalise ``x``, (N, C, *spatial), and take the positive part of it if ``relu``.

    Without gradients ``x`` itself is overwritten.
    """
    if torch.is_grad_enabled():
        normed: torch.Tensor = _GroupNormReLU.apply(x, weight, bias, groups, eps, relu)
        return normed
    rows = rows_of(x)
    _forward(rows, weight, bias, groups, eps, relu, out=rows)
    return rows.movedim(-1, 1)


class _GroupNormReLU(torch.autograd.Function):
    """With n the normalised input, s the scale, r the inverse deviation, and ∂ for gradients after ReLU's mask::

        ∂x = r (s ∂y - mean(s ∂y) - n mean(s ∂y n)),   ∂s = Σ ∂y n,   ∂shift = Σ ∂y

    with the means over a group, which follow from ∂s and ∂shift. Only ``x`` is kept; the mask is computed anew.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        groups: int,
        eps: float,
        relu: bool,
    ) -> torch.Tensor:
        rows = rows_of(x)
        normed = torch.empty_like(rows)
        mean, inverse = _forward(rows, weight, bias, groups, eps, relu, out=normed)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.arguments = (groups, eps, relu)
        return normed.movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias, mean, inverse = ctx.saved_tensors
        groups, eps, relu = ctx.arguments
        if needs_torch(gradient):
            function = partial(group_norm_by_torch, groups=groups, eps=eps, relu=relu)
            return *gradients_by_torch(function, (x, weight, bias), gradient), None, None, None
        return *_backward(rows_of(x), rows_of(gradient), weight, bias, mean, inverse, relu), None, None, None


def _forward(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    groups: int,
    eps: float,
    relu: bool,
    out: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write into ``out``; return mean and inverse deviation, (N, ``groups``). Maps are (N, *spatial, C)."""
    from nnunetv2_sa_unet.networks.fast import norm_kernels as kernels

    cut = _Cut.of(x)
    per_group = cut.channels // groups
    means, squares = (_statistics(x, cut.samples, cut.parts, cut.channels) for _ in range(2))
    mean, inverse = (_statistics(x, cut.samples, groups) for _ in range(2))
    sizes = (cut.rows, cut.rows_each)
    with on_device_of(x):
        kernels.moments[cut.grid](x, means, squares, *sizes, **cut.tile)
        kernels.add_up_moments[(groups, 1, cut.samples)](
            means, squares, mean, inverse, *sizes, cut.parts, eps=eps, **_parts_tile(per_group)
        )
        kernels.normalise[cut.grid](
            x, weight, bias, mean, inverse, out, *sizes, per_group=per_group, relu=relu, **cut.tile
        )
    return mean, inverse


def _backward(
    x: torch.Tensor,
    gradient: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor,
    inverse: torch.Tensor,
    relu: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the gradients of ``x``, (N, C, *spatial), and of scale and shift. Maps are (N, *spatial, C)."""
    from nnunetv2_sa_unet.networks.fast import norm_kernels as kernels

    cut = _Cut.of(x)
    groups = mean.shape[1]
    per_group = cut.channels // groups
    of_parts = [_statistics(x, cut.samples, cut.parts, cut.channels) for _ in range(2)]
    of_scale, of_shift = (_statistics(x, cut.samples, cut.channels) for _ in range(2))
    of_groups = [_statistics(x, cut.samples, groups) for _ in range(2)]
    of_x = torch.empty_like(x)
    sizes = (cut.rows, cut.rows_each)
    options = {"per_group": per_group, "relu": relu, **cut.tile}
    with on_device_of(x):
        kernels.parameter_gradients[cut.grid](x, gradient, weight, bias, mean, inverse, *of_parts, *sizes, **options)
        kernels.add_up_gradients[(groups, 1, cut.samples)](
            *of_parts, weight, of_scale, of_shift, *of_groups, cut.rows, cut.parts, **_parts_tile(per_group)
        )
        kernels.input_gradient[cut.grid](x, gradient, weight, bias, mean, inverse, *of_groups, of_x, *sizes, **options)
    if weight is None or bias is None:
        return of_x.movedim(-1, 1), None, None
    return of_x.movedim(-1, 1), of_scale.sum(0).to(weight.dtype), of_shift.sum(0).to(bias.dtype)


def _parts_tile(per_group: int) -> dict[str, int]:
    """How a kernel takes the parts of one group of channels."""
    taken = tile(per_group, power_of_two(per_group))
    taken["per_group"] = taken.pop("channels")
    taken["tile_parts"] = taken.pop("tile_rows")
    return taken


def group_norm_by_torch(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, groups: int, eps: float, relu: bool
) -> torch.Tensor:
    """The same by torch's operations over its usual storage, which have gradients of gradients."""
    weight, bias = (None if parameter is None else parameter.to(x.dtype) for parameter in (weight, bias))
    normed = plain.group_norm(x.contiguous(), groups, weight, bias, eps)
    return functional.relu(normed) if relu else normed


def _statistics(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return x.new_empty(shape, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
