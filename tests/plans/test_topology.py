from __future__ import annotations

from copy import deepcopy
from itertools import permutations
from math import prod

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant, through_plane_poolings
from nnunetv2_sa_unet.plans.variants import VARIANTS, SwitchedVariant

SWITCHED = [name for name, variant in VARIANTS.items() if isinstance(variant, SwitchedVariant)]


def kwargs_of(configuration):
    return configuration["architecture"]["arch_kwargs"]


@pytest.mark.parametrize(
    ("name", "depth"),
    [("challenge", 4), ("thick", 4), ("wide", 5), ("paper", 4), ("isotropic", 3), ("2d", 4), ("small", 3)],
)
def test_depth_is_the_last_at_which_the_bottleneck_exceeds_the_largest_rate(planned, name, depth):
    configuration = planned(name)
    kwargs = kwargs_of(apply_values(configuration, {}))

    assert kwargs["n_stages"] == depth
    assert kwargs["features_per_stage"] == kwargs_of(configuration)["features_per_stage"][:depth]
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        assert len(kwargs[key]) == depth
    assert len(kwargs["n_conv_per_stage_decoder"]) == depth - 1


def test_every_number_of_the_network_stands_in_the_plans(planned):
    configuration = apply_values(planned("challenge"), {})

    assert configuration["architecture"] == {
        "network_class_name": "nnunetv2_sa_unet.networks.sa_unet.SAUNet",
        "arch_kwargs": {
            "n_stages": 4,
            "features_per_stage": [32, 64, 128, 256],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [1, 3, 3], [1, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2], [1, 2, 2]],
            "n_conv_per_stage": [2, 2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2, 2],
            "conv_bias": True,
            "norm_op": "nnunetv2_sa_unet.networks.norm.GroupNorm",
            "norm_op_kwargs": {"num_groups": 8, "eps": 1e-3, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.ReLU",
            "nonlin_kwargs": {"inplace": True},
            "attention_kernel": [1, 14, 14],
            "rates": [6, 12, 16],
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def test_nothing_but_the_network_changes_without_values(planned):
    configuration = planned("challenge")
    rewritten = apply_values(configuration, {})

    assert rewritten | {"architecture": None} == configuration | {"architecture": None}


def test_2d_has_two_axes_everywhere(planned):
    kwargs = kwargs_of(apply_values(planned("2d"), {}))

    assert kwargs["kernel_sizes"] == [[3, 3]] * 4
    assert kwargs["strides"] == [[1, 1]] + [[2, 2]] * 3
    assert kwargs["attention_kernel"] == [14, 14]


def test_planned_depth_scales_the_rates_to_the_map(planned):
    kwargs = kwargs_of(apply_values(planned("challenge"), {"depth": "planned"}))

    assert kwargs["n_stages"] == 6
    assert kwargs["rates"] == [1, 3, 4]  # an edge of 7 instead of the paper's 32


def test_planned_kernels_keep_kernels_and_strides_and_count_every_axis(planned):
    configuration = planned("isotropic")
    rewritten = apply_values(configuration, {"kernels": "planned"})

    assert rewritten["kernels"] == "planned"
    assert kwargs_of(rewritten)["n_stages"] == 3  # 28×40×32; one stage more and 14 is below 16
    assert kwargs_of(rewritten)["kernel_sizes"] == [[3, 3, 3]] * 3
    assert kwargs_of(rewritten)["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]


def test_values_replace_what_was_planned(planned):
    values = {
        "patch_size": [32, 256, 256],
        "batch_size": 4,
        "features_per_stage": [24, 48, 96, 192, 384],
        "rates": [2, 4],
        "attention_kernel": [1, 7, 7],
        "norm_groups": 4,
        "norm_eps": 1e-5,
        "depth": 4,
    }
    rewritten = apply_values(planned("challenge"), values)

    assert (rewritten["patch_size"], rewritten["batch_size"]) == ([32, 256, 256], 4)
    kwargs = kwargs_of(rewritten)
    assert kwargs["features_per_stage"] == [24, 48, 96, 192]
    assert (kwargs["rates"], kwargs["attention_kernel"]) == ([2, 4], [1, 7, 7])
    assert kwargs["norm_op_kwargs"] == {"num_groups": 4, "eps": 1e-5, "affine": True}


@pytest.mark.parametrize(
    ("patch", "strides_along_z"),
    [
        (32, [1, 2, 2, 2]),  # the paper: 32 → 16 → 8 → 4
        (40, [1, 2, 2, 1]),  # 40 → 20 → 10, and 5 is odd
        (24, [1, 2, 2, 1]),  # 24 → 12 → 6, and 3 is odd
        (16, [1, 2, 2, 1]),  # 16 → 8 → 4, and 2 is below 4
        (20, [1, 2, 1, 1]),
        (7, [1, 1, 1, 1]),
    ],
)
def test_z_is_halved_only_while_it_stays_even_and_at_least_4(planned, patch, strides_along_z):
    full = apply_values(planned("challenge"), {"patch_size": [patch, 256, 256]})
    rewritten = apply_variant(full, VARIANTS["nnUNetTrainerSAUNet_backbone333BN"])

    assert [stride[0] for stride in kwargs_of(rewritten)["strides"]] == strides_along_z
    assert all(stride[1:] == [2, 2] for stride in kwargs_of(rewritten)["strides"][1:])
    assert through_plane_poolings(rewritten) == strides_along_z.count(2)


@pytest.mark.parametrize("name", ["challenge", "thick", "wide", "paper", "isotropic", "2d"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("trainer", SWITCHED)
def test_a_variant_twice_is_a_variant_once(planned, name, residual, trainer):
    once = apply_variant(planned(name, residual), VARIANTS[trainer])
    before = deepcopy(once)

    assert apply_variant(once, VARIANTS[trainer]) == once
    assert once == before


@pytest.mark.parametrize(("first", "second"), permutations(SWITCHED, 2))
def test_any_variant_can_be_made_of_any_other(planned, first, second):
    configuration = planned("challenge")
    through_first = apply_variant(apply_variant(configuration, VARIANTS[first]), VARIANTS[second])

    assert through_first == apply_variant(configuration, VARIANTS[second])


@pytest.mark.parametrize("trainer", SWITCHED)
def test_a_variant_has_its_parts_and_no_others(planned, trainer):
    variant = VARIANTS[trainer]
    kwargs = kwargs_of(apply_variant(planned("challenge"), variant))

    assert ("attention_kernel" in kwargs) == variant.attention
    assert ("rates" in kwargs) == variant.aspp
    assert kwargs["norm_op"].endswith("GroupNorm" if variant.norm == "group" else "BatchNorm3d")
    assert ("num_groups" in kwargs["norm_op_kwargs"]) == (variant.norm == "group")
    assert (kwargs["kernel_sizes"][0] == [1, 3, 3]) == variant.in_plane
    assert kwargs["kernel_sizes"][-1] == [3, 3, 3]


def test_a_variant_keeps_values(planned):
    full = apply_values(
        planned("challenge"), {"rates": [2, 4], "norm_eps": 1e-5, "depth": 5, "attention_kernel": [1, 7, 7]}
    )
    no_sam = kwargs_of(apply_variant(full, VARIANTS["nnUNetTrainerSAUNet_noSAM"]))
    batch_norm = kwargs_of(apply_variant(full, VARIANTS["nnUNetTrainerSAUNet_backboneBN"]))

    assert (no_sam["rates"], no_sam["n_stages"], no_sam["norm_op_kwargs"]["eps"]) == ([2, 4], 5, 1e-5)
    assert (batch_norm["n_stages"], batch_norm["norm_op_kwargs"]["eps"]) == (5, 1e-5)
    assert kwargs_of(apply_variant(full, VARIANTS["nnUNetTrainerSAUNet"]))["attention_kernel"] == [1, 7, 7]


def test_planned_kernels_stay_in_a_variant(planned):
    isotropic = apply_values(planned("isotropic"), {"kernels": "planned"})
    for name in SWITCHED:
        assert kwargs_of(apply_variant(isotropic, VARIANTS[name]))["strides"] == kwargs_of(isotropic)["strides"]


@pytest.mark.parametrize("name", ["challenge", "thick", "wide", "paper", "isotropic", "2d", "small"])
@pytest.mark.parametrize("trainer", SWITCHED)
def test_the_patch_is_divisible_by_the_strides(planned, name, trainer):
    rewritten = apply_variant(planned(name), VARIANTS[trainer])
    for axis, extent in enumerate(rewritten["patch_size"]):
        assert extent % prod(stride[axis] for stride in kwargs_of(rewritten)["strides"]) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch_size": [64, 64]}, r"patch_size: found \[64, 64\] with 2 axes, expected 3"),
        ({"attention_kernel": [7, 7]}, r"attention_kernel: found \[7, 7\] with 2 axes, expected 3"),
        ({"patch_size": [16, 150, 160]}, r"patch_size: .* not divisible by 8 along axis 1, which 4 stages need"),
        ({"features_per_stage": [32, 64, 128]}, "features_per_stage: found 3 entries for 4 stages"),
        ({"features_per_stage": [12, 24, 48, 96]}, "features_per_stage: 12 is not divisible by the 8 groups"),
        ({"features_per_stage": [8] * 4}, "last of the 4 stages has 8 channels for 8 groups .*: give it 16 or more"),
        ({"norm_groups": 5}, "features_per_stage: 32 is not divisible by the 5 groups"),
        ({"kernels": "planned", "depth": 7, "features_per_stage": [32] * 7}, "depth: 7 stages, but nnU-Net planned"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(planned, values, message):
    with pytest.raises(InputError, match=message):
        apply_values(planned("challenge"), values)


def test_plans_with_fewer_than_three_stages_need_widths_for_three(planned):
    configuration = planned("small")
    for key in ("features_per_stage", "kernel_sizes", "strides"):
        del kwargs_of(configuration)[key][2:]
    with pytest.raises(InputError, match="found 2 entries for 3 stages: give 3, the fewest that nnU-Net's deep superv"):
        apply_values(configuration, {})

    assert kwargs_of(apply_values(configuration, {"features_per_stage": [16, 32, 64]}))["n_stages"] == 3


def test_plans_of_an_older_nnunet_are_refused(planned):
    configuration = planned("challenge")
    del configuration["architecture"]
    with pytest.raises(InputError, match=r"architecture: missing.*nnUNetv2_plan_experiment"):
        apply_variant(configuration, VARIANTS["nnUNetTrainerSAUNet"])


def test_overrides_need_plans_of_nnunet(planned):
    with pytest.raises(InputError, match="take nnU-Net's own plans as the base"):
        apply_values(apply_values(planned("challenge"), {}), {})


def test_other_kernels_and_planned_kernels_exclude_each_other(planned):
    configuration = apply_values(planned("challenge"), {"kernels": "planned"})
    with pytest.raises(InputError, match="nnUNetTrainerSAUNet_backbone333BN needs"):
        apply_variant(configuration, VARIANTS["nnUNetTrainerSAUNet_backbone333BN"])
