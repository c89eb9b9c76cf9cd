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
    needed = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
    with torch.enable_grad():
        gradients = iter(torch.autograd.grad(function(*inputs), needed, gradient, create_graph=True))
    return [next(gradients) if tensor is not None and tensor.requires_grad else None for tensor in inputs]
