"""The planner on fingerprints of data sets as they occur; nothing is preprocessed."""

from __future__ import annotations

import json
from math import prod

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.configurations import resolve
from nnunetv2_sa_unet.plans.overrides import parse_override
from nnunetv2_sa_unet.plans.topology import is_ours

DATASET = "Dataset007_Test"
# Spacing in mm, shape in voxels, number of cases.
CHALLENGE = ([3.0, 1.0, 1.0], [48, 256, 230], 60)
ISOTROPIC = ([0.8, 0.8, 0.8], [220, 300, 260], 60)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Make nnU-Net's folders with a fingerprint, and say which folder holds the plans."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    raw, preprocessed = tmp_path / "raw" / DATASET, tmp_path / "preprocessed" / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True)

    def make(spacing, shape, cases):
        # nnU-Net opens one image to choose the reader; the sizes come from the fingerprint.
        volume = SimpleITK.GetImageFromArray(np.zeros((2, 2, 2), np.uint8))
        for path in (raw / "imagesTr" / "a_0000.nii.gz", raw / "labelsTr" / "a.nii.gz"):
            SimpleITK.WriteImage(volume, str(path))
        description = {
            "channel_names": {"0": "FLAIR"},
            "labels": {"background": 0, "WMH": 1, "other": 2},
            "numTraining": cases,
            "file_ending": ".nii.gz",
        }
        (raw / "dataset.json").write_text(json.dumps(description))
        fingerprint = {
            "spacings": [spacing] * cases,
            "shapes_after_crop": [shape] * cases,
            "foreground_intensity_properties_per_channel": {},
            "median_relative_size_after_cropping": 1.0,
        }
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        return preprocessed

    return make


@pytest.fixture
def planner(dataset):
    """Build a planner for one of the data sets."""

    def make(data, gigabytes, **values):
        from nnunetv2_sa_unet.nnunet.planner import nnUNetPlannerSAUNet

        dataset(*data)
        override = parse_override({"description": "", "configurations": values}, "test")
        return nnUNetPlannerSAUNet(DATASET, gigabytes, overrides=[override])

    return make


def test_every_configuration_fits_and_more_memory_is_used(planner):
    sizes = []
    for gigabytes in (8, 11, 24):
        planned = planner(CHALLENGE, gigabytes)
        plans = planned.plan_experiment()
        assert all(kept <= allowed for kept, allowed in planned.memory().values())
        configuration = resolve(plans, "3d_fullres")
        sizes.append(prod(configuration["patch_size"]) * configuration["batch_size"])

    assert sizes == sorted(set(sizes))


def test_sa_unet_gets_a_smaller_patch_than_nnunets_network(planner):
    """It keeps half as much again for the same patch."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    ours = planner(CHALLENGE, 8).plan_experiment()["configurations"]["3d_fullres"]
    theirs = ExperimentPlanner(DATASET, 8).plan_experiment()["configurations"]["3d_fullres"]

    assert prod(ours["patch_size"]) < prod(theirs["patch_size"])
    assert is_ours(ours)
    assert ours["architecture"]["arch_kwargs"]["n_stages"] == 4
    assert ours["spacing"] == list(theirs["spacing"])


def test_isotropic_data_get_a_cascade(planner):
    plans = planner(ISOTROPIC, 8).plan_experiment()
    names = ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]

    assert list(plans["configurations"]) == names
    assert all(is_ours(resolve(plans, name)) for name in names)
    lowres, fullres = (plans["configurations"][name] for name in names[1:3])
    assert lowres["spacing"] > fullres["spacing"]
    assert lowres["next_stage"] == "3d_cascade_fullres"
    assert (lowres["batch_dice"], fullres["batch_dice"]) == (False, True)


def test_given_widths_make_room_for_a_larger_patch(planner):
    narrow = planner(CHALLENGE, 8, **{"*": {"features_per_stage": [16, 32, 64, 128, 128, 128]}}).plan_experiment()
    planned = planner(CHALLENGE, 8).plan_experiment()

    patches = [prod(plans["configurations"]["3d_fullres"]["patch_size"]) for plans in (planned, narrow)]
    assert patches[0] < patches[1]


def test_a_given_patch_stays_and_the_batch_follows(planner):
    given = planner(CHALLENGE, 11, **{"3d_fullres": {"patch_size": [16, 128, 128], "training": {"num_epochs": 3}}})
    configuration = given.plan_experiment()["configurations"]["3d_fullres"]
    kept, allowed = given.memory()["3d_fullres"]

    assert configuration["patch_size"] == [16, 128, 128]
    assert configuration["training"] == {"num_epochs": 3}
    # The batch is as large as fits.
    assert kept <= allowed < kept * (1 + 1 / configuration["batch_size"])


def test_a_given_batch_stays_and_the_patch_follows(planner):
    two = planner(CHALLENGE, 8).plan_experiment()["configurations"]["3d_fullres"]
    given = planner(CHALLENGE, 8, **{"3d_fullres": {"batch_size": 6}})
    six = given.plan_experiment()["configurations"]["3d_fullres"]

    assert (two["batch_size"], six["batch_size"]) == (2, 6)
    assert prod(six["patch_size"]) < prod(two["patch_size"])
    assert given.memory()["3d_fullres"][0] <= given.memory()["3d_fullres"][1]


def test_too_little_memory_is_said(planner):
    with pytest.raises(InputError, match=r"--gpu-memory 0.001: a patch of .* too small for 3 stages: give more memory"):
        planner(CHALLENGE, 0.001).plan_experiment()


def test_data_that_nnunet_has_preprocessed_are_used_only_if_they_are_the_same(planner, dataset):
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    def identifiers():
        configurations = planner(CHALLENGE, 8).plan_experiment()["configurations"]
        return {name: configuration["data_identifier"] for name, configuration in configurations.items()}

    own = {name: f"nnUNetSAUNetPlans_{name}" for name in ("2d", "3d_fullres")}
    assert identifiers() == own

    ExperimentPlanner(DATASET, 8).plan_experiment()
    assert identifiers() == {name: f"nnUNetPlans_{name}" for name in own}

    path = dataset(*CHALLENGE) / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 1.0, 1.0]
    path.write_text(json.dumps(plans))
    assert identifiers() == {"2d": "nnUNetPlans_2d", "3d_fullres": own["3d_fullres"]}


def test_the_command_writes_the_plans_and_says_what_to_do_next(dataset, capsys):
    folder = dataset(*CHALLENGE)

    assert main(["plan", "-d", "7", "--gpu-memory", "8"]) == 0
    plans = json.loads((folder / "nnUNetSAUNetPlans.json").read_text())
    assert plans["plans_name"] == "nnUNetSAUNetPlans"
    assert plans["experiment_planner_used"] == "nnUNetPlannerSAUNet"
    printed = capsys.readouterr().out
    assert "nnUNetv2_preprocess -d 7 -plans_name nnUNetSAUNetPlans -c 2d 3d_fullres" in printed
    assert "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainerSAUNet -p nnUNetSAUNetPlans" in printed
    assert "PlainConvUNet" not in printed
    # Another size is another plan, which does not replace the first unasked.
    assert main(["plan", "-d", "7", "--gpu-memory", "11"]) == 1
    assert main(["plan", "-d", "7", "--gpu-memory", "11", "--force"]) == 0


def test_memory_and_overrides_compose_and_what_does_not_fit_is_warned_of(dataset, capsys):
    folder = dataset(*CHALLENGE)

    assert main(["plan", "-d", "7", "--gpu-memory", "8", "--override", "paper"]) == 0
    configuration = json.loads((folder / "nnUNetSAUNetPaperPlans.json").read_text())["configurations"]["3d_fullres"]
    assert (configuration["patch_size"], configuration["batch_size"]) == ([32, 256, 256], 4)
    assert configuration["training"]["loss"] == "paper"
    assert "warning: 3d_fullres: the patch or batch that was given may not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "plan: give --gpu-memory GB, --override NAME_OR_FILE, or both"),
        (["--gpu-memory", "8", "-p", "nnUNetPlans"], "-p: rewrites existing plans, but --gpu-memory makes new ones"),
        (["--gpu-memory", "8", "-c", "2d"], "-c: rewrites existing plans, but --gpu-memory makes new ones"),
        (["--gpu-memory", "-1"], "--gpu-memory: found -1, expected a number of GB above 0"),
    ],
)
def test_words_that_do_not_fit_each_other_are_refused(dataset, capsys, words, message):
    dataset(*CHALLENGE)
    assert main(["plan", "-d", "7", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_missing_fingerprint_is_named(dataset, capsys):
    (dataset(*CHALLENGE) / "dataset_fingerprint.json").unlink()
    assert main(["plan", "-d", "7", "--gpu-memory", "8"]) == 1
    assert "dataset_fingerprint.json: there is no such file: put the raw data there and run" in capsys.readouterr().err
