"""Gradients by torch's own operations, for functions that have a faster way of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

__all__ = ["gradients_by_torch"]


def gradients_by_torch(
    function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor | None], gradient: torch.Tensor
) -> list[torch.Tensor | None]:
    """Return the gradients of what ``function`` computes by torch's operations, which have gradients themselves.

    Args:
        function: of the inputs.
        inputs: None where an input is absent; those that need no gradient get None.
        gradient: of the output.
    """
    with torch.enable_grad():
        # Views, because one tensor may be several inputs.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        needed = [view for view in views if view is not None and view.requires_grad]
        gradients = iter(torch.autograd.grad(function(*views), needed, gradient, create_graph=True))
    return [next(gradients) if view is not None and view.requires_grad else None for view in views]
