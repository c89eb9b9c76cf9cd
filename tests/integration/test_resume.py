"""An interrupted training goes on as if it had not been interrupted, with either schedule and averaged weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

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
def one_thread():
    """Several threads on a busy machine have given other roundings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def train(prepare_trainer, one_thread):
    def run(continue_training, stop_before=None):
        trainer = prepare_trainer("nnUNetTrainerSAUNet", 2, PLANS, continue_training)
        begin = trainer.on_epoch_start

        def interrupted():
            if trainer.current_epoch == stop_before:
                raise KeyboardInterrupt
            begin()

        trainer.on_epoch_start = interrupted
        # A second for each epoch, and no part of what is tested.
        trainer.logger.plot_progress_png = lambda folder: None
        trainer.run_training()
        return trainer

    return run


@pytest.fixture
def interrupted_and_not(train, changed_plans, seeded_by_epoch):
    """Train twice, the second time in two parts, with changes to the training block."""

    def run(**training):
        short = {"num_epochs": EPOCHS, "save_every": 1, "num_iterations_per_epoch": 1} | training
        changed_plans(PLANS, **{f"training__{key}": value for key, value in short.items()})
        undisturbed = train(continue_training=False)
        shutil.rmtree(undisturbed.output_folder)
        with pytest.raises(KeyboardInterrupt):
            train(continue_training=False, stop_before=3)
        return undisturbed, train(continue_training=True)

    return run


def assert_same_run(undisturbed, resumed):
    """Equal up to rounding: what an optimizer, a schedule or an average forgets is larger by orders of magnitude."""
    for key in ("lrs", "train_losses", "val_losses"):
        values = (np.array(trainer.logger.get_value(key, step=None), float) for trainer in (resumed, undisturbed))
        np.testing.assert_allclose(*values, rtol=1e-4, err_msg=key)
    assert_same_weights(undisturbed.network, resumed.network)


def assert_same_weights(one, other):
    expected, weights = (parameters_to_vector(network.parameters()) for network in (one, other))
    assert torch.linalg.vector_norm(weights - expected) < 1e-4 * torch.linalg.vector_norm(expected)


def test_an_interrupted_run_equals_an_undisturbed_one(interrupted_and_not, monkeypatch):
    # No loss but the first counts as better, so that the rate falls within so few epochs.
    monkeypatch.setattr(recipe, "MIN_DELTA", 100.0)
    undisturbed, resumed = interrupted_and_not()

    assert_same_run(undisturbed, resumed)
    assert resumed.logger.get_value("lrs", step=None) == pytest.approx([1e-3] * 4 + [1e-4] * 2)


def test_an_average_and_a_warm_up_go_on_too(interrupted_and_not):
    sites = {"lr_schedule": "poly", "warmup_iterations": 7, "ema": 0.9, "augmentation": "sites"}
    undisturbed, resumed = interrupted_and_not(num_iterations_per_epoch=2, **sites)

    assert_same_run(undisturbed, resumed)
    average = resumed.weight_average.model.module
    assert_same_weights(undisturbed.weight_average.model.module, average)
    assert resumed.logger.get_value("lrs", step=None)[:4] == pytest.approx([1e-3 * n / 8 for n in (1, 3, 5, 7)])
    # What everyone predicts with is the average, and that is what was validated.
    checkpoint = torch.load(Path(resumed.output_folder, "checkpoint_final.pth"), weights_only=False)
    for name, value in average.state_dict().items():
        assert torch.equal(checkpoint["network_weights"][name], value), name
    assert not torch.equal(next(average.parameters()), next(resumed.network.parameters()))
