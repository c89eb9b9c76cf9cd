"""The one door to the faster formulations, as :class:`torch.nn.MultiheadAttention` has one (``why_not_fast_path``)."""

from __future__ import annotations

import torch
from torch import nn

from nnunetv2_sa_unet.networks.fast.arguments import KNOWN
from nnunetv2_sa_unet.networks.fast.observers import observer
from nnunetv2_sa_unet.networks.unet import UNet

__all__ = ["why_not_fast", "why_not_modules"]

#: What was measured: device, dtype of input and parameters, and that of autocast (None: no autocast). Not float32 on
#: CUDA: nnU-Net never computes in it there, and what needs every digit gets the plain modules. Of bfloat16 there the
#: exactness was measured; it moves as many bytes as float16, and has no large convolutions of (1, 3, 3) in volumes, for
#: which cuDNN 9.10.2 has a faulty kernel, because planes are images here.
MEASURED = {
    ("cpu", torch.float32, None),
    ("cpu", torch.float64, None),
    ("cpu", torch.float32, torch.bfloat16),
    ("cuda", torch.float32, torch.bfloat16),
    ("cuda", torch.float32, torch.float16),
}
#: What an instance would hide of its class.
_NAMES = {cls: frozenset(dir(cls)) for cls in KNOWN}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def why_not_fast(network: UNet, x: torch.Tensor) -> str | None:
    """Say why the plain modules have to run for ``x``, or return None where :func:`~.network.sa_unet` may.

    Nothing is remembered from one call to the next, so that whatever is done to the network counts at once.

    Args:
        network: all its modules are looked at.
        x: (N, C, *spatial).
    """
    # First, because compilers trace this function too.
    if torch.compiler.is_compiling():
        return "torch.compile or torch.export is at work"
    return observer() or _why_not_input(network, x) or why_not_modules(network, x)


def _why_not_input(network: UNet, x: torch.Tensor) -> str | None:
    if type(x) not in (torch.Tensor, nn.Parameter) or x.layout is not torch.strided:
        return f"the input is a {type(x).__name__} of another kind than torch's strided tensors"
    device = x.device.type
    has_autocast = device != "meta" and torch.is_autocast_enabled(device)
    autocast = torch.get_autocast_dtype(device) if has_autocast else None
    if (device, x.dtype, autocast) not in MEASURED:
        return f"nobody measured {x.dtype} on {device}" + (f" under autocast to {autocast}" if autocast else "")
    if device == "cpu" and not hasattr(torch, "batch_norm_update_stats"):
        return "this torch has no batch_norm_update_stats"
    # Whatever is wrong with the input, the plain modules say it.
    strides = network.encoder.strides
    if x.ndim != 2 + len(strides[0]) or x.numel() == 0:
        return f"the input has the shape {tuple(x.shape)}"
    for axis, extent in enumerate(x.shape[2:]):
        for stride in strides:
            extent, rest = divmod(extent, stride[axis])
            if rest:
                return f"the strides do not divide an input of {tuple(x.shape[2:])}"
    return None


def why_not_modules(network: nn.Module, x: torch.Tensor) -> str | None:
    """Say which module of ``network`` is not as the faster formulations know it, or return None.

    Args:
        network: all its modules are looked at.
        x: parameters must have its dtype and device.
    """
    # Only a class of our own reaches the door, but a subclass of it may compute something else. The class imports this
    # module, so that it is recognised by its base and by having a forward of its own, which leads here.
    kind = type(network)
    has_door = kind.__base__ is UNet and kind.forward is not UNet.forward
    if not has_door or network._modules.keys() != {"encoder", "decoder"}:
        return f"{type(network).__name__} is another network"
    reason = _touched(network)
    if reason:
        return f"the network: {reason}"
    parts = [(name, module, KNOWN.get(type(module))) for name, module in network.named_modules()][1:]
    for name, module, why_not in parts:
        if why_not is None:
            return f"{name}: nobody knows how to compute a {type(module).__name__} faster"
        reason = _touched(module) or _foreign(module, x)
        if reason:
            return f"{name}: {reason}"
    # Arguments last, because those of a module may be about the modules in it.
    for name, module, why_not in parts:
        reason = why_not and why_not(module)
        if reason:
            return f"{name}: {reason}"
    return None


def _touched(module: nn.Module) -> str | None:
    state = vars(module)
    if any(state.get(hooks, True) for hooks in _HOOKS):
        return "it has hooks"
    if not state.keys().isdisjoint(_NAMES.get(type(module)) or dir(type(module))):
        return "one of its methods is replaced"
    return None


def _foreign(module: nn.Module, x: torch.Tensor) -> str | None:
    for name, parameter in module._parameters.items():
        if parameter is not None and (
            type(parameter) is not nn.Parameter or parameter.dtype != x.dtype or parameter.device != x.device
        ):
            return f"{name} is not an ordinary parameter of {x.dtype} on {x.device}"
    for name, buffer in module._buffers.items():
        if buffer is not None and (type(buffer) is not torch.Tensor or buffer.device != x.device):
            return f"{name} is not an ordinary tensor on {x.device}"
    return None
