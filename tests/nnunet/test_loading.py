"""Models that cannot be loaded, or that lead out of what a model is made of, end in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.loading import all_folds, load_model
from nnunetv2_sa_unet.weights.registry import MODELS, WEIGHTS_NAME

BOXED = MODELS["openflair1"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model as a user may have it, whose plans a test may change."""
    folder = tmp_path / "model"
    (folder / "fold_all").mkdir(parents=True)
    for name in ("plans.json", "dataset.json", "checkpoint.json"):
        shutil.copyfile(BOXED.folder / name, folder / name)
    (folder / "fold_all" / WEIGHTS_NAME).symlink_to(BOXED.folder / "fold_all" / WEIGHTS_NAME)
    return folder


def change(folder: Path, file: str, changes: Callable[[Any], Any]) -> None:
    content = json.loads((folder / file).read_text())
    changed = changes(content)
    (folder / file).write_text(json.dumps(content if changed is None else changed))


def configuration(plans: Any) -> Any:
    return plans["configurations"]["3d_fullres"]


def arguments(plans: Any) -> Any:
    return configuration(plans)["architecture"]["arch_kwargs"]


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_model(folder, ["all"], WEIGHTS_NAME)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{folder}: nnU-Net cannot load this model: ")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (lambda p: arguments(p).update(nonlin="subprocess.getoutput", nonlin_kwargs={"cmd": "true"}), "nonlin: found"),
        # Inside of torch, and not torch's.
        (lambda p: arguments(p).update(nonlin="torch.os.system"), "nonlin: found torch.os.system"),
        (lambda p: arguments(p).update(nonlin="torch.load", nonlin_kwargs={"f": "x"}), "nonlin: found torch.load"),
        (lambda p: arguments(p).update(norm_op="torch.nn.modules.warnings.warn"), "norm_op: found"),
        (lambda p: arguments(p).update(conv_op="torch.nn.Conv4d"), "conv_op: found torch.nn.Conv4d, which is None"),
        (
            lambda p: configuration(p)["architecture"].update(network_class_name="other_plugin.networks.Net"),
            "network_class_name: found other_plugin.networks.Net; expected a part of a network in torch, nnunetv2",
        ),
        (lambda p: configuration(p)["architecture"].update(network_class_name=None), "found None"),
        (
            lambda p: configuration(p)["architecture"]["_kw_requires_import"].append("rates")
            or arguments(p).update(rates="os.system"),
            "rates: found os.system",
        ),
        (lambda p: p.update(image_reader_writer="MyIO"), "Unable to find reader writer class 'MyIO'"),
        (lambda p: p.update(image_reader_writer="load_json"), "image_reader_writer: found load_json, which is no"),
        (lambda p: p.update(label_manager="os"), "label_manager: found os, which is no LabelManager"),
        (lambda p: configuration(p).update(preprocessor_name="MyOwn"), "preprocessor_name: found MyOwn, which is no"),
        (lambda p: configuration(p).update(normalization_schemes=["MyOwn"]), "normalization_schemes: found MyOwn"),
        (lambda p: configuration(p).update(resampling_fn_data="my_own"), "Unable to find resampling function"),
        (lambda p: configuration(p).update(resampling_fn_data="deepcopy"), "resampling_fn_data: found deepcopy"),
        (lambda p: arguments(p).update(unheard_of=1), "unheard_of"),
        (lambda p: arguments(p).update(features_per_stage=[8, 16, 32, 64]), "size mismatch"),
        (lambda p: p.pop("configurations"), "plans.json or dataset.json lacks 'configurations'"),
        (lambda p: p.update(configurations=[]), "plans.json: configurations: found list, expected a mapping"),
        (lambda p: p.update(configurations={"2d": {}}), "3d_fullres"),
        (lambda p: configuration(p).update(architecture=None), "cannot load this model"),
        (lambda p: configuration(p).update(inherits_from="3d_fullres"), "cannot load this model"),
        (lambda p: [], "plans.json: found list, expected a mapping"),
        (lambda p: 3, "plans.json: found int, expected a mapping"),
    ],
)  # fmt: skip
def test_plans_that_lead_elsewhere_or_nowhere_are_refused(
    model: Path, changes: Callable[[Any], Any], expected: str
) -> None:
    change(model, "plans.json", lambda plans: made if isinstance(made := changes(plans), list | int) else None)
    assert expected in refusal(model)


@pytest.mark.parametrize(
    ("file", "changes", "expected"),
    [
        ("dataset.json", lambda d: d.update(labels=None), "dataset.json: labels: found NoneType, expected a mapping"),
        ("dataset.json", lambda d: d.update(channel_names=["FLAIR"]), "channel_names: found list, expected a mapping"),
        ("dataset.json", lambda d: d.pop("channel_names"), "cannot load this model"),
        ("dataset.json", lambda d: d.update(labels={"background": 0, "WMH": 1, "other": 2}), "size mismatch"),
        ("checkpoint.json", lambda c: c.update(trainer_name="nnUNetTrainerOfAnother"), "nnUNetTrainerOfAnother"),
        ("checkpoint.json", lambda c: c.update(trainer_name="nnUNetTrainerUNet3D"), "not those of nnUNetTrainerUNet3D"),
    ],
)
def test_other_files_that_do_not_fit_are_refused(
    model: Path, file: str, changes: Callable[[Any], Any], expected: str
) -> None:
    change(model, file, lambda content: changes(content) and None)
    assert expected in refusal(model)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_broken_checkpoint_is_named(model: Path, content: bytes) -> None:
    (model / "fold_0").mkdir()
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(content)
    with pytest.raises(InputError) as error:
        load_model(model, ["0"], "checkpoint_final.pth")
    assert str(error.value).startswith(
        f"{model}: nnU-Net cannot load this model: fold_0/checkpoint_final.pth: cannot be read as a checkpoint: "
    )


def test_a_file_that_is_no_json_is_named(model: Path) -> None:
    (model / "plans.json").write_bytes(b"\xff\xfe")
    assert "plans.json: cannot be read" in refusal(model)


def test_parts_of_ones_own_need_trust_or_a_folder_of_trainers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "parts_of_my_own.py").write_text("import torch\nclass Activation(torch.nn.ReLU):\n    pass\n")
    monkeypatch.syspath_prepend(str(own))
    change(model, "plans.json", lambda plans: arguments(plans).update(nonlin="parts_of_my_own.Activation"))

    assert "give --trust-model if you trust" in refusal(model)
    # Trainers of this package check their network themselves; the stock one does not.
    change(model, "checkpoint.json", lambda content: content.update(trainer_name="nnUNetTrainer"))
    load_model(model, ["all"], WEIGHTS_NAME, trust=True)
    monkeypatch.setenv("nnUNet_extTrainer", str(own))
    load_model(model, ["all"], WEIGHTS_NAME)


def test_the_weights_in_the_box_are_never_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, fail)

    loaded = load_model(BOXED.folder, ["all"], WEIGHTS_NAME)

    assert loaded.configuration == "3d_fullres"
    network = loaded.predictor.network.state_dict()
    # Blocks have their convolution under two names; both have the weights.
    first, second = (f"encoder.stages.0.0.convs.0.{part}.weight" for part in ("conv", "all_modules.0"))
    assert torch.equal(network[first], network[second])
    assert set(loaded.predictor.list_of_parameters[0]) == set(network)


@pytest.mark.parametrize("command", ["segment", "export-onnx"])
def test_every_command_that_loads_models_says_it_in_a_line(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "export-onnx":
        pytest.importorskip("onnxscript")
    change(model, "plans.json", lambda plans: arguments(plans).update(nonlin="subprocess.getoutput"))
    words = {
        "segment": [str(tmp_path), "-o", str(tmp_path / "out"), "-m", str(model), "-device", "cpu"],
        "export-onnx": [str(model), "-f", "all", "-o", str(tmp_path / "x.onnx")],
    }[command]
    assert main([command, *words, "-chk", WEIGHTS_NAME]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: {model}: nnU-Net cannot load this model: architecture.arch_kwargs.nonlin: found subprocess.getoutput; "
    )
    assert error.count("\n") == 1


@pytest.mark.parametrize(("trained", "expected"), [(("10", "2", "all"), ["2", "10"]), (("all",), ["all"]), ((), ["0"])])
def test_all_trained_folds_are_found(tmp_path: Path, trained: tuple[str, ...], expected: list[str]) -> None:
    for fold in trained:
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / "checkpoint_final.pth").touch()
    (tmp_path / "fold_7").mkdir()
    assert all_folds(tmp_path, "checkpoint_final.pth") == expected
