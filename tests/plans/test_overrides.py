from __future__ import annotations

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.overrides import parse_override, parse_training, values_for


def override(**configurations):
    return parse_override({"description": "test", "configurations": configurations}, "test.json")


def test_later_overrides_win_key_by_key():
    first = override(**{"*": {"batch_size": 2, "training": {"num_epochs": 5, "optimizer": "AdamW"}}})
    second = override(**{"*": {"rates": [2, 4], "training": {"num_epochs": 7}}})

    assert values_for([first, second], ["3d_fullres"]) == {
        "batch_size": 2,
        "rates": [2, 4],
        "training": {"num_epochs": 7, "optimizer": "AdamW"},
    }


def test_a_name_wins_over_all_within_an_override_and_not_over_a_later_one():
    first = override(**{"3d_fullres": {"batch_size": 3}, "*": {"batch_size": 2}})
    second = override(**{"*": {"batch_size": 5}})

    assert values_for([first], ["3d_fullres"]) == {"batch_size": 3}
    assert values_for([first], ["2d"]) == {"batch_size": 2}
    assert values_for([first, second], ["3d_fullres"]) == {"batch_size": 5}


def test_null_takes_back_what_an_earlier_override_sets_of_the_training():
    first = override(**{"*": {"training": {"ema": 0.9, "optimizer": "AdamW"}}})
    second = override(**{"*": {"training": {"ema": None}}})

    assert values_for([first, second], ["2d"])["training"] == {"ema": None, "optimizer": "AdamW"}


def test_a_child_takes_what_its_parent_is_given():
    parent = override(**{"3d_fullres": {"patch_size": [16, 64, 64], "batch_size": 3}, "child": {"batch_size": 4}})

    assert values_for([parent], ["3d_fullres", "child"]) == {"patch_size": [16, 64, 64], "batch_size": 4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": [1]}, r"x.json: configurations.\*.patch: unknown key"),
        ({"norm_op": "InstanceNorm"}, r"x.json: configurations.\*.norm_op: this is a switch.*\(-tr\)"),
        ({"batch_size": 0}, r"batch_size: found 0: .*greater than 0"),
        ({"batch_size": "2"}, r"batch_size: found '2': .*integer"),
        ({"patch_size": [16, 64.5, 64]}, r"patch_size.1: found 64.5"),
        ({"depth": 2}, r"depth.*: found 2: .*greater than or equal to 3"),
        ({"features_per_stage": [16, 32]}, r"features_per_stage: found \[16, 32\]: .*at least 3 items"),
        ({"kernels": "3x3"}, r"kernels: found '3x3': .*'planned'"),
        ({"training": {"epochs": 3}}, r"training.epochs: unknown key"),
        ({"training": {"optimizer": "Adagrad"}}, r"training.optimizer: found 'Adagrad': .*'SGD', 'Adam' or 'AdamW'"),
        ({"training": {"initial_lr": float("inf")}}, r"training.initial_lr: found inf: "),
        ({"training": {"initial_lr": 10}}, r"training.initial_lr: found 10: .*less than or equal to 1"),
        ({"training": {"weight_decay": 3}}, r"training.weight_decay: found 3: .*less than or equal to 1"),
        ({"training": {"num_epochs": 10**9}}, r"training.num_epochs: found 1000000000: .*less than or equal to 100000"),
        ({"batch_size": 10**6}, r"batch_size: found 1000000: .*less than or equal to 10000"),
        ({"patch_size": [16, 10**5, 64]}, r"patch_size.1: found 100000: .*less than or equal to 2048"),
        ({"features_per_stage": [8, 8, 10**6]}, r"features_per_stage.2: found 1000000: .*less than or equal to 8192"),
        ({"rates": [1] * 1000}, r"rates: found .*at most 100 items"),
        ({"norm_eps": 5.0}, r"norm_eps: found 5.0: .*less than or equal to 1"),
        ({"training": {"ema": 1.0}}, r"training.ema: found 1.0: .*less than 1"),
        ({"training": {"ema": 0.0}}, r"training.ema: found 0.0: .*greater than 0"),
        ({"training": {"warmup_iterations": 0}}, r"training.warmup_iterations: found 0: .*greater than 0"),
        ({"training": {"augmentation": "site"}}, r"augmentation: found 'site': .*'nnunet', 'paper', 'sites' or 'none'"),
        (
            {"training": {"warmup_iterations": 10, "lr_schedule": "plateau"}},
            r"^x.json: configurations.\*.training: warmup_iterations goes with lr_schedule poly",
        ),
        ({"training": {"oversample_foreground_percent": 33}}, r"oversample_foreground_percent: found 33: "),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(values, message):
    with pytest.raises(InputError, match=message):
        parse_override({"description": "", "configurations": {"*": values}}, "x.json")


def test_every_wrong_field_has_its_line():
    with pytest.raises(InputError) as caught:
        parse_override({"configurations": {"*": {"batch_size": 0, "patch": 1}}}, "x.json")

    assert len(str(caught.value).splitlines()) == 3
    assert "x.json: description: " in str(caught.value)


def test_a_training_block_is_checked_like_that_of_an_override():
    assert parse_training({"num_epochs": 3}, "plans").num_epochs == 3
    with pytest.raises(InputError, match=r"plans: num_epochs: found -1"):
        parse_training({"num_epochs": -1}, "plans")


@pytest.mark.parametrize(
    "others",
    [{}, {"optimizer": "SGD"}, {"optimizer": "Adam", "lr_schedule": "plateau"}],
    ids=["none", "SGD", "plateau"],
)
def test_a_rate_of_the_last_layers_needs_an_optimiser_and_a_schedule_that_have_it(others):
    assert override(**{"*": {"training": {"head_lr": 0.01}}})  # another override may name the optimiser
    assert parse_training({"head_lr": 0.01, "optimizer": "AdamW"}, "plans").head_lr == 0.01
    with pytest.raises(InputError, match=r"^plans: head_lr goes with optimizer Adam or AdamW"):
        parse_training({"head_lr": 0.01} | others, "plans")
