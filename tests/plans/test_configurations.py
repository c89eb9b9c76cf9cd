from __future__ import annotations

from copy import deepcopy

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.configurations import override_plans, override_training, resolve, with_variant
from nnunetv2_sa_unet.plans.overrides import parse_override
from nnunetv2_sa_unet.plans.topology import is_ours
from nnunetv2_sa_unet.plans.variants import VARIANTS


def override(**configurations):
    return parse_override({"description": "test", "configurations": configurations}, "test.json")


def test_resolution_agrees_with_nnunet(plans):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    for name in plans["configurations"]:
        assert resolve(plans, name) == PlansManager(deepcopy(plans)).get_configuration(name).configuration


def test_a_variant_goes_into_the_named_configuration_and_not_into_its_parent(plans):
    rewritten = with_variant(plans, "3d_cascade_fullres", VARIANTS["nnUNetTrainerSAUNet"])

    assert is_ours(resolve(rewritten, "3d_cascade_fullres"))
    changed = {"3d_cascade_fullres": rewritten["configurations"]["3d_cascade_fullres"]}
    assert rewritten == plans | {"configurations": plans["configurations"] | changed}
    assert set(changed["3d_cascade_fullres"]) == {"inherits_from", "previous_stage", "architecture"}


def test_the_plans_given_stay_as_they_are(plans):
    before = deepcopy(plans)
    with_variant(plans, "3d_fullres", VARIANTS["nnUNetTrainerSAUNet"])
    override_plans(plans, [override(**{"*": {"batch_size": 7}})])

    assert plans == before


def test_overrides_rewrite_every_configuration(plans):
    rewritten = override_plans(plans, [override(**{"*": {"batch_size": 7, "training": {"num_epochs": 3}}})])

    for name in plans["configurations"]:
        configuration = resolve(rewritten, name)
        assert is_ours(configuration)
        assert (configuration["batch_size"], configuration["training"]) == (7, {"num_epochs": 3})


def test_only_the_named_configurations_are_rewritten(plans):
    rewritten = override_plans(plans, [], ["2d"])

    assert [is_ours(resolve(rewritten, name)) for name in plans["configurations"]] == [True, False, False, False]


def test_a_child_follows_its_parents_patch_with_a_network_for_it(plans):
    rewritten = override_plans(plans, [override(**{"3d_fullres": {"patch_size": [16, 320, 320]}})])
    child = resolve(rewritten, "3d_cascade_fullres")

    assert child["patch_size"] == [16, 320, 320]
    assert child["architecture"]["arch_kwargs"]["n_stages"] == 5
    assert "patch_size" not in rewritten["configurations"]["3d_cascade_fullres"]


def test_a_childs_own_patch_is_kept(plans):
    plans["configurations"]["3d_cascade_fullres"]["patch_size"] = [32, 256, 256]
    parent_only = override(**{"3d_fullres": {"patch_size": [16, 320, 320]}})
    itself = override(**{"3d_cascade_fullres": {"patch_size": [16, 64, 64]}})

    assert resolve(override_plans(plans, [parent_only]), "3d_cascade_fullres")["patch_size"] == [32, 256, 256]
    assert resolve(override_plans(plans, [parent_only, itself]), "3d_cascade_fullres")["patch_size"] == [16, 64, 64]


def test_training_of_the_plans_is_extended_key_by_key_and_written_whole(plans):
    plans["configurations"]["3d_fullres"]["training"] = {"num_epochs": 9, "save_every": 3}
    rewritten = override_plans(plans, [override(**{"*": {"training": {"num_epochs": 2}}})])

    expected = {"num_epochs": 2, "save_every": 3}
    assert rewritten["configurations"]["3d_fullres"]["training"] == expected
    assert rewritten["configurations"]["3d_cascade_fullres"]["training"] == expected


def test_null_gives_training_of_the_plans_back_to_nnunet(plans):
    plans["configurations"]["3d_fullres"]["training"] = {"ema": 0.9}
    rewritten = override_plans(plans, [override(**{"*": {"training": {"ema": None}}})])

    assert rewritten["configurations"]["3d_fullres"]["training"] == {}


def test_messages_name_plans_configuration_and_field(plans):
    with pytest.raises(InputError, match=r"nnUNetPlans.json: configurations.2d: patch_size: found \[8, 64"):
        override_plans(plans, [override(**{"*": {"patch_size": [8, 64, 64]}})])


def test_an_unknown_configuration_and_a_circle_are_named(plans):
    with pytest.raises(InputError, match=r"3d_fulres: no such configuration, there are: 2d, 3d_lowres, 3d_fullres"):
        with_variant(plans, "3d_fulres", VARIANTS["nnUNetTrainerSAUNet"])
    plans["configurations"]["3d_fullres"]["inherits_from"] = "3d_cascade_fullres"
    with pytest.raises(InputError, match="inherits_from: runs in a circle: 3d_fullres → 3d_cascade_fullres → 3d_full"):
        with_variant(plans, "3d_fullres", VARIANTS["nnUNetTrainerSAUNet"])


def trained(plans):
    return with_variant(plans, "3d_fullres", VARIANTS["nnUNetTrainerSAUNet"])


def test_a_models_training_patch_and_batch_change_and_its_network_stays(plans):
    model = trained(plans)
    model["configurations"]["3d_fullres"]["training"] = {"ema": 0.9, "num_epochs": 9}
    values = {"patch_size": [8, 64, 64], "training": {"ema": None, "num_epochs": 2}}
    changed = override_training(model, [override(**{"*": {"batch_size": 1}, "3d_fullres": values})], "3d_fullres")

    before, after = (resolve(each, "3d_fullres") for each in (model, changed))
    assert (after["patch_size"], after["batch_size"], after["training"]) == ([8, 64, 64], 1, {"num_epochs": 2})
    assert after["architecture"] == before["architecture"]
    assert changed["configurations"]["2d"] == model["configurations"]["2d"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rates": [2, 4], "depth": 3}, "3d_fullres: depth, rates: set by an override, but the network is that of the"),
        ({"patch_size": [8, 63, 64]}, r"patch_size: found \[8, 63, 64\], expected multiples of \[1, "),
        ({"patch_size": [64, 64]}, r"patch_size: found \[64, 64\], expected multiples of \[1, "),
    ],
)
def test_what_does_not_fit_a_models_network_is_refused(plans, values, message):
    with pytest.raises(InputError, match=message):
        override_training(trained(plans), [override(**{"3d_fullres": values})], "3d_fullres")
