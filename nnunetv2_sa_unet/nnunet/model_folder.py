"""One model folder, one network.

All folds of a model share one ``plans.json``, which nnU-Net writes anew whenever a fold starts. So a fold that
starts after the plans or this package changed would silently replace the network that the other folds were
trained with.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from pydoc import locate
from typing import Any

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.checks import foreign_parts, unknown_arguments
from nnunetv2_sa_unet.plans.configurations import resolve
from nnunetv2_sa_unet.plans.variants import Variant

__all__ = [
    "VERSION_KEY", "check_network", "differing_keys", "has_checkpoint", "is_trained", "stored_plans",
    "with_stored_network",
]  # fmt: skip

#: Where in a model's plans.json the version of this package stands that trained it last.
VERSION_KEY = "nnunetv2_sa_unet_version"

# What makes two checkpoints of one model interchangeable. The training block is not among it: a longer or other
# training of the same network is the user's choice.
_NETWORK_KEYS = ("architecture", "patch_size", "kernels")


def has_checkpoint(fold_folder: Path) -> bool:
    """Tell whether nnU-Net saved a checkpoint in the folder of a fold."""
    return any(fold_folder.glob("checkpoint_*.pth"))


def is_trained(model_folder: Path) -> bool:
    """Tell whether any fold of a model has a checkpoint."""
    return any(has_checkpoint(fold_folder) for fold_folder in model_folder.glob("fold_*"))


def stored_plans(model_folder: Path) -> dict[str, Any] | None:
    """Return the plans that the trained folds of a model folder share, or None if no fold has a checkpoint.

    Raises:
        InputError: if there are checkpoints but no readable plans.json.
    """
    if not is_trained(model_folder):
        return None
    path = model_folder / "plans.json"
    try:
        plans: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), but folds beside it are trained: restore it, or move the folder away"
        ) from None
    return plans


def differing_keys(stored: Mapping[str, Any], planned: Mapping[str, Any], configuration: str) -> list[str]:
    """Name the keys of the network in which two plans differ for one configuration, with both values."""
    trained, wanted = resolve(stored, configuration), resolve(planned, configuration)
    return list(
        _differences({key: trained.get(key) for key in _NETWORK_KEYS}, {key: wanted.get(key) for key in _NETWORK_KEYS})
    )


def with_stored_network(planned: Mapping[str, Any], stored: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return a copy of the plans whose configuration has the network and patch of the stored plans."""
    plans = json.loads(json.dumps(planned))
    source, target = resolve(stored, configuration), plans["configurations"][configuration]
    for key in _NETWORK_KEYS:
        if key in source:
            target[key] = source[key]
        else:
            target.pop(key, None)
    return plans  # type: ignore[no-any-return]


def check_network(plans: Mapping[str, Any], configuration: Mapping[str, Any], variant: Variant) -> None:
    """Refuse to build a network that this version, or the trainer that asks for it, does not know.

    Args:
        plans: of the model.
        configuration: the resolved one.
        variant: that of the trainer, at prediction the one that the checkpoint names.

    Raises:
        InputError: if the network is not the variant's, or has arguments that its class does not have.
    """
    name = f"{plans['plans_name']} (plans.json): architecture"
    foreign = foreign_parts(configuration, variant)
    if foreign:
        raise InputError(
            f"{name}: {', '.join(foreign)}: not those of {variant.trainer}, which trained the checkpoint: a checkpoint "
            "or plans.json of another model lies in this folder: restore the one that belongs here"
        )
    network_class = locate(configuration["architecture"]["network_class_name"])
    unknown = unknown_arguments(configuration, inspect.signature(network_class).parameters)  # type: ignore[arg-type]
    if unknown:
        raise InputError(
            f"{name}.arch_kwargs: {', '.join(unknown)}: not known to nnunetv2-sa-unet {__version__}; the model was "
            f"trained with {plans.get(VERSION_KEY, 'another version')}: install that version or a newer one"
        )


def _differences(stored: Any, planned: Any, path: str = "") -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(planned, Mapping):
        for key in dict.fromkeys([*stored, *planned]):
            yield from _differences(stored.get(key), planned.get(key), f"{path}.{key}" if path else key)
    elif stored != planned:
        yield f"{path} (trained: {stored}, planned: {planned})"
