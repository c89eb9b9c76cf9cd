"""What a job does next, by what nnU-Net left in its folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from nnunetv2_sa_unet.study import jobs
from nnunetv2_sa_unet.study.ablation import Study

VARIANT = "nnUNetTrainerSAUNet"


def leave(study: Study, *names: str, fold: int = 0) -> Path:
    """Leave behind what nnU-Net writes in the course of a training."""
    folder = study.fold_folder(VARIANT, fold)
    (folder / "validation").mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == "summary":
            (folder / "validation" / "summary.json").write_text('{"foreground_mean": {}}')
        else:
            torch.save({"network_weights": {}}, folder / f"checkpoint_{name}.pth")
    return folder


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ([], []),
        (["best"], ["--c"]),
        (["latest", "best"], ["--c"]),
        (["final", "best"], ["--val"]),
        (["final", "best", "summary"], None),
    ],
)
def test_a_fold_goes_on_from_where_it_stands(study: Study, left: list[str], expected: list[str] | None) -> None:
    leave(study, *left)
    assert jobs.resume_options(study, VARIANT, 0) == expected


@pytest.mark.parametrize(
    ("left", "torn", "expected"),
    [
        (["latest", "best"], "latest", ["--c"]),
        (["best"], "best", []),
        (["final", "latest", "summary"], "final", ["--c"]),
    ],
)
def test_a_checkpoint_that_a_kill_cut_short_is_set_aside(
    study: Study, left: list[str], torn: str, expected: list[str]
) -> None:
    checkpoint = leave(study, *left) / f"checkpoint_{torn}.pth"
    content = checkpoint.read_bytes()[:-100]
    checkpoint.write_bytes(content)

    assert jobs.resume_options(study, VARIANT, 0) == expected
    assert not checkpoint.exists()
    assert checkpoint.with_name(f"{checkpoint.name}.incomplete").read_bytes() == content


def test_a_torn_summary_is_no_end_of_the_validation(study: Study) -> None:
    folder = leave(study, "final", "summary")
    (folder / "validation" / "summary.json").write_text('{"foreground_mean": ')
    assert jobs.resume_options(study, VARIANT, 0) == ["--val"]


def test_an_existing_split_is_left_alone(study: Study) -> None:
    study.splits_file.write_text("[]")
    jobs.make_splits(study)
    assert study.splits_file.read_text() == "[]"


def write_mask(path: Path, voxels: int) -> None:
    array = np.zeros((3, 8, 8), np.uint8)
    array.flat[:voxels] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))


def test_only_the_validation_cases_of_the_requested_folds_are_scored(study: Study) -> None:
    preprocessed = Path(study.preprocessed)
    study.splits_file.write_text(json.dumps([{"train": [], "val": [case]} for case in "abc"]))
    (preprocessed / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    for fold, case in enumerate("abc"):
        write_mask(preprocessed / "gt_segmentations" / f"{case}.nii.gz", 4)
        write_mask(study.fold_folder(VARIANT, fold) / "validation" / f"{case}.nii.gz", 2 + fold)
    # Something that was evaluated before with other folds.
    before = Path(study.output, VARIANT, "predictions", "b.nii.gz")
    before.parent.mkdir(parents=True)
    before.symlink_to(study.fold_folder(VARIANT, 1) / "validation" / "b.nii.gz")

    jobs.evaluate(study, VARIANT)

    lines = Path(study.output, VARIANT, "metrics.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == ["a", "c"]
    assert [float(line.split(",")[1]) for line in lines] == [pytest.approx(4 / 6), 1]
    assert [(line[0], line[-1]) for line in study.table().lines] == [("3D SA-UNet", "2")]


def test_flags_of_what_is_gone_or_was_made_anew_are_outdated(study: Study) -> None:
    for fold in study.folds:
        leave(study, "final", "summary", fold=fold)
        study.fold_flag(VARIANT, fold).parent.mkdir(exist_ok=True)
        study.fold_flag(VARIANT, fold).touch()
    study.splits_file.touch()
    Path(study.output, "splits.done").touch()
    assert study.outdated_flags() == []

    anew = study.fold_folder(VARIANT, 0) / "validation" / "summary.json"
    os.utime(anew, (anew.stat().st_mtime + 100,) * 2)
    assert study.outdated_flags() == [f"{VARIANT}/fold_0.done"]

    (study.fold_folder(VARIANT, 2) / "checkpoint_final.pth").unlink()
    study.splits_file.unlink()
    assert study.outdated_flags() == ["splits.done", f"{VARIANT}/fold_0.done", f"{VARIANT}/fold_2.done"]

    study.fold_flag(VARIANT, 2).unlink()
    assert study.outdated_flags() == ["splits.done", f"{VARIANT}/fold_0.done"], "what has no flag has none to forget"
