"""From the WMH challenge's folder to the paper's tables, with real nnU-Net on a miniature of the challenge."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

TRAINERS = ("nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_noSAM")
PLANS = "nnUNetSAUNetMiniaturePlans"
TRAINING = {
    "num_epochs": 1,
    "num_iterations_per_epoch": 2,
    "num_val_iterations_per_epoch": 1,
    "initial_lr": 0.002,
    "optimizer": "AdamW",
    "augmentation": "none",
}
MINIATURE = {
    "description": "for tests",
    "configurations": {
        "3d_fullres": {
            "patch_size": [8, 32, 32],
            "batch_size": 2,
            "features_per_stage": [8, 8, 16, 16],
            "training": TRAINING,
        }
    },
}


@pytest.fixture(scope="module")
def challenge(nnunet: Any, pristine_challenge_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """nnU-Net with the challenge's miniature converted, planned, and two networks trained on two folds."""
    root = tmp_path_factory.mktemp("challenge_run")
    environment = nnunet.environment | {
        f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")
    }
    for name in ("raw", "results"):
        (root / name).mkdir()
    run = dataclasses.replace(nnunet, root=root, environment=environment).run
    # The third class is the paper's.
    run("nnUNetv2_sa_unet", "convert", "wmh-challenge", str(pristine_challenge_tree), "-d", "902", "--other", "class")
    processes = ("-np", "1", "-npfp", "1")
    preprocess = ("nnUNetv2_plan_and_preprocess", "-d", "902", "-c", "3d_fullres", *processes)
    assert "arning" not in run(*preprocess, "--verify_dataset_integrity")
    (root / "miniature.json").write_text(json.dumps(MINIATURE))
    run("nnUNetv2_sa_unet", "plan", "-d", "902", "--override", "miniature.json")
    # In this process, which saves the seconds that a new one needs to start.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment | {"nnUNet_n_proc_DA": "0"}).items():
            patch.setenv(name, value)
        patch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.default_num_processes", 1)
        from nnunetv2.run.run_training import run_training

        for trainer in TRAINERS:
            for fold in (0, 1):
                run_training("902", "3d_fullres", fold, trainer, PLANS, device=torch.device("cpu"))
    return dataclasses.replace(nnunet, root=root, environment=environment)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_folds_of_the_conversion_are_nnunets(challenge: Any) -> None:
    folders = [challenge.root / name / "Dataset902_WMHChallenge" for name in ("raw", "preprocessed")]
    raw, preprocessed = (json.loads((folder / "splits_final.json").read_text()) for folder in folders)
    assert raw == preprocessed
    results = challenge.root / "results" / "Dataset902_WMHChallenge"
    validated = results / f"{TRAINERS[0]}__{PLANS}__3d_fullres" / "fold_0" / "validation"
    assert sorted(path.name for path in validated.glob("*.nii.gz")) == [f"{case}.nii.gz" for case in raw[0]["val"]]


def test_the_cross_validation_gives_the_tables_and_the_observers_ceiling(challenge: Any) -> None:
    printed = challenge.run("nnUNetv2_sa_unet", "tables", "-d", "902", "-p", PLANS, "--folds", "0-1", "-np", "1")
    output = challenge.root / "results" / "Dataset902_WMHChallenge" / "tables" / f"{PLANS}__3d_fullres"
    assert [row["dice_paper"] for row in rows(output / "table1.csv")] == ["0.77", "0.79"]
    assert {row["scanner"] for row in rows(output / "cases.csv")} <= {"GE3T", "Singapore", "Utrecht", "all"}
    observers = rows(output / "observers.csv")
    # The third observer of the miniature drew what the reference says, the second one more.
    dice = {next(iter(row.values())): float(row["dice_measured"]) for row in observers}
    assert dice["o4 against reference"] == 1
    assert 0 < dice["o3 against reference"] < 1
    assert "o3 against reference" in printed


def test_predictions_for_the_test_set_give_the_table_by_scanner(challenge: Any) -> None:
    images = challenge.root / "raw" / "Dataset902_WMHChallenge" / "imagesTs"
    predictions = challenge.root / "predictions" / TRAINERS[0]
    model = ("-d", "902", "-c", "3d_fullres", "-p", PLANS, "-tr", TRAINERS[0], "-f", "0", "1")
    one = ("-npp", "1", "-nps", "1", "--disable_tta", "-device", "cpu")
    challenge.run("nnUNetv2_predict", "-i", str(images), "-o", str(predictions), *model, *one)
    challenge.run("nnUNetv2_sa_unet", "tables", "-d", "902", "--predictions", str(predictions), "-np", "1")
    cases = rows(challenge.root / "tables" / "cases.csv")
    expected = ["GE1T5_150", "GE3T_103", "PhilipsVU_160", "Singapore_051", "Utrecht_001"]
    assert sorted(row["case"] for row in cases) == expected
    plans = json.loads((challenge.root / "preprocessed" / "Dataset902_WMHChallenge" / f"{PLANS}.json").read_text())
    assert plans["image_reader_writer"] == "NibabelIOWithReorient"
    # None of the miniature's volumes is stored in the order that nnU-Net works in.
    for case in expected:
        image, mask = nibabel.load(images / f"{case}_0000.nii.gz"), nibabel.load(predictions / f"{case}.nii.gz")
        assert nibabel.aff2axcodes(image.affine) != ("R", "A", "S")
        assert np.allclose(mask.affine, image.affine, rtol=0, atol=1e-4)
        assert mask.shape == image.shape
    assert (challenge.root / "tables" / "table3.csv").is_file()
