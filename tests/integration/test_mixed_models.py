"""A checkpoint of another variant, and folds or plans of another version of this package."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError

PLANS = "nnUNetSAUNetTinyPlans"
OURS, OTHER = "nnUNetTrainerSAUNet_noSAM", "nnUNetTrainerSAUNet_noASPP"


def predictor(model, fold):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    made = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    made.initialize_from_trained_model_folder(str(model), use_folds=(fold,))
    return made


@pytest.fixture
def model(in_nnunet, prepare_trainer, tmp_path):
    """A model that is this test's to spoil, in nnU-Net's place for it."""
    for trainer in (OURS, OTHER):
        folder = in_nnunet.results / f"{trainer}__{PLANS}__3d_fullres"
        if not (folder / "fold_3" / "checkpoint_final.pth").exists():
            prepare_trainer(trainer, 3, PLANS).run_training()
    folder = in_nnunet.results / f"{OURS}__{PLANS}__3d_fullres"
    shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


def put_other_checkpoint(in_nnunet, model):
    other = in_nnunet.results / f"{OTHER}__{PLANS}__3d_fullres"
    shutil.copy(other / "fold_3" / "checkpoint_final.pth", model / "fold_3")


def test_prediction_with_a_checkpoint_of_another_variant_is_refused(in_nnunet, model):
    put_other_checkpoint(in_nnunet, model)
    with pytest.raises(InputError, match=rf"attention_kernel, rates: not those of {OTHER}, which trained the checkpo"):
        predictor(model, 3)


def test_training_does_not_continue_from_a_checkpoint_of_another_variant(in_nnunet, model, prepare_trainer):
    put_other_checkpoint(in_nnunet, model)
    with pytest.raises(InputError, match=rf"checkpoint_final.pth: trainer_name: found {OTHER}, expected {OURS}"):
        prepare_trainer(OURS, 3, PLANS, continue_training=True)


def test_the_models_plans_say_by_which_version_it_was_trained(model):
    assert json.loads((model / "plans.json").read_text())["nnunetv2_sa_unet_version"] == __version__


def change(path, value, *keys):
    plans = json.loads(path.read_text())
    target = plans
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    path.write_text(json.dumps(plans))


def test_folds_of_two_versions_with_one_network_are_logged(model, prepare_trainer, capsys):
    change(model / "plans.json", "0.0.1", "nnunetv2_sa_unet_version")
    prepare_trainer(OURS, 2, PLANS)
    shutil.rmtree(model / "fold_2")
    assert f"trained with nnunetv2-sa-unet 0.0.1, this one with {__version__}" in capsys.readouterr().out


def test_a_network_of_a_newer_version_is_refused_by_name(model):
    plans = model / "plans.json"
    change(plans, "9.0", "nnunetv2_sa_unet_version")
    change(plans, 4, "configurations", "3d_fullres", "architecture", "arch_kwargs", "heads")
    with pytest.raises(InputError, match=rf"heads: not known to nnunetv2-sa-unet {__version__}.* trained with 9.0"):
        predictor(model, 3)
