"""A model in the box as a model of nnU-Net's own, for nnU-Net's commands."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.loading import all_folds, load_model
from nnunetv2_sa_unet.weights.registry import WEIGHTS_NAME, BoxedModel

__all__ = ["install_model", "predict_words"]

_COPIED = ("plans.json", "dataset.json", "dataset_fingerprint.json")


def install_model(model: BoxedModel, results: Path, force: bool) -> Path:
    """Lay a model down in nnU-Net's folder of results, whole or not at all.

    Args:
        model: in the box.
        results: ``nnUNet_results``.
        force: replace another model that is there.

    Returns:
        Its folder, ``DATASET/TRAINER__PLANS__CONFIGURATION``. One that is there already stays as it is.

    Raises:
        InputError: another model is there, and ``force`` is false or it has folds that this one has not; or the folder
            cannot be written to.
    """
    folds = all_folds(model.folder, WEIGHTS_NAME)
    loaded = load_model(model.folder, folds, WEIGHTS_NAME)
    predictor = loaded.predictor
    plans = predictor.plans_manager
    folder = Path(results, plans.dataset_name, f"{predictor.trainer_name}__{plans.plans_name}__{loaded.configuration}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}.", dir=folder.parent) as staging:
            new = Path(staging, "new")
            for file in _COPIED:
                new.mkdir(exist_ok=True)
                shutil.copyfile(model.folder / file, new / file)
            for fold, weights in zip(folds, predictor.list_of_parameters, strict=True):
                (new / f"fold_{fold}").mkdir()
                torch.save(_checkpoint(loaded.configuration, predictor, weights), _checkpoint_path(new, fold))
            if folder.exists():
                files = [*_COPIED, *(str(_checkpoint_path(Path(), fold)) for fold in folds)]
                _, differing, absent = filecmp.cmpfiles(folder, new, files, shallow=False)
                if not differing and not absent:
                    return folder
                _refuse(folder, [*differing, *absent], folds, force)
                folder.rename(Path(staging, "old"))
            new.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error}") from error
    return folder


def predict_words(folder: Path) -> tuple[str, ...]:
    """The command with which nnU-Net predicts with an installed model, but for its input and output."""
    trainer, plans, configuration = folder.name.split("__")
    folds = all_folds(folder, "checkpoint_final.pth")
    return (
        *("nnUNetv2_predict", "-d", folder.parent.name, "-c", configuration),
        *("-tr", trainer, "-p", plans, "-f", *folds),
    )


def _checkpoint_path(folder: Path, fold: str) -> Path:
    return folder / f"fold_{fold}" / "checkpoint_final.pth"


def _checkpoint(configuration: str, predictor: Any, weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What nnU-Net's prediction and ``-pretrained_weights`` read of a checkpoint."""
    return {
        "network_weights": weights,
        "init_args": {"configuration": configuration},
        "trainer_name": predictor.trainer_name,
        "inference_allowed_mirroring_axes": predictor.allowed_mirroring_axes,
    }


def _refuse(folder: Path, differing: list[str], folds: list[str], force: bool) -> None:
    others = sorted({path.name for path in folder.glob("fold_*")} - {f"fold_{fold}" for fold in folds})
    if others:
        raise InputError(f"{folder}: another model is there, with {', '.join(others)}; move the folder away")
    if not force:
        raise InputError(
            f"{folder}: another model is there (it differs in {', '.join(differing)}); move the folder away, or "
            "replace it with --force"
        )
