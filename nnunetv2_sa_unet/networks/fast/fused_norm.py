"""Group norm and ReLU over channels-last maps on a GPU, as one function with a gradient.

Torch's kernel reads maps in torch's usual storage only, gives a whole group of channels to one block of threads, and
leaves ReLU to another pass. Here a map is read twice and written once, and twice, with its gradient, on the way back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nnunetv2_sa_unet.networks import norm as plain
from nnunetv2_sa_unet.networks.fast.observers import transform

__all__ = ["group_norm_relu"]

#: Values of a tile, and programs of a launch from which on more would only make the parts smaller.
_TILE, _PROGRAMS = 2048, 4096
#: Tiles that a part has at least, as far as there are so many: what a program does once should not cost more.
_TILES_EACH = 8
_WARPS = 4


class _Cut(NamedTuple):
    """How a map is cut; by its size alone, so that the same map gives the same bits on every GPU."""

    samples: int
    rows: int
    channels: int
    tile_channels: int
    rows_each: int

    @classmethod
    def of(cls, x: torch.Tensor) -> _Cut:
        """Cut a map of (N, *spatial, C)."""
        samples, channels = x.shape[0], x.shape[-1]
        rows = x[0, ..., 0].numel()
        tile_channels = min(64, _power_of_two(channels))
        tiles = -(-rows // (_TILE // tile_channels))
        most = max(1, _PROGRAMS // (samples * -(-channels // tile_channels)))
        tiles_each = max(min(_TILES_EACH, tiles), -(-tiles // most))
        return cls(samples, rows, channels, tile_channels, tiles_each * (_TILE // tile_channels))

    @property
    def parts(self) -> int:
        return -(-self.rows // self.rows_each)

    @property
    def grid(self) -> tuple[int, int, int]:
        return -(-self.channels // self.tile_channels), self.parts, self.samples

    @property
    def tile(self) -> dict[str, int]:
        return {
            "channels": self.channels,
            "tile_rows": _TILE // self.tile_channels,
            "tile_channels": self.tile_channels,
            "num_warps": _WARPS,
        }


def _parts_tile(per_group: int) -> dict[str, int]:
    channels = _power_of_two(per_group)
    return {
        "per_group": per_group,
        "tile_parts": max(1, _TILE // 2 // channels),
        "tile_channels": channels,
        "num_warps": _WARPS,
    }


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def group_norm_relu(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, groups: int, eps: float, relu: bool
) -> torch.Tensor:
    """Normalise ``x``, (N, C, *spatial), and take the positive part of it if ``relu``.

    Without gradients ``x`` itself is overwritten.
    """
    if torch.is_grad_enabled():
        normed: torch.Tensor = _GroupNormReLU.apply(x, weight, bias, groups, eps, relu)
        return normed
    rows = _rows(x)
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
        rows = _rows(x)
        normed = torch.empty_like(rows)
        mean, inverse = _forward(rows, weight, bias, groups, eps, relu, out=normed)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.arguments = (groups, eps, relu)
        return normed.movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias, mean, inverse = ctx.saved_tensors
        groups, eps, relu = ctx.arguments
        # The gradient will be differentiated itself, or is many gradients at once.
        if torch.is_grad_enabled() or transform() is not None:
            inputs = [x, weight, bias]
            return *_gradients_by_torch(inputs, groups, eps, relu, gradient), None, None, None
        return *_backward(_rows(x), _rows(gradient), weight, bias, mean, inverse, relu), None, None, None


def _rows(x: torch.Tensor) -> torch.Tensor:
    """View (N, C, *spatial) with the channels last, or copy it if it is not stored like this."""
    return x.movedim(1, -1).contiguous()


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
    with torch.cuda.device_of(x):
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
    with torch.cuda.device_of(x):
        kernels.parameter_gradients[cut.grid](
            x, gradient, weight, bias, mean, inverse, *of_parts, *sizes, **options
        )
        kernels.add_up_gradients[(groups, 1, cut.samples)](
            *of_parts, weight, of_scale, of_shift, *of_groups, cut.rows, cut.parts, **_parts_tile(per_group)
        )
        kernels.input_gradient[cut.grid](
            x, gradient, weight, bias, mean, inverse, *of_groups, of_x, *sizes, **options
        )
    if weight is None or bias is None:
        return of_x.movedim(-1, 1), None, None
    return of_x.movedim(-1, 1), of_scale.sum(0).to(weight.dtype), of_shift.sum(0).to(bias.dtype)


def _gradients_by_torch(
    inputs: list[torch.Tensor | None], groups: int, eps: float, relu: bool, gradient: torch.Tensor
) -> list[torch.Tensor | None]:
    """Return the gradients as torch's own operations, which have gradients themselves and can be mapped."""
    with torch.enable_grad():
        x, weight, bias = inputs
        assert x is not None
        normed = plain.group_norm(x.contiguous(), groups, weight, bias, eps)
        normed = functional.relu(normed) if relu else normed
        needed = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
        gradients = iter(torch.autograd.grad(normed, needed, gradient, create_graph=True))
    return [next(gradients) if tensor is not None and tensor.requires_grad else None for tensor in inputs]


def _statistics(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return x.new_empty(shape, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
