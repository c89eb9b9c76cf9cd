"""Systems of other papers, made of what nnU-Net planned."""

from __future__ import annotations

import re
from itertools import permutations
from math import prod

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.configurations import override_plans, resolve, with_variant
from nnunetv2_sa_unet.plans.overrides import parse_override
from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant
from nnunetv2_sa_unet.plans.variants import VARIANTS, PublishedVariant

PUBLISHED = [name for name, variant in VARIANTS.items() if isinstance(variant, PublishedVariant)]
LI, TRUENET = VARIANTS["nnUNetTrainerLi2018"], VARIANTS["nnUNetTrainerTrUENet"]


def kwargs_of(configuration):
    return configuration["architecture"]["arch_kwargs"]


def fitting(variant):
    return ["2d"] if variant.n_axes == 2 else ["challenge", "thick", "wide", "paper", "isotropic", "small"]


ROWS = [(name, planned) for name in PUBLISHED for planned in fitting(VARIANTS[name])]


def test_there_are_four():
    assert len(PUBLISHED) == 4


@pytest.mark.parametrize(("trainer", "name"), ROWS)
def test_a_system_has_the_sizes_of_its_paper_and_fits_the_patch(planned, trainer, name):
    variant = VARIANTS[trainer]
    rewritten = apply_variant(planned(name), variant)
    kwargs = kwargs_of(rewritten)

    assert rewritten["architecture"]["network_class_name"] == variant.network_class
    assert kwargs["features_per_stage"] == list(variant.features)[: kwargs["n_stages"]]
    for axis, extent in enumerate(rewritten["patch_size"]):
        assert extent % prod(stride[axis] for stride in kwargs["strides"]) == 0
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        assert len(kwargs[key]) == kwargs["n_stages"]
    assert rewritten | {"architecture": None} == planned(name) | {"architecture": None}
    # All sizes go through SA-UNet's plans unchanged, and a system twice is a system once.
    assert apply_variant(apply_values(planned(name), {}), variant)["architecture"] == rewritten["architecture"]
    assert apply_variant(rewritten, variant) == rewritten


def test_every_number_of_the_winners_network_stands_in_the_plans(planned):
    kwargs = kwargs_of(apply_variant(planned("2d"), LI))

    assert kwargs == {
        "n_stages": 5,
        "features_per_stage": [64, 96, 128, 256, 512],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[5, 5], [3, 3], [3, 3], [3, 3], [3, 3]],
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]],
        "n_conv_per_stage": [2] * 5,
        "n_conv_per_stage_decoder": [2] * 4,
        "conv_bias": True,
        "norm_op": "torch.nn.modules.batchnorm.BatchNorm2d",
        "norm_op_kwargs": {"eps": 1e-3, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def recorded(configuration, values):
    """What a configuration keeps of an override's sizes."""
    patch = {"patch_size": [128, 128]} if "depth" not in values else {}
    return apply_values(configuration, values | patch).get("sizes", {})


@pytest.mark.parametrize(
    ("values", "features"),
    [
        ({"features_per_stage": [8, 16, 24, 32, 40, 48]}, [8, 16, 24, 32, 40]),
        ({"features_per_stage": [8, 16, 24]}, [8, 16, 24]),
        ({"depth": 4}, [64, 96, 128, 256]),
        ({"depth": 3, "features_per_stage": [8, 16, 24, 32]}, [8, 16, 24]),
        ({"rates": [1, 2]}, [64, 96, 128, 256, 512]),
        ({"depth": 4, "features_per_stage": [8, 16, 24, 32], "published_sizes": True}, [64, 96, 128, 256, 512]),
        ({"depth": 4, "features_per_stage": [8, 16, 24, 32], "published_sizes": False}, [8, 16, 24, 32]),
    ],
)
def test_an_override_gives_widths_and_depth(planned, values, features):
    # The depth of SA-UNet follows from its own rule, which needs a width for each of its stages.
    kwargs = kwargs_of(apply_variant(planned("2d") | {"sizes": recorded(planned("2d"), values)}, LI))
    assert kwargs["features_per_stage"] == features


def test_sizes_reach_a_system_through_the_files_of_plan(plans):
    override = parse_override(
        {"description": "", "configurations": {"*": {"features_per_stage": [8, 16, 24, 32, 40, 48, 56]}}}, "test"
    )
    rewritten = override_plans(plans, [override])
    for trainer in PUBLISHED:
        name = "2d" if VARIANTS[trainer].n_axes == 2 else "3d_cascade_fullres"
        kwargs = kwargs_of(resolve(with_variant(rewritten, name, VARIANTS[trainer]), name))
        assert kwargs["features_per_stage"] == [8, 16, 24, 32, 40][: len(VARIANTS[trainer].features)]


def test_planned_depth_is_nnunets(planned):
    full = apply_values(planned("2d"), {"depth": "planned"})
    kwargs = kwargs_of(apply_variant(full, LI))

    # Seven stages of nnU-Net's, and the paper has widths for five.
    assert kwargs["n_stages"] == 5


@pytest.mark.parametrize(("patch", "depth"), [([208, 208], 5), ([200, 200], 4), ([100, 80], 3)])
def test_a_patch_that_cannot_be_halved_as_often_makes_fewer_stages(planned, patch, depth):
    kwargs = kwargs_of(apply_variant(planned("2d") | {"patch_size": patch}, LI))

    assert (kwargs["n_stages"], len(kwargs["features_per_stage"])) == (depth, depth)


def test_a_patch_that_cannot_be_halved_twice_is_refused(planned):
    with pytest.raises(InputError, match=r"patch_size: \[90, 96\] is not divisible by 4 along axis 0"):
        apply_variant(planned("2d") | {"patch_size": [90, 96]}, LI)


def test_the_triplanar_network_pools_z_while_it_can(planned):
    strides = kwargs_of(apply_variant(planned("challenge"), TRUENET))["strides"]

    assert strides == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [1, 2, 2]]


@pytest.mark.parametrize("trainer", PUBLISHED)
def test_configurations_of_the_other_kind_are_refused_with_the_one_to_take(planned, trainer):
    n_axes = VARIANTS[trainer].n_axes
    other, right = ("challenge", "2d") if n_axes == 2 else ("2d", "3d_fullres")
    message = f"found {5 - n_axes} axes, but {trainer} is for {n_axes}: train it with the configuration {right}"
    with pytest.raises(InputError, match=message):
        apply_variant(planned(other), VARIANTS[trainer])


@pytest.mark.parametrize(("found", "wanted"), permutations([*PUBLISHED, "nnUNetTrainerSAUNet"], 2))
def test_of_a_system_no_other_variant_is_made(planned, found, wanted):
    name = fitting(VARIANTS[found])[0]
    configuration = apply_variant(planned(name), VARIANTS[found])
    if found in PUBLISHED and VARIANTS[wanted].n_axes in (None, len(configuration["patch_size"])):
        with pytest.raises(InputError, match=f"of which {wanted} cannot be made: take nnU-Net's own plans"):
            apply_variant(configuration, VARIANTS[wanted])


def test_what_the_paper_trains_stands_in_the_training_block_unless_the_plans_say_otherwise(plans):
    as_planned = resolve(with_variant(plans, "2d", LI), "2d")
    assert as_planned["training"] == {"loss": "dice"}

    plans["configurations"]["2d"]["training"] = {"loss": "nnunet", "num_epochs": 3}
    assert resolve(with_variant(plans, "2d", LI), "2d")["training"] == {"loss": "nnunet", "num_epochs": 3}
    assert "training" not in resolve(with_variant(plans, "3d_fullres", TRUENET), "3d_fullres")


@pytest.mark.parametrize("trainer", PUBLISHED)
def test_all_arguments_are_known_by_name(planned, trainer):
    """What stands in plans is a path to a class, a number, or a list."""
    kwargs = kwargs_of(apply_variant(planned(fitting(VARIANTS[trainer])[0]), VARIANTS[trainer]))
    for key, value in kwargs.items():
        assert value is None or isinstance(value, (bool, int, list, dict)) or re.fullmatch(r"[\w.]+", value), key
