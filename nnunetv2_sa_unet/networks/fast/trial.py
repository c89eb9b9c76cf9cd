"""Whether the kernels work where they are asked for: each is tried once before it is trusted.

No kernel is launched in a network's maps that has not been compiled for this GPU and compared with torch on a small map
before. A missing compiler, a GPU that is too old, or a fault in Triton then costs speed and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast.fused_attention import describe, weigh
from nnunetv2_sa_unet.networks.fast.fused_norm import group_norm_relu
from nnunetv2_sa_unet.networks.fast.launching import TRUSTED
from nnunetv2_sa_unet.networks.fast.storage import channels_last
from nnunetv2_sa_unet.networks.norm import GroupNorm

__all__ = ["kernels_work"]

#: The first that Triton and its float16 know.
_CAPABILITY = (7, 0)
#: Of a trial: more rows than a program takes at once, and no multiple of anything.
_SIZE = (3, 11, 19)
#: Relative error that 16 bit explain; a wrong index or a wrong sum is far above it.
_TOLERANCE = 0.04


def kernels_work(network: nn.Module, x: torch.Tensor) -> bool:
    """Tell whether maps of ``network`` can be normalised and weighed channels last by the kernels, on a GPU.

    Not with batch norm, whose maps stay as they are until both ways are measured. The first time, and for what has
    not been tried yet, the kernels are compiled and tried. Where they fail a warning says why, and none is used on that
    GPU any more.
    """
    if not TRUSTED.get(x.device, True):
        return False
    modules = list(network.modules())
    norms = {(norm.num_channels, norm.num_groups, norm.affine) for norm in modules if type(norm) is GroupNorm}
    if x.device.type != "cuda" or not norms or any(isinstance(module, _BatchNorm) for module in modules):
        return False
    kinds = {type(module) for module in modules}
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    trial = partial(_passes, x.device, dtype, torch.is_grad_enabled(), nn.ReLU in kinds, SpatialAttention in kinds)
    TRUSTED[x.device] = all(trial(*norm) for norm in sorted(norms))
    return TRUSTED[x.device]


@cache
def _passes(
    device: torch.device,
    dtype: torch.dtype,
    has_gradients: bool,
    relu: bool,
    attention: bool,
    channels: int,
    groups: int,
    affine: bool,
) -> bool:
    reason = _why_not(device)
    if reason is None:
        try:
            with (
                torch.inference_mode(False),
                torch.set_grad_enabled(has_gradients),
                torch.autocast(device.type, enabled=False),
            ):
                reason = _fault(device, dtype, relu, attention, channels, groups, affine)
        except torch.OutOfMemoryError:
            raise
        # Triton, the compilers that it calls and CUDA have errors of their own.
        except Exception as error:
            lines = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if reason is not None:
        warnings.warn(
            f"SA-UNet computes right but slower on {device}, by PyTorch's own group norm: {reason}", stacklevel=2
        )
    return reason is None


def _why_not(device: torch.device) -> str | None:
    """Say why the kernels cannot run on a device, as far as it is known beforehand."""
    try:
        import triton  # noqa: F401
    except Exception as error:
        return f"Triton cannot be imported ({error})"
    if device.type != "cuda":
        return None
    if torch.version.hip is not None:
        return "nobody has tried these kernels on ROCm"
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return f"{torch.cuda.get_device_name(device)} is too old for Triton"
    return None


def _fault(
    device: torch.device, dtype: torch.dtype, relu: bool, attention: bool, channels: int, groups: int, affine: bool
) -> str | None:
    """Compare the kernels with torch in float64, values and gradients; name what differs."""

    def norm_by_torch(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        weight, bias = parameters or (None, None)
        normed = functional.group_norm(x, groups, weight, bias, eps=1e-3)
        return functional.relu(normed) if relu else normed

    def norm(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        weight, bias = parameters or (None, None)
        return group_norm_relu(x, weight, bias, groups, 1e-3, relu)

    def attention_by_torch(x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x.mean(1, keepdim=True) - x.amax(1, keepdim=True))

    def attend(x: torch.Tensor) -> torch.Tensor:
        descriptor = describe(x)
        return weigh(x, descriptor[:, :1] - descriptor[:, 1:])

    # Of its own: a training draws the same numbers with and without a trial.
    generator = torch.Generator().manual_seed(0)
    x, incoming = (torch.randn(2, channels, *_SIZE, generator=generator).to(device, dtype) for _ in range(2))
    x = channels_last(3 + x)
    parameters = [torch.randn(channels, generator=generator).to(device) for _ in range(2)] if affine else []
    for name, ours, torchs, inputs in (
        ("the group norm", norm, norm_by_torch, (x, *parameters)),
        *([("the spatial attention", attend, attention_by_torch, (x,))] if attention else []),
    ):
        found = _results(ours, [tensor.clone() for tensor in inputs], incoming)
        expected = _results(torchs, [tensor.double() for tensor in inputs], incoming.double())
        for one, other in zip(found, expected, strict=True):
            # Not a number is no smaller than anything.
            if not (one.double() - other).norm() <= _TOLERANCE * other.norm():
                return f"{name} of {channels} channels in {dtype} is wrong there"
    return None


def _results(
    function: Callable[..., torch.Tensor], inputs: list[torch.Tensor], incoming: torch.Tensor
) -> list[torch.Tensor]:
    """The values of a function and, if there are gradients, those of its inputs."""
    if not torch.is_grad_enabled():
        return [function(*inputs)]
    leaves = [tensor.requires_grad_() for tensor in inputs]
    values = function(*leaves)
    return [values.detach(), *torch.autograd.grad(values, leaves, incoming)]
