"""``nnUNetv2_sa_unet ablate`` from its words to the jobs it would run; tests/integration runs them."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.study.gpus import only_one

# As much of nnU-Net's plans as overrides need.
CONFIGURATION = {
    "batch_size": 2,
    "patch_size": [40, 224, 224],
    "spacing": [3.0, 1.0, 1.0],
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "features_per_stage": [32, 64, 128],
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2]],
        },
        "_kw_requires_import": [],
    },
}
CASES = ["a_1", "a_2", "b_1", "b_2", "b_3"]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The preprocessed folder of a data set, as far as the command looks at it."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    folder = tmp_path / "preprocessed" / "Dataset007_Test"
    for part in ("nnUNetPlans_2d", "nnUNetPlans_3d_fullres", "gt_segmentations"):
        (folder / part).mkdir(parents=True)
    for case in CASES:
        for part in ("nnUNetPlans_2d", "nnUNetPlans_3d_fullres"):
            (folder / part / f"{case}.b2nd").touch()
    configurations = {name: {"data_identifier": f"nnUNetPlans_{name}"} for name in ("2d", "3d_fullres")}
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
        f"nnUNetv2_train 7 {'2d' if variant.n_axes == 2 else '3d_fullres'} {fold} -tr {name} -p nnUNetPlans -device cpu"
        for name, variant in VARIANTS.items()
        for fold in (0, 1, 4)
    }
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("snakemake")
def test_nnunets_own_trainer_enters_by_the_names_of_its_plans(dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plans = {"configurations": {"3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"}}}
    (dataset / "nnUNetResEncUNetMPlans.json").write_text(json.dumps(plans))
    words = ["--variants", "nnUNetTrainerLi2018", "nnUNetPlans", "nnUNetResEncUNetMPlans", "--override", "quick"]
    assert ablate("--dry-run", "--folds", "0", *words) == 0

    printed = "".join(capfd.readouterr())
    for job in (
        "nnUNetv2_train 7 2d 0 -tr nnUNetTrainerLi2018 -p nnUNetSAUNetQuickPlans -device cpu",
        "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainer -p nnUNetPlans -device cpu",
        "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainer -p nnUNetResEncUNetMPlans -device cpu",
        "--variants nnUNetTrainerLi2018 nnUNetPlans nnUNetResEncUNetMPlans",
    ):
        assert job in printed
    assert "Overrides are not for nnU-Net's own trainer" in printed


def test_the_data_of_every_configuration_must_be_there(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(dataset / "nnUNetPlans_2d")
    message = fails(capsys, "--variants", "nnUNetTrainerSAUNet", "nnUNetTrainerLi2018")
    assert f"{dataset / 'nnUNetPlans_2d'}: no such folder: run nnUNetv2_preprocess" in message
    assert "-plans_name nnUNetPlans -c 3d_fullres 2d" in message
    plans = {"configurations": {"3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"}}}
    (dataset / "nnUNetPlans.json").write_text(json.dumps(plans))
    assert "nnUNetPlans.json: configurations.2d: no such configuration" in fails(capsys)


@pytest.mark.usefixtures("dataset", "snakemake")
def test_overrides_add_the_plan_command_and_name_the_plans(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--override", "paper", "quick", "--variants", "nnUNetTrainerSAUNet", "--folds", "2"]
    assert ablate("--dry-run", *words) == 0

    printed = capfd.readouterr()
    jobs = printed.out + printed.err
    assert "First: nnUNetv2_sa_unet plan -d 7 -p nnUNetPlans --override paper quick" in jobs
    assert "First: split the cases into folds: " in jobs
    assert "nnUNetv2_train 7 3d_fullres 2 -tr nnUNetTrainerSAUNet -p nnUNetSAUNetPaperQuickPlans -device cpu" in jobs


@pytest.mark.usefixtures("dataset")
def test_an_unknown_variant_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(capsys, "--variants", "nnUNetTrainerSAUNet", "noSAM")
    assert "no variant noSAM" in message
    assert "for nnU-Net's own nnUNetTrainer" in message
    assert all(name in message for name in VARIANTS)


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("word", ["0-9x", "x", "3-1", "-1", "1-", "0,1", "", "0-300000000", "²"])
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
    assert f"{dataset / 'nnUNetPlans.json'}: configurations.2d_x: no such configuration" in fails(capsys, "-c", "2d_x")
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


@pytest.fixture
def finished(dataset: Path, tmp_path: Path) -> Path:
    """The folder of the results of one network that nnU-Net has trained and validated on two folds."""
    folds = [{"train": [], "val": CASES[:2]}, {"train": [], "val": CASES[2:]}]
    (dataset / "splits_final.json").write_text(json.dumps(folds))
    (dataset / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    results = tmp_path / "results" / dataset.name / "nnUNetTrainerSAUNet__nnUNetPlans__3d_fullres"
    for fold, cases in enumerate(folds):
        for case in cases["val"]:
            write_mask(dataset / "gt_segmentations" / f"{case}.nii.gz")
            write_mask(results / f"fold_{fold}" / "validation" / f"{case}.nii.gz")
        (results / f"fold_{fold}" / "validation" / "summary.json").write_text('{"foreground_mean": {}}')
    return results


def write_mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((3, 8, 8), np.uint8)
    array[1, 2:5, 2:5] = 1
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))


def jobs(capfd: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What a dry run of the finished network lists, without the last entry, the study itself."""
    capfd.readouterr()
    assert ablate("--dry-run", "--variants", "nnUNetTrainerSAUNet", *words) == 0
    printed = "".join(capfd.readouterr())
    return [line.split(": ", 1)[1] for line in printed.splitlines() if line.startswith("Job ") and ": " in line][:-1]


TABLES = "nnUNetv2_sa_unet tables -d 7 -c 3d_fullres -p nnUNetPlans --folds 0 1 --variants nnUNetTrainerSAUNet"


@pytest.mark.usefixtures("snakemake")
def test_what_nnunet_has_finished_is_only_scored_and_only_once(
    finished: Path, dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = finished.parent.parent / "my {study}, it's new"
    words = ("--variants", "nnUNetTrainerSAUNet", "--folds", "0-1", "-o", str(output))
    # As a kill leaves it.
    (output / ".snakemake" / "locks").mkdir(parents=True)
    (output / ".snakemake" / "locks" / "0.output.lock").write_text("tables.md\n")
    assert ablate(*words) == 0
    printed = capfd.readouterr().out
    assert (output / "tables.md").read_text("utf-8") in printed
    assert "| 3D SA-UNet" in printed
    with (output / "cases.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == CASES
    assert list(finished.rglob("*.pth")) == [], "nothing was trained"
    assert jobs(capfd, "--folds", "0-1", "-o", str(output)) == []

    # Other folds are other tables; a fold that was trained anew is scored again, one that was removed trained again.
    # Plans that are newer than a model are no reason to train it again.
    assert jobs(capfd, "--folds", "1", "-o", str(output)) == [TABLES.replace("0 1", "1")]
    summary = finished / "fold_1" / "validation" / "summary.json"
    summary.write_text('{"foreground_mean": {"Dice": 1}}')
    os.utime(dataset / "nnUNetPlans.json", (summary.stat().st_mtime + 100,) * 2)
    assert jobs(capfd, "--folds", "0-1", "-o", str(output)) == [TABLES]
    (finished / "fold_1").rename(finished / "removed")
    train = "nnUNetv2_train 7 3d_fullres 1 -tr nnUNetTrainerSAUNet -p nnUNetPlans -device cpu"
    assert jobs(capfd, "--folds", "0-1", "-o", str(output)) == [train, TABLES]


@pytest.mark.usefixtures("snakemake")
def test_plans_that_a_model_was_trained_with_stay_and_the_reason_is_one_line(
    finished: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = dataset / "nnUNetSAUNetMinePlans.json"
    plans.write_text('{"plans_name": "of the model"}')
    model = finished.rename(finished.with_name("nnUNetTrainerSAUNet__nnUNetSAUNetMinePlans__3d_fullres"))
    (model / "fold_0" / "checkpoint_final.pth").touch()
    base = json.loads((dataset / "nnUNetPlans.json").read_text())
    base["configurations"] = {"3d_fullres": base["configurations"]["3d_fullres"] | CONFIGURATION}
    (dataset / "nnUNetPlans.json").write_text(json.dumps(base))
    (dataset / "dataset.json").write_text('{"labels": {"background": 0, "WMH": 1}}')
    (tmp_path / "mine.json").write_text('{"description": "", "configurations": {}}')
    words = ("--variants", "nnUNetTrainerSAUNet", "--folds", "0-1", "--override", str(tmp_path / "mine.json"))
    message = fails(capsys, *words)
    assert f"{plans}: differs from what would be written, and a model was trained with it ({model})" in message
    assert plans.read_text() == '{"plans_name": "of the model"}'


@pytest.mark.usefixtures("dataset", "snakemake")
def test_two_runs_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "study"
    with only_one(output / "study.lock"):
        assert f"{output}: another ablate is at work there" in fails(capsys, "-o", str(output))


def in_the_place_of_snakemake(folder: Path, code: str) -> dict[str, str]:
    """The environment of a command that finds this code where it looks for Snakemake."""
    (folder / "snakemake.py").write_text(code)
    return dict(os.environ, PYTHONPATH=str(folder))


COMMAND = [sys.executable, "-m", "nnunetv2_sa_unet.commands.main", "ablate", "-d", "7", "-device", "cpu"]


@pytest.mark.usefixtures("dataset")
def test_the_folder_is_held_until_snakemake_ends_though_the_command_was_killed(tmp_path: Path) -> None:
    code = "import sys\nprint('at work', flush=True)\nsys.stdin.read()\n"
    environment = in_the_place_of_snakemake(tmp_path, code)
    words = [*COMMAND, "-o", str(tmp_path / "study")]
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stdout.readline() == b"at work\n"
        command.kill()
        command.wait()
        second = subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True)
        assert second.returncode == 1
        assert second.stderr.startswith(f"error: {tmp_path / 'study'}: another ablate is at work there")
        command.stdin.close()
        assert command.stdout.read() == b""
    with only_one(tmp_path / "study" / "study.lock"):
        pass


@pytest.mark.usefixtures("dataset")
def test_relative_folders_are_those_of_the_folder_that_the_command_was_called_in(tmp_path: Path) -> None:
    code = "import os\nprint(*(os.environ[name] for name in sorted(os.environ) if name.startswith('nnUNet_')))\n"
    environment = in_the_place_of_snakemake(tmp_path, code)
    environment = {name: value for name, value in environment.items() if not name.startswith("nnUNet_")}
    environment |= {f"nnUNet_{name}": name for name in ("raw", "preprocessed", "results")}
    environment["nnUNet_extTrainer"] = f"mine{os.pathsep}/other"
    words = [*COMMAND, "--dry-run"]
    printed = subprocess.run(words, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    trainers, *folders = printed.splitlines()[-1].split()
    # Behind them stands the folder of this package, where its start-up hook is installed.
    assert trainers.split(os.pathsep)[:2] == [f"{tmp_path}/mine", "/other"]
    assert folders == [f"{tmp_path}/{name}" for name in ("preprocessed", "raw", "results")]


@pytest.mark.usefixtures("dataset", "snakemake")
def test_an_override_may_lie_in_a_folder_with_braces(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    override = tmp_path / "mine {x}" / "short.json"
    override.parent.mkdir()
    override.write_text('{"description": "", "configurations": {}}')
    words = ("--variants", "nnUNetTrainerSAUNet", "--folds", "0", "-o", str(tmp_path / "out {y}"))
    assert ablate("--dry-run", "--override", str(override), *words) == 0
    printed = "".join(capfd.readouterr())
    assert f"First: nnUNetv2_sa_unet plan -d 7 -p nnUNetPlans --override {override}" in printed
    assert "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainerSAUNet -p nnUNetSAUNetShortPlans -device cpu" in printed


def test_braces_in_nnunets_folders_are_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "{results}"))
    assert "{results}/Dataset007_Test/nnUNetPlans__3d_fullres: expected no braces" in fails(capsys)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_fewer_cases_than_folds_are_refused_before_any_job(
    dataset: Path, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in CASES[kept:]:
        (dataset / "nnUNetPlans_3d_fullres" / f"{case}.b2nd").unlink()
    for words in ((), ("--dry-run",)):
        assert f"{kept} cases, but nnU-Net makes 5 folds: add cases, or write {dataset}/splits_final.json" in fails(
            capsys, *words
        )
    (dataset / "splits_final.json").write_text(json.dumps([{"train": [], "val": []}]))
    assert "--folds: found 1, but there are 1 folds" in fails(capsys, "--folds", "0-1")


@pytest.mark.usefixtures("dataset", "snakemake")
@pytest.mark.skipif(os.name != "posix", reason="a file as a folder has another error elsewhere")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    message = fails(capsys, "-o", str(tmp_path / "file" / "study"))
    assert f"{tmp_path / 'file' / 'study'}: cannot be written to (Not a directory)" in message
