"""``nnUNetv2_sa_unet ablate`` from its words to the jobs it would run; tests/integration runs them."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.study.gpus import only_one


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The preprocessed folder of a data set, as far as the command looks at it."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    folder = tmp_path / "preprocessed" / "Dataset007_Test"
    for part in ("nnUNetPlans_3d_fullres", "gt_segmentations"):
        (folder / part).mkdir(parents=True)
    configurations = {"3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"}}
    (folder / "nnUNetPlans.json").write_text(json.dumps({"configurations": configurations}))
    return folder


@pytest.fixture
def snakemake() -> None:
    pytest.importorskip("snakemake", reason="Snakemake is not installed (extra: ablate)")


def ablate(*words: str) -> int:
    return main(["ablate", "-d", "7", "-device", "cpu", *words])


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert ablate(*words) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1, "one line"
    return message


@pytest.mark.usefixtures("dataset", "snakemake")
def test_a_dry_run_lists_a_training_for_each_variant_and_fold(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ablate("--dry-run", "--folds", "0-1", "4") == 0

    printed = capfd.readouterr()
    lines = (printed.out + printed.err).splitlines()
    trainings = {line.split(": ", 1)[1] for line in lines if "nnUNetv2_train" in line}
    assert trainings == {
        f"nnUNetv2_train 7 3d_fullres {fold} -tr {variant} -p nnUNetPlans -device cpu"
        for variant in VARIANTS
        for fold in (0, 1, 4)
    }
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("dataset", "snakemake")
def test_overrides_add_the_plan_command_and_name_the_plans(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--override", "paper", "quick", "--variants", "nnUNetTrainerSAUNet", "--folds", "2"]
    assert ablate("--dry-run", *words) == 0

    printed = capfd.readouterr()
    jobs = printed.out + printed.err
    assert "nnUNetv2_sa_unet plan -d 7 -p nnUNetPlans --override paper quick" in jobs
    assert "nnUNetv2_train 7 3d_fullres 2 -tr nnUNetTrainerSAUNet -p nnUNetSAUNetPaperQuickPlans -device cpu" in jobs


@pytest.mark.usefixtures("dataset")
def test_an_unknown_variant_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(capsys, "--variants", "nnUNetTrainerSAUNet", "noSAM")
    assert "no variant noSAM" in message
    assert all(name in message for name in VARIANTS)


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("word", ["0-9x", "x", "3-1", "-1", "1-", "0,1", ""])
def test_folds_that_are_no_numbers_are_refused(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert f"--folds: found {word}, expected" in fails(capsys, f"--folds={word}")


def test_a_fold_that_the_split_does_not_have_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--folds: found 5, but there are 5 folds, from 0" in fails(capsys, "--folds", "0-5")
    (dataset / "splits_final.json").write_text(json.dumps([{"train": [], "val": []}] * 3))
    assert "--folds: found 3, but there are 3 folds, from 0" in fails(capsys, "--folds", "0", "3")


def test_missing_folders_are_named_with_what_makes_them(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "gt_segmentations").rmdir()
    message = fails(capsys)
    assert f"{dataset / 'gt_segmentations'}: no such folder: run nnUNetv2_preprocess" in message
    assert "nnUNetMinePlans.json: there is no such file" in fails(capsys, "-p", "nnUNetMinePlans")
    assert f"{dataset / 'nnUNetPlans.json'}: configurations.2d: no such configuration" in fails(capsys, "-c", "2d")
    assert "mine.json: there is no such file" in fails(capsys, "--override", "mine.json")


@pytest.mark.parametrize("name", ["nnUNet_preprocessed", "nnUNet_results"])
@pytest.mark.usefixtures("dataset")
def test_a_variable_that_is_not_set_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(name)
    assert f"{name}: not set" in fails(capsys)


@pytest.mark.usefixtures("dataset")
def test_without_snakemake_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "snakemake" else find_spec(name, *rest)
    )
    assert 'pip install "nnunetv2-sa-unet[ablate]"' in fails(capsys)


@pytest.mark.usefixtures("dataset", "snakemake")
def test_two_runs_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "study"
    with only_one(output / "study.lock"):
        assert f"{output}: another ablate is at work there" in fails(capsys, "-o", str(output))


@pytest.mark.usefixtures("dataset", "snakemake")
@pytest.mark.skipif(os.name != "posix", reason="a file as a folder has another error elsewhere")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    message = fails(capsys, "-o", str(tmp_path / "file" / "study"))
    assert f"{tmp_path / 'file' / 'study'}: cannot be written to (Not a directory)" in message
