"""Every variant through real nnU-Net: a short run with AdamW, the paper's recipe, and the paper's made quick."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.variant_trainer import VariantTrainer
from nnunetv2_sa_unet.plans.variants import VARIANTS

SLOW = pytest.mark.slow
TINY = "nnUNetSAUNetTinyPlans"
PAPER, PAPER_QUICK = "nnUNetSAUNetPaperSmallPlans", "nnUNetSAUNetPaperQuickSmallPlans"
# The recipe does not depend on the network: two networks that differ in all their parts stand for the others.
PAPER_IN_SHORT = ("nnUNetTrainerSAUNet", "nnUNetTrainerAttentionUNet")
RUNS = [
    pytest.param(trainer, plans, marks=[] if plans == TINY or (plans == PAPER and trainer in PAPER_IN_SHORT) else SLOW)
    for trainer in VARIANTS
    for plans in (TINY, PAPER, PAPER_QUICK)
]


@pytest.mark.parametrize(("trainer", "plans"), RUNS)
def test_a_variant_trains_continues_validates_predicts_and_exports(
    in_nnunet, prepare_trainer, train_here, changed_plans, tmp_path, trainer, plans
):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.model_sharing.model_export import export_pretrained_model

    if plans == PAPER_QUICK and not (in_nnunet.preprocessed / f"{plans}.json").exists():
        in_nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "paper", "quick", "small.json")
    name = "2d" if VARIANTS[trainer].n_axes == 2 else "3d_fullres"
    # Fold 1, because another test may have trained fold 0.
    prepare_trainer(trainer, 1, plans, configuration=name).run_training()
    changed_plans(plans, name, training__num_epochs=2)
    prepare_trainer(trainer, 1, plans, continue_training=True, configuration=name).run_training()
    train_here(trainer, 1, plans, only_run_validation=True, configuration=name)

    model = in_nnunet.results / f"{trainer}__{plans}__{name}"
    checkpoint = torch.load(model / "fold_1" / "checkpoint_final.pth", weights_only=False)
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    assert len(checkpoint["logging"]["train_losses"]) == 2
    saved = json.loads((model / "plans.json").read_text())["configurations"][name]
    assert saved["architecture"]["network_class_name"] == VARIANTS[trainer].network_class
    # quick takes the paper's augmentation away, and with it what mirroring at prediction may rest on.
    assert checkpoint["inference_allowed_mirroring_axes"] == (
        (tuple(range(len(saved["patch_size"])))) if plans == PAPER else None
    )
    assert isinstance(checkpoint["optimizer_state"]["param_groups"][0]["betas"], tuple)  # Adam or AdamW, not SGD

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(1,))
    image = np.random.default_rng(0).normal(size=(1, 12, 40, 36)).astype(np.float32)
    mask = predictor.predict_single_npy_array(image, {"spacing": [3.0, 1.0, 1.0]})
    assert mask.shape == (12, 40, 36)

    archive = tmp_path / "model.zip"
    export_pretrained_model(
        "901",
        str(archive),
        (name,),
        trainer,
        plans,
        folds=(1,),
        strict=False,
        save_checkpoints=("checkpoint_final.pth",),
    )
    assert any(name.endswith("checkpoint_final.pth") for name in zipfile.ZipFile(archive).namelist())


@pytest.mark.parametrize(("trainer", "name"), [("nnUNetTrainerLi2018", "3d_fullres"), ("nnUNetTrainerTrUENet", "2d")])
def test_a_configuration_of_the_other_kind_is_refused(prepare_trainer, trainer, name):
    with pytest.raises(
        InputError, match=rf"{TINY}.json: configurations.{name}: patch_size: found . axes, but {trainer}"
    ):
        prepare_trainer(trainer, 0, TINY, configuration=name)


@pytest.mark.parametrize("plans", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
@pytest.mark.parametrize("trainer", ["nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_backbone333BN", "nnUNetTrainerUNet3D"])
def test_nnunets_own_plans_train_as_they_are(in_nnunet, prepare_trainer, trainer, plans):
    if not (in_nnunet.preprocessed / f"{plans}.json").exists():
        in_nnunet.run("nnUNetv2_plan_experiment", "-d", "901", "-pl", "nnUNetPlannerResEncM")
    instance = prepare_trainer(trainer, 0, plans)
    assert isinstance(instance, VariantTrainer)
    assert (instance.num_epochs, instance.initial_lr) == (1000, 1e-2)  # nnU-Net's recipe
    instance.num_epochs = instance.num_iterations_per_epoch = instance.num_val_iterations_per_epoch = 1
    instance.disable_checkpointing = True
    instance.run_training()

    assert np.isfinite(instance.logger.get_value("train_losses", step=None)).all()
    saved = json.loads((in_nnunet.results / f"{trainer}__{plans}__3d_fullres" / "plans.json").read_text())
    architecture = saved["configurations"]["3d_fullres"]["architecture"]
    assert architecture["network_class_name"] == VARIANTS[trainer].network_class
