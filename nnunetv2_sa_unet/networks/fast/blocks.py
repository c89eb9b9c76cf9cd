"""Stages and blocks: the modules in their order, convolutions and poolings plane by plane where kernels allow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU, StackedConvBlocks
from torch import nn
from torch.nn import functional

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.fast.attention import attend
from nnunetv2_sa_unet.networks.fast.convolution import convolve, convolve_upsampled, without_idle_taps
from nnunetv2_sa_unet.networks.fast.norm import group_norm
from nnunetv2_sa_unet.networks.fast.storage import fold_planes, planes_are_images, stored_like, unfold_planes
from nnunetv2_sa_unet.networks.norm import GroupNorm

__all__ = ["apply", "convolve_merged"]


def apply(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what ``module`` would make of ``x``."""
    function = _FUNCTIONS.get(type(module))
    result: torch.Tensor = module(x) if function is None else function(module, x)
    return result


def convolve_merged(stack: Any, factors: Iterable[int], below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Apply a step of the decoder to the upsampled coarser map and the skip connection, without concatenating them.

    With the kernel of the first convolution split into the channels of the two, W * [up(x), skip] = W_up * up(x) +
    W_skip * skip. The first is a transposed convolution (:func:`~.convolution.convolve_upsampled`).

    Args:
        stack: nnU-Net's ``StackedConvBlocks``.
        factors: of the upsampling, one number per axis.
        below: (N, C, *coarser).
        skip: (N, C', *spatial).
    """
    first, *others = stack.convs
    conv, *after = first.all_modules
    from_below, from_skip = torch.split(conv.weight, [below.shape[1], skip.shape[1]], 1)
    factors, padding, samples = tuple(factors), conv.padding, skip.shape[0]
    # Of volumes that are views of images, autograd would copy the whole gradient of a sum in place.
    as_images = conv.weight.shape[2] == factors[0] == 1 and planes_are_images(below) and planes_are_images(skip)
    if as_images:
        below, skip = fold_planes(below), fold_planes(skip)
        from_below, from_skip = from_below.squeeze(2), from_skip.squeeze(2)
        factors, padding = factors[1:], padding[1:]
    # The bias goes to the convolution that computes its gradient faster.
    merged = convolve(skip, from_skip, conv.bias, padding)
    merged += convolve_upsampled(below, from_below, None, factors)
    x = _apply_after_convolution(after, unfold_planes(merged, samples) if as_images else merged)
    for block in others:
        x = _block(block, x)
    return x


def _apply_after_convolution(modules: Iterable[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """Apply what follows a convolution to its output, which nobody else reads: it may be overwritten."""
    remaining = iter(modules)
    following = next(remaining, None)
    while following is not None:
        module, following = following, next(remaining, None)
        if type(module) is GroupNorm and type(following) is nn.ReLU:
            x = group_norm(module, x, relu=True)
            following = next(remaining, None)
        elif type(module) is GroupNorm:
            x = group_norm(module, x)
        elif type(module) is nn.ReLU:
            x = functional.relu_(x)
        else:
            x = module(x)
    return x


def _convolution_and_more(modules: Any, x: torch.Tensor) -> torch.Tensor:
    conv, *after = modules
    return _apply_after_convolution(after, _convolution(conv, x))


def _convolution(conv: Any, x: torch.Tensor) -> torch.Tensor:
    weight, padding = without_idle_taps(conv.weight, conv.padding, conv.dilation, x.shape[2:])
    return convolve(x, weight, conv.bias, padding, conv.dilation)


def _block(block: Any, x: torch.Tensor) -> torch.Tensor:
    return _convolution_and_more(block.all_modules, x)


def _in_turn(modules: Iterable[nn.Module], x: torch.Tensor) -> torch.Tensor:
    for module in modules:
        x = apply(module, x)
    return x


def _stack(stack: Any, x: torch.Tensor) -> torch.Tensor:
    return _in_turn(stack.convs, x)


def _max_pool(pool: Any, x: torch.Tensor) -> torch.Tensor:
    """Pool plane by plane where the pool joins no two planes."""
    if pool.kernel_size[0] == pool.stride[0] == 1 and planes_are_images(x):
        return unfold_planes(functional.max_pool2d(fold_planes(x), pool.kernel_size[1:], pool.stride[1:]), x.shape[0])
    return stored_like(x, pool(x))


def _aspp(aspp: ASPP, x: torch.Tensor) -> torch.Tensor:
    """Add the pooling branch after the projection instead of spreading it over the map.

    It has one value per channel, so its share is the same at every voxel: with the weights of the projection split,
    W [pooled, rest] = W_pooled pooled + W_rest rest.
    """
    pooled = _convolution_and_more(aspp.pool, x.mean(tuple(range(2, x.ndim)), keepdim=True))
    rest = torch.cat([_convolution_and_more(branch, x) for branch in aspp.convs], 1)
    conv, *after = aspp.project
    of_pooled, of_rest = torch.split(conv.get_parameter("weight"), [pooled.shape[1], rest.shape[1]], 1)
    return _apply_after_convolution(after, convolve(rest, of_rest) + convolve(pooled, of_pooled))


_FUNCTIONS: dict[type[nn.Module], Callable[[Any, torch.Tensor], torch.Tensor]] = {
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.MaxPool3d: _max_pool,
    nn.Sequential: _in_turn,
    ConvDropoutNormReLU: _block,
    StackedConvBlocks: _stack,
    ASPP: _aspp,
    SpatialAttention: attend,
}
