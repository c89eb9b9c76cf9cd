"""The count of what autograd keeps, against a real forward pass."""

from __future__ import annotations

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from nnunetv2_sa_unet.networks import fast
from nnunetv2_sa_unet.nnunet.memory import saved_bytes
from nnunetv2_sa_unet.nnunet.planner import BYTES_PER_VALUE
from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant
from nnunetv2_sa_unet.plans.variants import VARIANTS

PLANNED = {
    "n_stages": 3,
    "features_per_stage": [8, 16, 32],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]


@pytest.fixture
def planned():
    return {
        "patch_size": [8, 32, 24],
        "batch_size": 2,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": PLANNED,
            "_kw_requires_import": IMPORTED,
        },
    }


def really_saved(architecture, patch_size):
    """Bytes that a forward pass with real tensors of 16 bit keeps, by address; the weights are not counted."""
    name, kwargs = architecture["network_class_name"], architecture["arch_kwargs"]
    network = get_network_from_plans(name, kwargs, IMPORTED, 2, 3, allow_init=False, deep_supervision=True).half()
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    patch = torch.zeros((1, 2, *patch_size), dtype=torch.float16)
    # Under hooks the network would run as its plain modules.
    is_fast = fast.why_not_modules(network, patch) is None
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        fast.sa_unet(network, patch) if is_fast else network(patch)
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in weights)


@pytest.mark.parametrize(
    "trainer",
    [
        "nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_backbone333BN", "nnUNetTrainerUNet3D", "nnUNetTrainerLi2018",
        "nnUNetTrainerUResNet", "nnUNetTrainerTrUENet", "nnUNetTrainerSAUNet2D",
    ],
)  # fmt: skip
def test_the_count_is_that_of_a_real_forward_pass(planned, trainer):
    variant = VARIANTS[trainer]
    planned |= {
        "sizes": {"features_per_stage": [8, 16, 32]},
        "patch_size": planned["patch_size"][-(variant.n_axes or 3) :],
    }
    configuration = apply_variant(planned, variant)
    real = really_saved(configuration["architecture"], configuration["patch_size"])

    assert saved_bytes(configuration["architecture"], configuration["patch_size"], 2, 3) == pytest.approx(
        real, rel=0.01
    )


def test_attention_and_aspp_are_counted(planned):
    count = {
        name: saved_bytes(apply_variant(planned, VARIANTS[name])["architecture"], planned["patch_size"], 1, 2)
        for name in ("nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_noASPP", "nnUNetTrainerSAUNet_noSAM")
    }
    assert count["nnUNetTrainerSAUNet"] > max(count["nnUNetTrainerSAUNet_noASPP"], count["nnUNetTrainerSAUNet_noSAM"])


def test_twice_the_slices_keep_twice_as_much(planned):
    architecture = apply_values(planned, {})["architecture"]
    one, two = (saved_bytes(architecture, [z, 128, 128], 1, 2) for z in (8, 16))

    assert two == pytest.approx(2 * one, rel=0.01)


@pytest.mark.parametrize(
    ("axes", "patch", "features"),
    [
        (2, [512, 512], [32, 64, 128, 256, 512, 512, 512, 512]),
        (3, [128, 128, 128], [32, 64, 128, 256, 320, 320]),
    ],
)
def test_nnunets_currency_is_what_its_default_network_keeps(axes, patch, features):
    """The two networks and patches are those by which nnU-Net's planner was made."""
    stages = len(features)
    conv, norm = ((nn.Conv2d, nn.InstanceNorm2d), (nn.Conv3d, nn.InstanceNorm3d))[axes - 2]
    kwargs = PLANNED | {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": f"{conv.__module__}.{conv.__name__}",
        "norm_op": f"{norm.__module__}.{norm.__name__}",
        "kernel_sizes": [[3] * axes] * stages,
        "strides": [[1] * axes] + [[2] * axes] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    name = f"{PlainConvUNet.__module__}.{PlainConvUNet.__name__}"
    architecture = {"network_class_name": name, "arch_kwargs": kwargs, "_kw_requires_import": IMPORTED}
    with torch.device("meta"):
        network = get_network_from_plans(name, kwargs, IMPORTED, 1, 2, allow_init=False)
    values = network.compute_conv_feature_map_size(patch)

    assert saved_bytes(architecture, patch, 1, 2) / values == pytest.approx(BYTES_PER_VALUE, rel=0.01)
