"""Checkpoints, read without running what strangers put into them.

A pickle can call any function of the machine that reads it, and a checkpoint of nnU-Net is a pickle. So it is read by
torch's restricted unpickler, which makes tensors and plain values; honest checkpoints need NumPy's numbers besides.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunetv2_sa_unet.errors import InputError

__all__ = ["FACTS_NAME", "TRUST", "Checkpoint", "read_checkpoint"]

#: The option for those who trust where a model is from.
TRUST = "--trust-model"

#: In the folder of a model whose weights are safetensors: what else nnU-Net's checkpoint says.
FACTS_NAME = "checkpoint.json"
_NEEDED = ("trainer_name", "init_args", "network_weights")

# What NumPy's numbers are pickled with; NumPy 1 had its core under another name.
_scalar = np.float64(0).__reduce__()[0]
_SAFE: list[Any] = [
    *((_scalar, f"{core}.multiarray.scalar") for core in ("numpy._core", "numpy.core")),
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefdg"},
]
_UNSAFE = re.compile(r"GLOBAL ([\w.]+)|(?:function|class|call)\w* ([\w.]+\.[\w.]+)")


@dataclass(frozen=True)
class Checkpoint:
    """What prediction needs of a checkpoint.

    Attributes:
        trainer: name of the class that trained it.
        configuration: such as ``3d_fullres``.
        mirroring_axes: along which predictions may be mirrored; None for none.
        weights: by the name of the parameter or buffer. Of one that the network has under several names a file of
            safetensors has one.
    """

    trainer: str
    configuration: str
    mirroring_axes: tuple[int, ...] | None
    weights: Mapping[str, torch.Tensor]


def read_checkpoint(path: Path, trust: bool = False) -> Checkpoint:
    """Read a checkpoint: nnU-Net's own, or weights as safetensors with ``checkpoint.json`` in the model's folder.

    Args:
        path: in the folder of a fold.
        trust: let a pickle do what it wants.

    Raises:
        InputError: it cannot be read, holds what might run code (unless ``trust``), or is no checkpoint of nnU-Net.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {_reason(path, error)}") from error
    # What a pickle that is trusted does can fail in any way.
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a checkpoint: {_one_line(error)}") from error
    return _checked(content, path)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    facts = path.parent.parent / FACTS_NAME
    try:
        content = json.loads(facts.read_text(encoding="utf-8"))
        weights = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read with {facts.name} of its model: {_one_line(error)}") from error
    weights = {name: values.float() if values.is_floating_point() else values for name, values in weights.items()}
    return _checked({**content, "network_weights": weights} if isinstance(content, dict) else content, path)


def _checked(content: Any, path: Path) -> Checkpoint:
    if not isinstance(content, Mapping) or any(key not in content for key in _NEEDED):
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise InputError(f"{path}: found {found[:200]}; expected a checkpoint of nnU-Net with {', '.join(_NEEDED)}")
    arguments, axes = content["init_args"], content.get("inference_allowed_mirroring_axes")
    configuration = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    for key, value, kind in (
        ("trainer_name", content["trainer_name"], str),
        ("init_args.configuration", configuration, str),
        ("network_weights", content["network_weights"], Mapping),
    ):
        if not isinstance(value, kind):
            raise InputError(f"{path}: {key}: found {type(value).__name__}, expected {kind.__name__}")
    if axes is not None and not (isinstance(axes, Sequence) and all(isinstance(axis, int) for axis in axes)):
        raise InputError(f"{path}: inference_allowed_mirroring_axes: found {axes!r}, expected the numbers of axes")
    return Checkpoint(
        content["trainer_name"],
        str(configuration),
        None if axes is None else tuple(axes),
        content["network_weights"],
    )


def _reason(path: Path, error: pickle.UnpicklingError) -> str:
    """Say in one line why a pickle was refused, or that the file is no pickle at all."""
    try:
        with torch.serialization.safe_globals(_SAFE):
            unsafe = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        # No archive as torch has written since 1.6; the message of the older reader names what it stumbled over.
        unsafe = [first or second for first, second in _UNSAFE.findall(str(error))][:1]
    if unsafe:
        return (
            f"refused, because reading it would import {', '.join(unsafe)}, which may run code; give {TRUST} if you "
            "trust where this model is from"
        )
    return f"cannot be read as a checkpoint: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
