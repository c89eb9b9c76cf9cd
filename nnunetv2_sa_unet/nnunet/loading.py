"""A trained model in memory: the one place where models are loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.checkpoints import FACTS_NAME, Checkpoint, read_checkpoint
from nnunetv2_sa_unet.nnunet.names_in_plans import check_names
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.text import one_line

with redirect_stdout(StringIO()):
    # nnU-Net prints which of its folders are not set; a model folder is all that is needed here.
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

__all__ = ["LoadedModel", "all_folds", "load_model"]

#: Parts of nnU-Net's files that are mappings.
_MAPPINGS = {"plans.json": ("configurations",), "dataset.json": ("labels", "channel_names")}


@dataclass(frozen=True)
class LoadedModel:
    """A model that can predict.

    Attributes:
        predictor: nnU-Net's, with the weights of all folds.
        configuration: its name, which the predictor does not keep.
        files: what was read of the model's folder: plans, data set, a checkpoint a fold, and what goes with it.
        n_channels: of the network's input; in a cascade those of the previous stage's labels too.
    """

    predictor: nnUNetPredictor
    configuration: str
    files: tuple[str, ...]
    n_channels: int


def all_folds(folder: Path, checkpoint: str) -> list[str]:
    """The folds of a model that are trained: the numbered ones, or else ``all``."""
    trained = [path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}")]
    numbered = sorted((fold for fold in trained if fold.isdecimal()), key=int)
    # Without any, the first fold is missed by name.
    return numbered or (["all"] if "all" in trained else ["0"])


def load_model(
    folder: Path,
    folds: Sequence[str],
    checkpoint: str,
    device: str = "cpu",
    step_size: float = 0.5,
    mirroring: bool = True,
    trust: bool = False,
) -> LoadedModel:
    """Load a model as nnU-Net's predictor does, but nothing that might run code, and with one line for what fails.

    Args:
        folder: nnU-Net's model folder, or that of a model in the box.
        folds: whose predictions are averaged.
        checkpoint: name of the file in each fold's folder.
        device: torch's name of it.
        step_size: of the sliding window, as a fraction of the patch.
        mirroring: average predictions of mirrored images, if the model was trained with them.
        trust: let checkpoints and plans do what they want.

    Raises:
        InputError: the folder is no model, lacks a fold, or cannot be loaded, and why.
    """
    weights = [f"fold_{fold}/{checkpoint}" for fold in folds]
    files = (*_MAPPINGS, *([FACTS_NAME] if checkpoint.endswith(".safetensors") else []), *weights)
    for file in files:
        if not (folder / file).is_file():
            raise InputError(
                f"{folder / file}: there is no such file: name nnU-Net's model folder (TRAINER__PLANS__CONFIGURATION), "
                "its trained folds with -f and their checkpoint with -chk"
            )
    try:
        plans, dataset = (_read_json(folder / file, parts) for file, parts in _MAPPINGS.items())
        checkpoints = [read_checkpoint(folder / file, trust) for file in weights]
        # The predictor remarks that a CPU is no GPU, and the search for a trainer where it looked.
        with redirect_stdout(StringIO()):
            predictor = nnUNetPredictor(
                tile_step_size=step_size, use_mirroring=mirroring, device=torch.device(device), allow_tqdm=False
            )
            n_channels = _initialise(predictor, plans, dataset, checkpoints, trust)
    except InputError as error:
        reason = str(error).removeprefix(f"{folder}{os.sep}")
        raise InputError(f"{folder}: nnU-Net cannot load this model: {reason}") from error
    except KeyError as error:
        raise InputError(
            f"{folder}: nnU-Net cannot load this model: plans.json or dataset.json lacks {error}"
        ) from error
    # Whatever nnU-Net, torch and the code of trainers make of plans that do not fit: there is no end to it.
    except Exception as error:
        reason = one_line(error) or "no reason given"
        raise InputError(f"{folder}: nnU-Net cannot load this model: {type(error).__name__}: {reason[:500]}") from error
    return LoadedModel(predictor, checkpoints[0].configuration, files, n_channels)


def _initialise(
    predictor: nnUNetPredictor,
    plans: dict[str, Any],
    dataset: dict[str, Any],
    checkpoints: Sequence[Checkpoint],
    trust: bool,
) -> int:
    """What nnU-Net's ``initialize_from_trained_model_folder`` does after it has read the files."""
    first = checkpoints[0]
    plans_manager = PlansManager(plans)
    configuration = plans_manager.get_configuration(first.configuration)
    check_names(plans_manager, configuration, trust)
    n_channels: int = determine_num_input_channels(plans_manager, configuration, dataset)
    n_heads = plans_manager.get_label_manager(dataset).num_segmentation_heads
    network = _trainer(first.trainer).build_network_architecture(
        plans_manager, configuration, n_channels, n_heads, enable_deep_supervision=False
    )
    parameters = [_with_all_names(each.weights, network) for each in checkpoints]
    for each in reversed(parameters):
        network.load_state_dict(each)
    predictor.manual_initialization(
        network, plans_manager, configuration, parameters, dataset, first.trainer, first.mirroring_axes
    )
    return n_channels


def _trainer(name: str) -> Any:
    if name in VARIANTS:
        # Where no start-up hook tells nnU-Net of them (an editable install) they are found all the same.
        from nnunetv2_sa_unet.nnunet import trainers

        return getattr(trainers, name)
    return recursive_find_trainer_class_by_name(name)


def _with_all_names(weights: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Give weights that have one name each all those that the network has for them."""
    names: dict[int, str] = {}
    complete = dict(weights)
    tensors = network.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if name in weights:
            names[id(tensor)] = name
    for name, tensor in tensors.items():
        if name not in weights and id(tensor) in names:
            complete[name] = weights[names[id(tensor)]]
    return complete


def _read_json(path: Path, mappings: Sequence[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected a mapping as nnU-Net writes it")
    for key in mappings:
        if not isinstance(content.get(key, {}), dict):
            found = type(content[key]).__name__
            raise InputError(f"{path}: {key}: found {found}, expected a mapping as nnU-Net writes it")
    return content
