"""What a trainer does to plans and recipe, without training."""

from __future__ import annotations

import inspect
import pickle

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.nnunet import trainers
from nnunetv2_sa_unet.plans.variants import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_a_trainer_that_nnunet_can_store(name):
    trainer = getattr(trainers, name)

    assert trainer.variant is VARIANTS[name]
    assert issubclass(trainer, nnUNetTrainer)
    assert pickle.loads(pickle.dumps(trainer)) is trainer
    # nnU-Net stores the arguments by name and builds the trainer anew from them.
    assert list(inspect.signature(trainer.__init__).parameters) == list(
        inspect.signature(nnUNetTrainer.__init__).parameters
    )


def test_the_module_exports_the_trainers_of_the_table_and_nothing_else():
    assert set(trainers.__all__) == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("asked", [None, "t", "f"])
def test_networks_with_kernels_of_their_own_are_not_compiled_unless_somebody_asks(name, asked, monkeypatch):
    monkeypatch.delenv("nnUNet_compile", raising=False)
    if asked is not None:
        monkeypatch.setenv("nnUNet_compile", asked)
    trainer = object.__new__(getattr(trainers, name))
    trainer.device = torch.device("cuda")
    nnunets = nnUNetTrainer._do_i_compile(trainer)
    has_kernels = getattr(VARIANTS[name], "norm", None) == "group"
    assert trainer._do_i_compile() == (nnunets and not (has_kernels and asked is None))
