"""What training a network keeps in memory, counted without computing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch.autograd.graph import saved_tensors_hooks

from nnunetv2_sa_unet.networks import fast

__all__ = ["saved_bytes"]


def saved_bytes(
    architecture: dict[str, Any], patch_size: Sequence[int], input_channels: int, output_channels: int
) -> int:
    """Count the bytes that autograd keeps of one patch from the forward to the backward pass.

    The network runs in 16 bit, as under autocast, on torch's meta device, which knows shapes and types but has no
    memory; every tensor that autograd saves is counted once, the weights are not. So the count follows the network's
    code, whatever is concatenated, pooled or normalised in it; of 3D SA-UNet that of the faster formulations, which run
    on a GPU in eager mode. torch.compile may keep less. The loss, the weights with their gradients and momentum, and
    what cuDNN works with come on top.

    Args:
        architecture: the block of this name in the plans.
        patch_size: voxels along each axis.
        input_channels: channels of the image, and in a cascade of the previous stage's labels.
        output_channels: channels of the logits.
    """
    with torch.device("meta"):
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            input_channels,
            output_channels,
            allow_init=False,
            deep_supervision=True,
        ).half()
        patch = torch.empty((1, input_channels, *map(int, patch_size)), dtype=torch.float16)
    storages = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # A tensor and its views are one piece of memory, and are often saved by several operations.
        storage = tensor.untyped_storage()._cdata
        if storage not in storages:
            storages.add(storage)
            kept.append(tensor)
        return tensor

    # The hooks that count, and the meta device, would close the door to the faster formulations.
    is_fast = fast.why_not_modules(network, patch) is None
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        fast.sa_unet(network, patch) if is_fast else network(patch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)
