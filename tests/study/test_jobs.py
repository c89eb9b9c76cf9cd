"""What a job does next, by what nnU-Net left in its folders."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
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


def test_what_fails_is_said_with_the_last_lines_of_the_log(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(study.output, "study.json")
    file.write_text(json.dumps(asdict(study)))
    # In the place of nnU-Net a program that complains.
    program = [sys.executable, "-c", "import sys; print('out of memory'); sys.exit(3)"]
    monkeypatch.setattr(jobs, "executable", lambda name: program)
    assert jobs.main([str(file), VARIANT, "2"]) == 1
    first, second, last = capsys.readouterr().err.splitlines()
    command = f"nnUNetv2_train 7 3d_fullres 2 -tr {VARIANT} -p nnUNetPlans -device cpu"
    assert first == f"error: {command}: ended with status 3; see {study.log(VARIANT, 2)}:"
    assert (second, last) == (command, "out of memory")


def test_a_finished_fold_is_left_alone(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(study, "final", "summary")
    file = Path(study.output, "study.json")
    file.write_text(json.dumps(asdict(study)))
    monkeypatch.setattr(jobs, "executable", lambda name: pytest.fail("nothing is to be run"))
    assert jobs.main([str(file), VARIANT, "0"]) == 0
