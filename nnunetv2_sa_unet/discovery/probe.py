"""What nnU-Net sees in an interpreter that has just started: for ``nnUNetv2_sa_unet doctor``.

The look runs in a process of its own, so that it meets the hook, the environment and ``sys.path`` as
``nnUNetv2_train`` would, and so that nothing that is broken there can end the doctor.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS

__all__ = ["look", "look_afresh"]

# The working folder is on the path of `python -c`, but not on that of nnU-Net's commands.
_PROGRAM = (
    "import sys; sys.path = [entry for entry in sys.path if entry]; "
    "from nnunetv2_sa_unet.discovery import probe; probe.main()"
)


def look_afresh(trainers: Sequence[str]) -> dict[str, Any]:
    """What ``look`` says in a new interpreter, or ``{"error": why there is no answer}``."""
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *trainers],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    try:
        answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        last_words = process.stderr.strip().splitlines()[-1:] or ["without a word"]
        return {"error": f"a new interpreter ended with status {process.returncode}: {last_words[0]}"}
    return answer


def look(trainers: Sequence[str]) -> dict[str, Any]:
    """Look at this process as nnU-Net would.

    Args:
        trainers: the names that nnU-Net is asked for.

    Returns:
        ``hook``: whether the start-up hook has run; ``external_trainers``: nnU-Net's variable after it;
        ``torch``: ``version``, ``device`` and ``compile`` (None if unknown), or ``error``; ``import_error``:
        why our trainers cannot be imported, or None; ``trainers``: for each name None, or why nnU-Net does
        not get our class.
    """
    answer: dict[str, Any] = {
        "hook": "nnunetv2_sa_unet.discovery.startup" in sys.modules,
        "external_trainers": os.environ.get(EXTERNAL_TRAINERS, ""),
    }
    answer["torch"] = _torch()
    module = None
    answer["import_error"] = None
    try:
        module = importlib.import_module("nnunetv2_sa_unet.nnunet.trainers")
    except Exception as error:
        answer["import_error"] = _in_a_line(error)
    with warnings.catch_warnings():
        # What our module in the folder warns of is in `import_error`.
        warnings.simplefilter("ignore")
        answer["trainers"] = {name: _fault_in_look_up(name, getattr(module, name, None)) for name in trainers}
    return answer


def main() -> None:
    """Print the answer for the trainers named on the command line as the last line of the output."""
    with contextlib.redirect_stdout(sys.stderr):
        answer = look(sys.argv[1:])
    print(json.dumps(answer))


def _torch() -> dict[str, Any]:
    try:
        import torch

        from nnunetv2_sa_unet.devices import choose_device

        chosen = choose_device("auto")
        if chosen.name == "cuda":
            device = f"CUDA, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
        elif chosen.name == "mps":
            device = "MPS: give nnU-Net's commands `-device mps`"
        else:
            device = f"CPU: {chosen.reason}; give nnU-Net's commands `-device cpu`"
        return {"version": torch.__version__, "device": device, "compile": _would_compile(chosen.name)}
    except Exception as error:
        return {"error": _in_a_line(error)}


def _would_compile(kind: str) -> bool | None:
    """Whether nnU-Net's trainer would use torch.compile on such a device, by its own rule."""
    try:
        import torch
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        trainer = SimpleNamespace(device=torch.device(kind), print_to_log_file=lambda *_: None)
        return bool(nnUNetTrainer._do_i_compile(trainer))
    except Exception:
        return None


def _fault_in_look_up(name: str, ours: type | None) -> str | None:
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        found = recursive_find_trainer_class_by_name(name)
    except Exception as error:
        # nnU-Net's own words for "not found" are long and say what the doctor's other lines say better.
        return "nnU-Net does not find it" if "Could not find" in str(error) else _in_a_line(error)
    if found is not ours:
        where = getattr(sys.modules.get(found.__module__), "__file__", None) or found.__module__
        return f"nnU-Net finds another class of that name, in {where}"
    return None


def _in_a_line(error: Exception) -> str:
    """The error and the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({place.filename}, line {place.lineno})"
