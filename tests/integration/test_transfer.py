"""Weights and plans of one data set for another; nnU-Net's own commands."""

from __future__ import annotations

import json

import pytest
import torch

SOURCE, TARGET = "nnUNetSAUNetTinyPlans", "nnUNetSAUNetTinyFrom901Plans"


@pytest.fixture(scope="module")
def target(nnunet, dataset):
    """Another data set with the tiny one's plans: other labels, the same channels."""
    made = dataset("labels")
    number = made.dataset[7:10]
    made.run("nnUNetv2_move_plans_between_datasets", "-s", "901", "-t", number, "-sp", SOURCE, "-tp", TARGET)
    made.run("nnUNetv2_preprocess", "-d", number, "-plans_name", TARGET, "-c", "3d_fullres", "-np", "1")
    return made


@pytest.fixture
def source(in_nnunet, prepare_trainer):
    folder = in_nnunet.results / f"nnUNetTrainerSAUNet__{SOURCE}__3d_fullres" / "fold_4"
    if not (folder / "checkpoint_final.pth").exists():
        prepare_trainer("nnUNetTrainerSAUNet", 4, SOURCE).run_training()
    return folder / "checkpoint_final.pth"


@pytest.fixture
def trainer(target, in_workplace):
    """A trainer for the target that starts from a checkpoint, as nnU-Net's training function makes it."""

    def make(name, checkpoint):
        from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

        made = get_trainer_from_args(target.dataset, "3d_fullres", 0, name, TARGET, False, torch.device("cpu"))
        maybe_load_checkpoint(made, False, False, str(checkpoint))
        return made

    return make


@pytest.mark.slow
def test_moved_plans_are_the_same_network_with_the_other_data(target):
    plans = json.loads((target.preprocessed / f"{TARGET}.json").read_text())

    assert plans["dataset_name"] == target.dataset
    configuration = plans["configurations"]["3d_fullres"]
    assert configuration["architecture"]["network_class_name"] == "nnunetv2_sa_unet.networks.sa_unet.SAUNet"
    assert configuration["training"]["optimizer"] == "AdamW"
    assert configuration["data_identifier"] == f"{TARGET}_nnUNetPlans_3d_fullres"


@pytest.mark.slow
def test_weights_of_another_data_set_are_the_start_and_the_heads_are_new(trainer, source):
    started = trainer("nnUNetTrainerSAUNet", source)
    weights = torch.load(source, weights_only=False)["network_weights"]

    for name, value in started.network.state_dict().items():
        if ".seg_layers." in name:
            assert value.shape != weights[name].shape  # four classes instead of three
        else:
            assert torch.equal(value, weights[name]), name
    started.run_training()
    assert started.current_epoch == 1


@pytest.mark.slow
def test_weights_of_a_network_with_fewer_parts_are_refused(in_nnunet, prepare_trainer, trainer):
    name = "nnUNetTrainerSAUNet_noASPP"
    folder = in_nnunet.results / f"{name}__{SOURCE}__3d_fullres" / "fold_4"
    if not (folder / "checkpoint_final.pth").exists():
        prepare_trainer(name, 4, SOURCE).run_training()
    with pytest.raises(AssertionError, match="do not seem to be compatible with your network"):
        trainer("nnUNetTrainerSAUNet", folder / "checkpoint_final.pth")
