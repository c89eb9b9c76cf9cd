"""Which modules, with which arguments, the faster formulations know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU, StackedConvBlocks
from torch import nn

from nnunetv2_sa_unet.networks.aspp import ASPP
from nnunetv2_sa_unet.networks.attention import SpatialAttention
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.unet import Decoder, Encoder

__all__ = ["KNOWN"]


def _any(_module: Any) -> None:
    """No argument matters: the module itself is called, or its children are."""


def _parameters(module: Any) -> str | None:
    # Pruning, sharding and weight norms put something else in their place.
    if module._parameters.keys() != {"weight", "bias"}:
        return "its weight or bias is no parameter"
    return None


def _convolution(conv: Any) -> str | None:
    if any(step != 1 for step in conv.stride):
        return f"stride={conv.stride}"
    if conv.groups != 1:
        return f"groups={conv.groups}"
    if conv.padding_mode != "zeros":
        return f"padding_mode={conv.padding_mode!r}"
    if isinstance(conv.padding, str):
        return f"padding={conv.padding!r}"
    return _parameters(conv)


def _max_pool(pool: Any) -> str | None:
    if not isinstance(pool.kernel_size, tuple) or pool.kernel_size != pool.stride:
        return f"kernel_size={pool.kernel_size}, stride={pool.stride}"
    if (pool.padding, pool.dilation, pool.return_indices, pool.ceil_mode) != (0, 1, False, False):
        return "padding, dilation, return_indices or ceil_mode"
    return None


def _upsample(upsample: Any) -> str | None:
    if upsample.mode != "nearest":
        return f"mode={upsample.mode!r}"
    factors = upsample.scale_factor
    if not isinstance(factors, tuple) or any(factor < 1 or factor % 1 for factor in factors):
        return f"scale_factor={factors}"
    return None


def _dropout(dropout: Any) -> str | None:
    # Over another storage, the same random numbers would fall on other voxels.
    return "it is active" if dropout.training and dropout.p > 0 else None


def _block(block: Any) -> str | None:
    return _starts_with_convolution(block.all_modules)


def _starts_with_convolution(modules: Any) -> str | None:
    if type(next(iter(modules), None)) not in (nn.Conv2d, nn.Conv3d):
        return "it does not start with a convolution"
    return None


def _attention(attention: Any) -> str | None:
    conv = attention.conv
    if conv.bias is not None or any(conv.padding) or any(distance != 1 for distance in conv.dilation):
        return "its convolution has a bias, padding or dilation"
    # Of the last axis first.
    sides = zip(attention.padding[::2], attention.padding[1::2], reversed(conv.weight.shape[2:]), strict=True)
    if any(min(before, after) < 0 or before + after != extent - 1 for before, after, extent in sides):
        return f"padding={attention.padding}"
    return None


def _aspp(aspp: Any) -> str | None:
    for branch in (aspp.pool, *aspp.convs, aspp.project):
        reason = _starts_with_convolution(branch)
        if reason:
            return reason
    conv = aspp.project[0]
    if conv.bias is not None or any(conv.padding) or any(extent != 1 for extent in conv.weight.shape[2:]):
        return "its projection has a bias, padding or more than one tap"
    return None


def _decoder(decoder: Any) -> str | None:
    for upsample, stack in zip(decoder.upsamplings, decoder.stages, strict=True):
        if type(upsample) is not nn.Upsample or type(stack) is not StackedConvBlocks:
            return "a step is not made of upsampling and nnU-Net's blocks"
        if any(type(block) is not ConvDropoutNormReLU for block in stack.convs):
            return "a step has other blocks than nnU-Net's"
        conv = stack.convs[0].all_modules[0]
        for extent, padding, distance in zip(conv.weight.shape[2:], conv.padding, conv.dilation, strict=True):
            if distance != 1 or extent != 2 * padding + 1:
                return "the first convolution of a step has a dilation or changes the size"
    return None


#: For each class, what says why its arguments are not known, or None. Subclasses are other classes.
KNOWN: dict[type[nn.Module], Callable[[Any], str | None]] = {
    Encoder: _any,
    Decoder: _decoder,
    SpatialAttention: _attention,
    ASPP: _aspp,
    StackedConvBlocks: _any,
    ConvDropoutNormReLU: _block,
    GroupNorm: _parameters,
    nn.Sequential: _any,
    nn.ModuleList: _any,
    nn.Identity: _any,
    nn.ReLU: _any,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.BatchNorm2d: _parameters,
    nn.BatchNorm3d: _parameters,
    nn.MaxPool2d: _max_pool,
    nn.MaxPool3d: _max_pool,
    nn.Upsample: _upsample,
    nn.Dropout2d: _dropout,
    nn.Dropout3d: _dropout,
}
