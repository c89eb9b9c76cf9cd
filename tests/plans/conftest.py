from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

# Patch, kernels and strides as nnU-Net 2.8.1 plans them.
PLANNED: dict[str, dict[str, Any]] = {
    # WMH challenge, FLAIR at 1×1×3 mm
    "challenge": {
        "patch_size": [40, 224, 224],
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[1, 3, 3]] + [[3, 3, 3]] * 5,
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
    },
    # nine FLAIR volumes with slices of 6.5 mm
    "thick": {
        "patch_size": [24, 256, 256],
        "features_per_stage": [32, 64, 128, 256, 320, 320, 320],
        "kernel_sizes": [[1, 3, 3]] * 2 + [[3, 3, 3]] * 5,
        "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]],
    },
    "wide": {
        "patch_size": [16, 320, 320],
        "features_per_stage": [32, 64, 128, 256, 320, 320, 320],
        "kernel_sizes": [[1, 3, 3]] * 2 + [[3, 3, 3]] * 5,
        "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]],
    },
    "paper": {
        "patch_size": [32, 256, 256],
        "features_per_stage": [32, 64, 128, 256, 320, 320, 320],
        "kernel_sizes": [[1, 3, 3]] + [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]],
    },
    # one isotropic volume of 1 mm
    "isotropic": {
        "patch_size": [112, 160, 128],
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
    },
    "2d": {
        "patch_size": [256, 256],
        "features_per_stage": [32, 64, 128, 256, 512, 512, 512],
        "kernel_sizes": [[3, 3]] * 7,
        "strides": [[1, 1]] + [[2, 2]] * 6,
    },
    "small": {
        "patch_size": [16, 64, 48],
        "features_per_stage": [32, 64, 128, 256],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
    },
}


@pytest.fixture
def planned() -> Callable[..., dict[str, Any]]:
    """Make a configuration as nnU-Net plans it, of the given name and with PlainConvUNet or ResidualEncoderUNet."""

    def make(name: str, residual: bool = False) -> dict[str, Any]:
        plan = deepcopy(PLANNED[name])
        patch_size = plan.pop("patch_size")
        n_axes, n_stages = len(patch_size), len(plan["strides"])
        return {
            "data_identifier": "nnUNetPlans_x",
            "batch_size": 2,
            "patch_size": patch_size,
            "spacing": [3.0, 1.0, 1.0][-n_axes:],
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet."
                + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
                "arch_kwargs": {
                    "n_stages": n_stages,
                    **plan,
                    "conv_op": f"torch.nn.modules.conv.Conv{n_axes}d",
                    **(
                        {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6, 6][:n_stages]}
                        if residual
                        else {"n_conv_per_stage": [2] * n_stages}
                    ),
                    "n_conv_per_stage_decoder": [1 if residual else 2] * (n_stages - 1),
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{n_axes}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }

    return make


@pytest.fixture
def plans(planned: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Plans with a cascade, whose last configuration inherits all but its stage."""
    return {
        "plans_name": "nnUNetPlans",
        "dataset_name": "Dataset001_Test",
        "continue_training": False,
        "configurations": {
            "2d": planned("2d"),
            "3d_lowres": planned("isotropic") | {"next_stage": ["3d_cascade_fullres"]},
            "3d_fullres": planned("challenge"),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }
