"""The plan command on plans as nnU-Net writes them; tests/integration runs it on real ones."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.commands.plan import plans_name
from nnunetv2_sa_unet.errors import InputError

CONFIGURATION = {
    "batch_size": 2,
    "patch_size": [40, 224, 224],
    "spacing": [3.0, 1.0, 1.0],
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "features_per_stage": [32, 64, 128, 256, 320, 320],
            "kernel_sizes": [[1, 3, 3]] + [[3, 3, 3]] * 5,
            "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
        },
        "_kw_requires_import": [],
    },
}


@pytest.fixture
def preprocessed(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    folder = tmp_path / "preprocessed" / "Dataset007_Test"
    folder.mkdir(parents=True)
    labels = {"background": 0, "WMH": 1, "other": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    for base in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        plans = {
            "dataset_name": folder.name,
            "plans_name": base,
            "configurations": {"3d_fullres": CONFIGURATION | {"data_identifier": f"{base}_3d_fullres"}},
        }
        (folder / f"{base}.json").write_text(json.dumps(plans))
    return folder


def load(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("base", "overrides", "expected"),
    [
        ("nnUNetPlans", ["paper"], "nnUNetSAUNetPaperPlans"),
        ("nnUNetPlans", ["paper", "quick"], "nnUNetSAUNetPaperQuickPlans"),
        ("nnUNetPlans", ["here/my-first_run2.json"], "nnUNetSAUNetMyFirstRun2Plans"),
        ("nnUNetResEncUNetMPlans", ["paper"], "nnUNetSAUNetResEncUNetMPaperPlans"),
        ("mine", ["quick"], "nnUNetSAUNetMineQuickPlans"),
    ],
)
def test_the_name_follows_from_base_and_overrides(base, overrides, expected):
    assert plans_name(base, overrides) == expected


@pytest.mark.parametrize(
    ("base", "overrides", "message"),
    [
        ("nnUNetPlans", ["мой.json"], r"--override мой\.json: names the plans: expected only the letters A to Z"),
        ("nnUNetPlans", ["прогон-2.json"], "expected only the letters A to Z.* in the name 'прогон-2'"),
        ("nnUNetPlans", ["größer.json"], "in the name 'größer'"),
        ("nnUNetPlans", ["_.json"], "in the name '_'"),
        ("nnUNetPlans", ["my-run.json", "x/my_run.json"], "--override my-run.json x/my_run.json: both are MyRun in"),
        ("nnUNetPlans", ["paper", "Paper.json"], "both are Paper in the plans' name: rename one"),
        ("планы", ["paper"], "-p планы: names the plans"),
    ],
)
def test_names_that_vanish_or_collide_are_refused(base, overrides, message):
    with pytest.raises(InputError, match=message):
        plans_name(base, overrides)


def test_plans_of_an_own_file_are_not_named_as_those_of_a_shipped_override(preprocessed, tmp_path, capsys):
    own = tmp_path / "Paper.json"
    own.write_text(json.dumps({"description": "", "configurations": {"*": {"batch_size": 2}}}))
    assert main(["plan", "-d", "7", "--override", str(own)]) == 1
    assert f"{own}: its plans would be named as those of the shipped paper: rename it" in capsys.readouterr().err
    # A copy says the same.
    own.write_text((files("nnunetv2_sa_unet.plans_overrides") / "paper.json").read_text("utf-8"))
    assert main(["plan", "-d", "7", "--override", str(own)]) == 0


def test_plans_are_written_beside_nnunets_and_use_its_preprocessed_data(preprocessed, capsys):
    before = (preprocessed / "nnUNetPlans.json").read_text()

    assert main(["plan", "-d", "7", "--override", "paper", "quick"]) == 0
    plans = load(preprocessed / "nnUNetSAUNetPaperQuickPlans.json")
    configuration = plans["configurations"]["3d_fullres"]
    assert plans["plans_name"] == "nnUNetSAUNetPaperQuickPlans"
    assert configuration["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert configuration["training"]["deep_supervision"] is False  # from the first
    assert configuration["training"]["optimizer"] == "AdamW"  # the second wins
    assert (preprocessed / "nnUNetPlans.json").read_text() == before
    assert "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainerSAUNet -p nnUNetSAUNetPaperQuickPlans" in (
        capsys.readouterr().out
    )


def test_the_paper_override_is_the_papers_network_and_recipe(preprocessed):
    main(["plan", "-d", "7", "--override", "paper"])
    configuration = load(preprocessed / "nnUNetSAUNetPaperPlans.json")["configurations"]["3d_fullres"]
    kwargs = configuration["architecture"]["arch_kwargs"]

    assert (configuration["patch_size"], configuration["batch_size"]) == ([32, 256, 256], 4)
    assert kwargs["features_per_stage"] == [24, 48, 96, 192]
    assert kwargs["strides"] == [[1, 1, 1]] + [[1, 2, 2]] * 3
    assert (kwargs["rates"], kwargs["attention_kernel"]) == ([6, 12, 16], [1, 14, 14])
    assert kwargs["norm_op_kwargs"] == {"num_groups": 8, "eps": 1e-3, "affine": True}
    training = configuration["training"]
    assert (training["optimizer"], training["initial_lr"], training["weight_decay"]) == ("Adam", 1e-3, 0)
    assert (training["lr_schedule"], training["loss"], training["augmentation"]) == ("plateau", "paper", "paper")
    assert (training["num_epochs"], training["deep_supervision"]) == (70, False)


def test_other_bases_enter_the_name(preprocessed):
    assert main(["plan", "-d", "Dataset007_Test", "-p", "nnUNetResEncUNetMPlans", "--override", "paper"]) == 0
    assert (preprocessed / "nnUNetSAUNetResEncUNetMPaperPlans.json").is_file()


def test_the_same_plans_again_are_fine_and_others_need_force(preprocessed, tmp_path, capsys):
    override = tmp_path / "mine.json"
    target = preprocessed / "nnUNetSAUNetMinePlans.json"
    words = ["plan", "-d", "7", "--override", str(override)]
    for batch_size, extra, status in [(2, [], 0), (2, [], 0), (3, [], 1), (3, ["--force"], 0)]:
        override.write_text(
            json.dumps({"description": "", "configurations": {"*": {"batch_size": batch_size}}}), encoding="utf-8"
        )
        assert main([*words, *extra]) == status
    assert "add --force" in capsys.readouterr().err
    assert load(target)["configurations"]["3d_fullres"]["batch_size"] == 3


def test_plans_of_a_trained_model_stay_even_with_force(preprocessed, tmp_path, capsys):
    main(["plan", "-d", "7", "--override", "quick"])
    target = preprocessed / "nnUNetSAUNetQuickPlans.json"
    changed = load(target)
    changed["configurations"]["3d_fullres"]["batch_size"] = 9
    target.write_text(json.dumps(changed))
    fold = tmp_path / "results" / preprocessed.name / f"nnUNetTrainerSAUNet__{target.stem}__3d_fullres" / "fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").touch()

    assert main(["plan", "-d", "7", "--override", "quick", "--force"]) == 1
    assert "a model was trained with it" in capsys.readouterr().err
    assert load(target) == changed


def test_another_number_of_classes_is_warned_of(preprocessed, capsys):
    main(["plan", "-d", "7", "--override", "paper"])
    assert "warning" not in capsys.readouterr().out

    (preprocessed / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "WMH": 1, "ignore": 2}}))
    main(["plan", "-d", "7", "--override", "paper"])
    output = capsys.readouterr().out
    assert "warning: paper assumes 3 classes" in output
    assert "has 2 (background, WMH, ignore)" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-d", "7", "--override", "papr"], "papr: there is no such file: give a JSON file or one of: "),
        (["-d", "7", "-p", "mine", "--override", "quick"], "mine.json: there is no such file: run nnUNetv2_plan_and"),
        (["-d", "8", "--override", "quick"], "-d 8: Could not find a dataset with the ID 8"),
        (
            ["-d", "7", "-c", "4d", "--override", "quick"],
            "configurations.4d: no such configuration, there are: 3d_",
        ),
    ],
)
def test_bad_words_are_named(preprocessed, capsys, words, message):
    assert main(["plan", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_broken_override_file_leaves_nothing_behind(preprocessed, tmp_path, capsys):
    override = tmp_path / "broken.json"
    override.write_text("{")
    before = sorted(preprocessed.iterdir())

    assert main(["plan", "-d", "7", "--override", str(override)]) == 1
    assert f"{override}: cannot be read as JSON" in capsys.readouterr().err
    assert sorted(preprocessed.iterdir()) == before


def test_unset_folders_are_named(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    assert main(["plan", "-d", "7", "--override", "quick"]) == 1
    assert "nnUNet_preprocessed: not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nnUNetPlans.json", "{}", "nnUNetPlans.json: configurations: found None, expected a mapping: run"),
        ("nnUNetPlans.json", "[]", "nnUNetPlans.json: configurations: found None, expected a mapping: run"),
        ("nnUNetPlans.json", '{"configurations": 7, "plans_name": "x"}', "configurations: found 7, expected a mapping"),
        ("nnUNetPlans.json", '{"configurations": {"2d": null}, "plans_name": "x"}', "configurations.2d: found None"),
        ("nnUNetPlans.json", '{"configurations": {"2d": {}}, "plans_name": "x"}', "2d: architecture: missing"),
        (
            "nnUNetPlans.json",
            '{"configurations": {"2d": {"architecture": []}}, "plans_name": "x"}',
            "is not as nnU-Net writes it",
        ),
        ("dataset.json", "{}", "dataset.json: labels: found None, expected a mapping"),
        ("dataset.json", '{"labels": []}', "dataset.json: labels: found [], expected a mapping"),
        ("../../o.json", "[" * 100_000, "o.json: cannot be read as JSON (maximum recursion depth"),
        ("../../o.json", "\ud800", "o.json: cannot be read as JSON ('utf-8' codec"),
    ],
)
def test_files_of_the_wrong_shape_are_one_line(preprocessed, tmp_path, capsys, name, content, message):
    (tmp_path / "o.json").write_text('{"description": "", "configurations": {}}')
    (preprocessed / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    assert main(["plan", "-d", "7", "--override", str(tmp_path / "o.json")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
