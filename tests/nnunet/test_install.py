"""``model install``: a model in the box becomes a model of nnU-Net's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.nnunet.loading import load_model
from nnunetv2_sa_unet.weights.registry import MODELS, WEIGHTS_NAME

BOXED = MODELS["openflair1"]
PLACE = "Dataset900_OpenFLAIR/nnUNetTrainerSAUNet__nnUNetSAUNetSitesPlans__3d_fullres"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return tmp_path / "results"


def install(*words: str) -> int:
    return main(["model", "install", BOXED.name, *words])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_a_model_with_the_same_weights_and_the_command_for_it_is_printed(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install() == 0

    folder = results / PLACE
    installed = load_model(folder, ["all"], "checkpoint_final.pth")
    boxed = load_model(BOXED.folder, ["all"], WEIGHTS_NAME)
    theirs, ours = (each.predictor.network.state_dict() for each in (installed, boxed))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert {path.name for path in results.rglob("*") if path.is_file()} == {
        "plans.json", "dataset.json", "dataset_fingerprint.json", "checkpoint_final.pth",
    }  # fmt: skip
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:3] == ["nnUNetv2_predict", "-d", "Dataset900_OpenFLAIR"]
    assert words[3:11] == [
        "-c", "3d_fullres", "-tr", "nnUNetTrainerSAUNet", "-p", "nnUNetSAUNetSitesPlans", "-f", "all",
    ]  # fmt: skip

    before = tree(results)
    assert install() == 0
    assert tree(results) == before


def test_another_model_in_its_place_stays_unless_forced(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install() == 0
    complete = tree(results)
    plans = results / PLACE / "plans.json"
    plans.write_text("{}")
    (results / PLACE / "mine.txt").touch()

    assert install() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another model is there (it differs in plans.json)" in error
    assert plans.read_text() == "{}"

    assert install("--force") == 0
    assert tree(results) == complete


def test_folds_of_somebody_else_are_never_replaced(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / PLACE / "fold_0").mkdir(parents=True)
    assert install("--force") == 1
    assert "another model is there, with fold_0; move the folder away" in capsys.readouterr().err
    assert [path.name for path in (results / PLACE).iterdir()] == ["fold_0"]


def test_without_a_folder_of_results_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert install() == 1
    assert capsys.readouterr().err == "error: nnUNet_results: not set: export it as for nnU-Net's own commands\n"


def test_a_failure_leaves_nothing_behind(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunetv2_sa_unet.nnunet.install.torch.save", full)
    assert install() == 1
    assert "cannot be written: [Errno 28] No space left on device" in capsys.readouterr().err
    assert not list(results.rglob("*.*"))
