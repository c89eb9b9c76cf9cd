"""Who else looks at what torch computes, or computes something else of it.

Torch has no public way to tell most of it, so most of these ask its private parts; where a release of torch does not
have them, the answer is that somebody may be there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.modules import module as hooks_of_all_modules

__all__ = ["is_many", "observer"]

#: The hooks that :meth:`torch.nn.Module.__call__` runs for every module.
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


def observer() -> str | None:
    """Name who is at work, or return None."""
    if _is_tracing():
        return "torch.jit.trace is at work"
    if _transform() is not None:
        return _transform()
    if getattr(forward_ad, "_current_level", 0) >= 0:
        return "forward-mode differentiation is at work"
    if _dispatch_modes():
        return "a TorchDispatchMode is at work"
    if torch.is_grad_enabled() and _has_saved_tensors_hooks():
        return "autograd has saved-tensor hooks"
    if any(getattr(hooks_of_all_modules, name, True) for name in _GLOBAL_HOOKS):
        return "a hook for all modules is registered"
    return None


def _transform() -> str | None:
    """Name a transform such as ``torch.func.vmap`` that is at work, or return None."""
    return None if _functorch_stack() is None else "a transform of torch.func is at work"


def _has_saved_tensors_hooks() -> bool:
    """Tell whether autograd hands what it keeps to somebody, such as ``torch.autograd.graph.save_on_cpu``."""
    try:
        # Refused where there are some. A private function tells it too, which torch 2.6 does not have.
        with disable_saved_tensors_hooks("nobody sees this"):
            return False
    except RuntimeError:
        return True


def is_many(gradient: torch.Tensor) -> bool:
    """Tell whether a gradient stands for many, as those of ``torch.autograd.grad(…, is_grads_batched=True)``."""
    return _transform() is not None or bool(_is_batched(gradient))


def _private(module: str, name: str) -> Callable[..., Any]:
    """Return a function of torch, or one whose result says that somebody may be at work."""
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return lambda *_: True
    return found


_is_batched = _private("torch._C._functorch", "is_legacy_batchedtensor")
_is_tracing = _private("torch.jit", "is_tracing")
_functorch_stack = _private("torch._C._functorch", "peek_interpreter_stack")
_dispatch_modes = _private("torch.utils._python_dispatch", "_get_current_dispatch_mode_stack")
