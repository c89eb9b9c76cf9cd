"""The path of a user through real nnU-Net: train, continue, validate, predict."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.configurations import resolve

PLANS = "nnUNetSAUNetTinyPlans"


def load(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def model(nnunet):
    """Fold 0 of SA-UNet, trained for one epoch by nnU-Net's command."""
    nnunet.run("nnUNetv2_train", "901", "3d_fullres", "0", "-tr", "nnUNetTrainerSAUNet", "-p", PLANS, "-device", "cpu")
    return nnunet.results / f"nnUNetTrainerSAUNet__{PLANS}__3d_fullres"


def predict(nnunet, trainer, name):
    output = nnunet.root / name
    nnunet.run(
        *("nnUNetv2_predict", "-i", str(nnunet.raw / "imagesTs"), "-o", str(output), "-d", "901", "-f", "0"),
        *("-c", "3d_fullres", "-tr", trainer, "-p", PLANS, "-device", "cpu", "--save_probabilities"),
        *("-npp", "1", "-nps", "1"),
    )
    return np.load(output / "case5.npz")["probabilities"]


def test_the_models_plans_say_which_network_it_is(model):
    architecture = resolve(load(model / "plans.json"), "3d_fullres")["architecture"]

    assert architecture["network_class_name"] == "nnunetv2_sa_unet.networks.sa_unet.SAUNet"
    assert architecture["arch_kwargs"]["features_per_stage"] == [8, 8, 16]  # cut to the depth


def test_training_writes_what_nnunet_writes(model):
    for name in ("checkpoint_final.pth", "checkpoint_best.pth", "progress.png", "validation/summary.json"):
        assert (model / "fold_0" / name).is_file(), name
    assert not (model / "fold_0" / "checkpoint_latest.pth").exists()


def test_the_stock_trainer_predicts_the_same(nnunet, model):
    expected = predict(nnunet, "nnUNetTrainerSAUNet", "predicted")
    assert expected.shape[0] == 3
    assert SimpleITK.ReadImage(str(nnunet.root / "predicted" / "case5.nii.gz")).GetSize() == (36, 40, 12)

    stock = nnunet.results / f"nnUNetTrainer__{PLANS}__3d_fullres"
    shutil.copytree(model, stock)
    checkpoint = torch.load(stock / "fold_0" / "checkpoint_final.pth", weights_only=False)
    checkpoint["trainer_name"] = "nnUNetTrainer"
    torch.save(checkpoint, stock / "fold_0" / "checkpoint_final.pth")

    np.testing.assert_array_equal(predict(nnunet, "nnUNetTrainer", "predicted_stock"), expected)


def test_validation_writes_probabilities_of_the_held_out_cases(model, train_here):
    train_here("nnUNetTrainerSAUNet", 0, only_run_validation=True, export_validation_probabilities=True)

    held_out = {path.name.split(".")[0] for path in (model / "fold_0" / "validation").glob("*.nii.gz")}
    assert held_out
    assert held_out == {path.stem for path in (model / "fold_0" / "validation").glob("*.npz")}


def test_training_continues_where_it_stopped(model, train_here, changed_plans):
    changed_plans(training__num_epochs=2)
    train_here("nnUNetTrainerSAUNet", 0, continue_training=True)

    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 2
    assert len(checkpoint["logging"]["train_losses"]) == 2


@pytest.mark.parametrize("option", ["continue_training", "only_run_validation"])
def test_a_trained_fold_keeps_its_network_after_the_plans_changed(model, train_here, changed_plans, capsys, option):
    stored = load(model / "plans.json")
    changed_plans(architecture__arch_kwargs__rates=[1, 2], patch_size=[8, 40, 40])
    train_here("nnUNetTrainerSAUNet", 0, **{option: True})

    assert "its stored network is used" in capsys.readouterr().out
    after = resolve(load(model / "plans.json"), "3d_fullres")
    for key in ("architecture", "patch_size"):
        assert after[key] == resolve(stored, "3d_fullres")[key]


@pytest.mark.parametrize("fold", [0, 4])
def test_a_fold_that_starts_after_the_plans_changed_stops_and_names_the_keys(model, train_here, changed_plans, fold):
    before = (model / "plans.json").read_text()
    # Other modules train folds of the same model, this one or not.
    folds = sorted(model.glob("fold_*"))
    changed_plans(architecture__arch_kwargs__rates=[1, 2], patch_size=[8, 40, 40])
    with pytest.raises(InputError) as caught:
        train_here("nnUNetTrainerSAUNet", fold)

    message = str(caught.value)
    assert "architecture.arch_kwargs.rates (trained: [6, 12, 16], planned: [1, 2])" in message
    assert "patch_size (trained: [8, 32, 32], planned: [8, 40, 40])" in message
    assert (model / "plans.json").read_text() == before
    assert sorted(model.glob("fold_*")) == folds


def test_plans_of_a_trained_model_are_not_replaced(nnunet, model):
    override = nnunet.root / "tiny.json"
    original = override.read_text()
    changed = json.loads(original)
    changed["configurations"]["*"]["rates"] = [6, 12, 15]
    override.write_text(json.dumps(changed))
    try:
        output = nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "tiny.json", "--force", expect=1)
    finally:
        override.write_text(original)

    assert "a model was trained with it" in output
    configuration = load(nnunet.preprocessed / f"{PLANS}.json")["configurations"]["3d_fullres"]
    assert configuration["architecture"]["arch_kwargs"]["rates"] == [6, 12, 16]


@pytest.mark.parametrize("trainer", ["nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_backbone333BN"])
def test_2d_trains_and_validates(nnunet, train_here, trainer):
    train_here(trainer, 0, configuration="2d")

    fold = nnunet.results / f"{trainer}__{PLANS}__2d" / "fold_0"
    assert load(fold / "validation" / "summary.json")["metric_per_case"]
