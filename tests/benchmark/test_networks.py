from __future__ import annotations

import pytest

from nnunetv2_sa_unet.benchmark.networks import build, configurations
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.networks.reference import PlainSAUNet
from nnunetv2_sa_unet.plans.variants import VARIANTS


def test_nnunets_networks_are_those_that_it_plans_for_the_challenge():
    # What nnUNetv2_plan_experiment wrote for FLAIR of 1×1×3 mm and 48×256×230 voxels.
    kwargs = configurations((40, 224, 224))["PlainConvUNet"]["architecture"]["arch_kwargs"]
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert kwargs["kernel_sizes"] == [[1, 3, 3]] + [[3, 3, 3]] * 5
    assert kwargs["strides"] == [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]


def test_every_variant_is_there_in_both_widths():
    found = configurations((32, 128, 128))
    for trainer, variant in VARIANTS.items():
        for ending, features in (("", [24, 48, 96, 192]), ("-wide", [32, 64, 128, 256])):
            architecture = found[trainer.removeprefix("nnUNetTrainer") + ending]["architecture"]
            assert architecture["network_class_name"] == variant.network_class
            assert architecture["arch_kwargs"]["features_per_stage"] == features


def test_the_plain_network_differs_in_its_formulation_alone():
    found = configurations((32, 128, 128))
    plain, fast = build(found["plain"], deep_supervision=False), build(found["SAUNet"], deep_supervision=False)
    assert isinstance(plain, PlainSAUNet)
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in fast.state_dict().items()
    }


def test_a_patch_that_the_strides_do_not_divide_is_refused_with_one_that_they_do():
    with pytest.raises(InputError, match=r"--patch: found 32 130 128, .*: give 32 \d+ 128"):
        configurations((32, 130, 128))
