"""Small networks of every kind, which the tests of this folder share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pydoc import locate
from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_sa_unet.networks.attention_unet import AttentionUNet
from nnunetv2_sa_unet.networks.dropblock import DropBlock
from nnunetv2_sa_unet.networks.li2018 import Li2018
from nnunetv2_sa_unet.networks.norm import GroupNorm
from nnunetv2_sa_unet.networks.sa_unet import SAUNet
from nnunetv2_sa_unet.networks.sa_unet_2d import SAUNet2D
from nnunetv2_sa_unet.networks.truenet import TrUENet
from nnunetv2_sa_unet.networks.unet import UNet
from nnunetv2_sa_unet.networks.unet3d import UNet3D
from nnunetv2_sa_unet.networks.uresnet import UResNet
from nnunetv2_sa_unet.plans.topology import apply_variant
from nnunetv2_sa_unet.plans.variants import SA_UNET, VARIANTS

INPUT_CHANNELS, NUM_CLASSES = 2, 3


@dataclass(frozen=True)
class Network:
    """A network class, its arguments, and an input that fits them."""

    cls: type[UNet]
    kwargs: dict[str, Any]
    input_size: tuple[int, ...]

    def build(self, **changes: Any) -> UNet:
        torch.manual_seed(0)
        network = self.cls(**(self.kwargs | changes))
        network.apply(network.initialize)
        return network

    def input(self, batch: int = 2) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(batch, INPUT_CHANNELS, *self.input_size, generator=generator)

    def output_shapes(self, batch: int = 2) -> list[tuple[int, ...]]:
        """The shapes that deep supervision should put out, finest first."""
        shapes, size = [], list(self.input_size)
        for stride in self.kwargs["strides"][:-1]:
            size = [extent // step for extent, step in zip(size, stride, strict=True)]
            shapes.append((batch, NUM_CLASSES, *size))
        return shapes


def describe(
    cls: type[UNet],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    input_size: tuple[int, ...],
    group_norm: bool = False,
    features: Sequence[int] = (16, 24, 32),
    **kwargs: Any,
) -> Network:
    n_axes, n_stages = len(input_size), len(strides)
    batch_norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[n_axes]
    return Network(
        cls,
        {
            "input_channels": INPUT_CHANNELS,
            "n_stages": n_stages,
            "features_per_stage": list(features),
            "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[n_axes],
            "kernel_sizes": kernel_sizes,
            "strides": strides,
            "n_conv_per_stage": [2] * n_stages,
            "num_classes": NUM_CLASSES,
            "n_conv_per_stage_decoder": [2] * (n_stages - 1),
            "conv_bias": True,
            "norm_op": GroupNorm if group_norm else batch_norm,
            "norm_op_kwargs": {"num_groups": 8, "eps": 1e-3} if group_norm else {"eps": 1e-3},
            "nonlin": nn.ReLU,
            "nonlin_kwargs": {"inplace": True},
        }
        | kwargs,
        input_size,
    )


FLAT: dict[str, Any] = {
    "kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2]],
    "input_size": (4, 16, 12),
}
# The z axis is halved once, as where it would become odd.
MIXED: dict[str, Any] = {
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]],
    "input_size": (4, 16, 24),
    "features": (8, 16, 24, 24),
}
PLANE: dict[str, Any] = {
    "kernel_sizes": [[3, 3]] * 3,
    "strides": [[1, 1], [2, 2], [2, 2]],
    "input_size": (16, 12),
}
SAM, SAM_2D, ASPP = {"attention_kernel": [1, 14, 14]}, {"attention_kernel": [14, 14]}, {"rates": [1, 2, 3]}

NETWORKS = {
    "SAUNet": describe(SAUNet, **FLAT, **SAM, **ASPP, group_norm=True),
    "SAUNet-2d": describe(SAUNet, **PLANE, **SAM_2D, **ASPP, group_norm=True),
    "SAUNet-no-ASPP": describe(SAUNet, **FLAT, **SAM, group_norm=True),
    "SAUNet-no-SAM": describe(SAUNet, **FLAT, **ASPP, group_norm=True),
    "SAUNet-backbone-2d": describe(SAUNet, **PLANE),
    "SAUNet-BN-mixed-strides": describe(SAUNet, **MIXED, **SAM, **ASPP),
    "UNet3D": describe(UNet3D, **MIXED),
    "UNet3D-2d": describe(UNet3D, **PLANE),
    "AttentionUNet": describe(AttentionUNet, **MIXED),
    "AttentionUNet-2d": describe(AttentionUNet, **PLANE),
    "Li2018": describe(Li2018, **PLANE | {"kernel_sizes": [[5, 5], [3, 3], [3, 3]]}),
    "UResNet": describe(UResNet, **PLANE, n_conv_per_stage=[1] * 3, n_conv_per_stage_decoder=[1] * 2),
    "UResNet-3d": describe(UResNet, **MIXED),
    "TrUENet": describe(TrUENet, **MIXED, first_kernels=[[1, 3, 3], [5, 1, 5], [5, 5, 1]]),
    "SAUNet2D": describe(
        SAUNet2D, **PLANE, attention_kernel=[7, 7], dropout_op=DropBlock, dropout_op_kwargs={"p": 0.1, "block_size": 7}
    ),
}


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]


@pytest.fixture
def networks() -> dict[str, Network]:
    return NETWORKS


@pytest.fixture(params=[True, False], ids=["deep-supervision", "one-output"])
def deep_supervision(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def of_variant(trainer: str, n_axes: int) -> Network:
    """What the table of variants makes of a small plan, whose numbers are the paper's but for the widths."""
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    planned = {
        "patch_size": [4, 32, 24][-n_axes:],
        "batch_size": 2,
        # As an override would: the systems of other papers have widths of their own.
        "sizes": {"features_per_stage": [8, 16, 24]},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [8, 16, 24],
                "conv_op": f"torch.nn.Conv{n_axes}d",
                "kernel_sizes": [[3] * n_axes] * 3,
                "strides": [stride[-n_axes:] for stride in strides],
                "n_conv_per_stage": [2] * 3,
                "n_conv_per_stage_decoder": [2] * 2,
                "conv_bias": True,
                "norm_op": f"torch.nn.InstanceNorm{n_axes}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    architecture = apply_variant(planned, VARIANTS[trainer])["architecture"]
    kwargs = dict(architecture["arch_kwargs"])
    for key in architecture["_kw_requires_import"]:
        kwargs[key] = kwargs[key] and locate(kwargs[key])
    cls: Any = locate(architecture["network_class_name"])
    return Network(
        cls, {"input_channels": INPUT_CHANNELS, "num_classes": NUM_CLASSES} | kwargs, tuple(planned["patch_size"])
    )


@pytest.fixture(
    params=[
        (trainer, n_axes) for trainer, row in VARIANTS.items() for n_axes in (3, 2) if row.n_axes in (None, n_axes)
    ],
    ids=lambda p: f"{p[0]}-{p[1]}d",
)
def variant(request: pytest.FixtureRequest) -> Network:
    """Every network of the table of variants, in 3d and 2d if it is for both."""
    return of_variant(*request.param)


@pytest.fixture(
    params=[
        (trainer, n_axes) for trainer, row in VARIANTS.items() if row.network_class == SA_UNET for n_axes in (3, 2)
    ],
    ids=lambda p: f"{p[0]}-{p[1]}d",
)
def sa_unet_variant(request: pytest.FixtureRequest) -> Network:
    """Every variant of SA-UNet, in 3d and 2d."""
    return of_variant(*request.param)
