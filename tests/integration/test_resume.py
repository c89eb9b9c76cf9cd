"""An interrupted training goes on as if it had not been interrupted, the plateau schedule included."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.nnunet import recipe
from nnunetv2_sa_unet.nnunet.variant_trainer import VariantTrainer

PLANS = "nnUNetSAUNetPaperSmallPlans"
EPOCHS = 6


@pytest.fixture
def seeded_by_epoch(monkeypatch):
    """nnU-Net does not store the state of its random generators: let every epoch start from its own."""
    begin = VariantTrainer.on_epoch_start

    def seeded(trainer):
        np.random.seed(trainer.current_epoch)  # noqa: NPY002 the generator that nnU-Net draws from
        torch.manual_seed(trainer.current_epoch)
        begin(trainer)

    monkeypatch.setattr(VariantTrainer, "on_epoch_start", seeded)


@pytest.fixture
def train(prepare_trainer):
    def run(continue_training, stop_before=None):
        torch.manual_seed(0)
        trainer = prepare_trainer("nnUNetTrainerSAUNet", 2, PLANS, continue_training)
        begin = trainer.on_epoch_start

        def interrupted():
            if trainer.current_epoch == stop_before:
                raise KeyboardInterrupt
            begin()

        trainer.on_epoch_start = interrupted
        trainer.run_training()
        return trainer

    return run


def test_an_interrupted_run_equals_an_undisturbed_one(train, changed_plans, seeded_by_epoch, monkeypatch):
    # No loss but the first counts as better, so that the rate falls within so few epochs.
    monkeypatch.setattr(recipe, "MIN_DELTA", 100.0)
    changed_plans(PLANS, training__num_epochs=EPOCHS, training__save_every=1, training__num_iterations_per_epoch=1)
    undisturbed = train(continue_training=False)
    shutil.rmtree(undisturbed.output_folder)

    with pytest.raises(KeyboardInterrupt):
        train(continue_training=False, stop_before=3)
    resumed = train(continue_training=True)

    for key in ("lrs", "train_losses", "val_losses"):
        assert resumed.logger.get_value(key, step=None) == undisturbed.logger.get_value(key, step=None)
    assert resumed.logger.get_value("lrs", step=None) == pytest.approx([1e-3] * 4 + [1e-4] * 2)
    weights = resumed.network.state_dict()
    for name, value in undisturbed.network.state_dict().items():
        assert torch.equal(value, weights[name]), name
