"""Fine-tuning runs nnU-Net's commands in their order, what is done is kept, and what does not fit is refused first."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.experiment_planning.plans_for_pretraining import move_plans_between_datasets

from nnunetv2_sa_unet.commands import finetune
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS

DATASET = "Dataset777_Few"
NAME = "nnUNetSAUNetOpenflair1FinetunePlans"
BOXED = MODELS[DEFAULT]


@pytest.fixture
def few(raw: Path) -> Path:
    """Three cases that are there by name only; ``nnUNet_raw``'s folder of the data set."""
    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case in "abc":
        (folder / "imagesTr" / f"{case}_0000.nii.gz").touch()
        (folder / "labelsTr" / f"{case}.nii.gz").touch()
    describe(folder)
    return folder


def describe(folder: Path, **changes: Any) -> None:
    description = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1, "other": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description | changes))


class NnUNet:
    """Stands for nnU-Net's commands: says what was called, and leaves what they would."""

    def __init__(self, few: Path, patch: pytest.MonkeyPatch) -> None:
        self.preprocessed = few.parents[1] / "preprocessed" / few.name
        self.results = few.parents[1] / "results" / few.name
        self.calls: list[tuple[str, ...]] = []
        self.weights: dict[str, torch.Tensor] = {}
        self.patch = patch
        self.shape = [30, 220, 200]

    def __call__(self, program: str, *words: str, variables: dict[str, str] | None = None) -> None:
        self.calls.append((program, *words))
        getattr(self, program.removeprefix("nnUNetv2_"))(words, variables)

    def extract_fingerprint(self, words: tuple[str, ...], _: Any) -> None:
        fingerprint = {"shapes_after_crop": [self.shape] * 3, "spacings": [[3.0, 1.0, 1.0]] * 3}
        (self.preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))

    def move_plans_between_datasets(self, words: tuple[str, ...], variables: dict[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            module = move_plans_between_datasets
            patch.setattr(module, "nnUNet_preprocessed", variables["nnUNet_preprocessed"])
            patch.setattr(module, "nnUNet_raw", str(self.preprocessed.parents[1] / "raw"))
            # Forks of a process that has threads, as this one may have, can wait for ever.
            patch.setattr("nnunetv2.utilities.utils.Pool", ThreadPool)
            # The images are empty files.
            patch.setattr(
                module,
                "determine_reader_writer_from_dataset_json",
                lambda *_, **__: type("SimpleITKIO", (), {}),
            )
            options = dict(zip(words[::2], words[1::2], strict=True))
            module.move_plans_between_datasets(options["-s"], options["-t"], options["-sp"], options["-tp"])

    def preprocess(self, words: tuple[str, ...], _: Any) -> None:
        plans = json.loads((self.preprocessed / f"{NAME}.json").read_text())
        data = self.preprocessed / plans["configurations"]["3d_fullres"]["data_identifier"]
        data.mkdir()
        for case in "abc":
            (data / f"{case}.pkl").touch()

    def train(self, words: tuple[str, ...], _: Any) -> None:
        if "-pretrained_weights" in words:
            self.weights = torch.load(words[-1], weights_only=True)["network_weights"]
        fold = self.results / f"nnUNetTrainerSAUNet__{NAME}__3d_fullres" / f"fold_{words[2]}"
        (fold / "validation").mkdir(parents=True, exist_ok=True)
        (fold / "checkpoint_final.pth").touch()
        (fold / "validation" / "summary.json").touch()


@pytest.fixture
def nnunet(few: Path, monkeypatch: pytest.MonkeyPatch) -> NnUNet:
    stand_in = NnUNet(few, monkeypatch)
    monkeypatch.setattr(finetune, "_call", stand_in)
    return stand_in


def run(*words: str) -> int:
    return main(["finetune", "-d", DATASET, "-device", "cpu", *words])


def test_the_commands_of_nnunet_in_their_order_and_none_a_second_time(nnunet: NnUNet) -> None:
    assert run() == 0
    assert [call[0] for call in nnunet.calls] == [
        "nnUNetv2_extract_fingerprint",
        "nnUNetv2_move_plans_between_datasets",
        "nnUNetv2_preprocess",
        "nnUNetv2_train",
    ]
    train = nnunet.calls[-1]
    assert train[1:-1] == (
        *("777", "3d_fullres", "all", "-tr", "nnUNetTrainerSAUNet", "-p", NAME, "-device", "cpu"),
        "-pretrained_weights",
    )
    assert not Path(train[-1]).exists()

    nnunet.calls.clear()
    assert run() == 0
    # Plans are compared with those that are there.
    assert [call[0] for call in nnunet.calls] == ["nnUNetv2_move_plans_between_datasets"]


def test_the_plans_are_those_of_the_model_with_a_short_schedule(nnunet: NnUNet) -> None:
    assert run() == 0
    plans = json.loads((nnunet.preprocessed / f"{NAME}.json").read_text())
    boxed = json.loads((BOXED.folder / "plans.json").read_text())
    ours, theirs = (each["configurations"]["3d_fullres"] for each in (plans, boxed))
    assert (plans["dataset_name"], plans["plans_name"]) == (DATASET, NAME)
    for key in ("architecture", "patch_size", "spacing", "normalization_schemes"):
        assert ours[key] == theirs[key]
    assert ours["training"]["optimizer"] == "AdamW"
    assert ours["training"]["num_epochs"] < 100
    # The network was trained on images turned to RAS, which SimpleITK's reader would not do.
    assert plans["image_reader_writer"] == boxed["image_reader_writer"] == "NibabelIOWithReorient"
    assert plans["nnunetv2_sa_unet_pretrained"]["model"] == DEFAULT
    assert (nnunet.preprocessed / "dataset.json").is_file()


def test_nnunet_gets_every_weight_of_the_box_under_every_name(nnunet: NnUNet) -> None:
    from nnunetv2_sa_unet.nnunet.loading import load_model

    assert run() == 0
    expected = load_model(BOXED.folder, ["all"], "weights.safetensors").predictor.network.state_dict()
    assert nnunet.weights.keys() == expected.keys()
    assert all(torch.equal(nnunet.weights[name], value) for name, value in expected.items())


def test_an_interrupted_training_goes_on(nnunet: NnUNet) -> None:
    fold = nnunet.results / f"nnUNetTrainerSAUNet__{NAME}__3d_fullres" / "fold_all"
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").touch()
    # nnU-Net writes it beside the first checkpoint.
    (fold.parent / "plans.json").write_text("{}")
    assert run() == 0
    assert nnunet.calls[-1][-1] == "--c"


def test_more_cases_are_preprocessed_anew(nnunet: NnUNet, few: Path) -> None:
    assert run() == 0
    (few / "imagesTr" / "d_0000.nii.gz").touch()
    nnunet.calls.clear()
    nnunet.patch.setattr(NnUNet, "preprocess", lambda *_: None)
    assert run() == 0
    assert [call[0] for call in nnunet.calls][::2] == ["nnUNetv2_extract_fingerprint", "nnUNetv2_preprocess"]


def test_another_override_is_another_model(nnunet: NnUNet, tmp_path: Path) -> None:
    nnunet.patch.setattr(NnUNet, "preprocess", lambda *_: None)
    nnunet.patch.setattr(NnUNet, "train", lambda *_: None)
    values = {"*": {"training": {"num_epochs": 2}}, "3d_fullres": {"patch_size": [8, 64, 64]}}
    (tmp_path / "tiny.json").write_text(json.dumps({"description": "", "configurations": values}))
    assert run("--override", str(tmp_path / "tiny.json")) == 0
    plans = json.loads((nnunet.preprocessed / "nnUNetSAUNetOpenflair1FinetuneTinyPlans.json").read_text())
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [8, 64, 64]
    assert plans["configurations"]["3d_fullres"]["training"]["num_epochs"] == 2


@pytest.mark.parametrize(("shape", "padded"), [([30, 220, 200], False), ([8, 220, 200], True)])
def test_a_patch_of_padding_is_remarked(
    nnunet: NnUNet, capsys: pytest.CaptureFixture[str], shape: list[int], padded: bool
) -> None:
    nnunet.shape = shape
    assert run() == 0
    out = capsys.readouterr().out
    assert f"patch:   24×192×192, batch 2; images {'×'.join(map(str, shape))} at the model's spacing" in out
    assert ("most of a patch is padding" in out) == padded


def with_two_channels(few: Path) -> None:
    describe(few, channel_names={"0": "FLAIR", "1": "T1"})


def without_images(few: Path) -> None:
    for path in (few / "imagesTr").iterdir():
        path.unlink()


def with_one_fold(few: Path) -> None:
    (few / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (with_two_channels, (), r"channel_names: found 2 \(FLAIR, T1\), but the input of openflair1 has 1"),
        (without_images, (), "found no images that end in .nii.gz"),
        (None, ("-f", "0"), "-f 0: found 3 cases, but nnU-Net makes 5 folds"),
        (with_one_fold, ("-f", "1"), "-f 1: there are 1 folds"),
        (None, ("-f", "best"), "-f: found best, expected all or the number of a fold"),
        (None, ("--from", "nothing"), "nothing: no model in the box has this name"),
        (None, ("--override", "nothing"), "nothing: "),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_before_anything_is_done(
    nnunet: NnUNet,
    few: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None] | None,
    words: tuple[str, ...],
    message: str,
) -> None:
    import re

    if change:
        change(few)
    assert run(*words) == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not nnunet.calls


def test_a_fold_that_the_data_set_names_is_enough(nnunet: NnUNet, few: Path) -> None:
    with_one_fold(few)
    assert run("-f", "0") == 0
    assert (nnunet.preprocessed / "splits_final.json").is_file()


def test_a_command_that_fails_is_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2_sa_unet.errors import InputError

    monkeypatch.setattr(finetune, "executable", lambda name: ["false"])
    with pytest.raises(InputError, match="nnUNetv2_train ended with status 1; run the same command again"):
        finetune._call("nnUNetv2_train", "1")
    assert "$ nnUNetv2_train 1" in capfd.readouterr().out
