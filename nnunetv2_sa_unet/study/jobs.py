"""Train a fold, from where it stands: it can be killed at any moment and run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.study.ablation import Study
from nnunetv2_sa_unet.study.gpus import free_gpu, lock_folder, only_one

__all__ = ["main", "resume_options", "train"]

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
_LAST_LINES = 15


def train(study: Study, variant: str, fold: int) -> None:
    """Train and validate a fold with nnU-Net, from where it stands; all that nnU-Net prints is added to a log.

    Args:
        study: what to train.
        variant: the member's name.
        fold: the fold's number.

    Raises:
        InputError: if nnU-Net fails, with its last lines.
    """
    # A training that outlived the command which started it goes on; two must not write to one folder.
    with ExitStack() as held:
        held.enter_context(only_one(Path(study.output, "locks", f"{variant}_fold_{fold}.lock")))
        words = resume_options(study, variant, fold)
        if words is None:
            return
        # Or what nnU-Net prints would be lost from the log when it is killed.
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        if study.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = held.enter_context(free_gpu(study.gpus, lock_folder()))
        command = [*study.command(variant, fold), *words]
        log = study.log(variant, fold)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            print(*command, file=stream, flush=True)
            status = subprocess.run(
                [*executable(command[0]), *command[1:]], env=environment, stdout=stream, stderr=subprocess.STDOUT
            ).returncode
    if status or not study.is_finished(variant, fold):
        last = [line[:200] for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]]
        raise InputError("\n".join([f"{' '.join(command)}: ended with status {status}; see {log}:", *last]))


def resume_options(study: Study, variant: str, fold: int) -> list[str] | None:
    """The options with which ``nnUNetv2_train`` goes on with a fold; None if there is nothing left to do.

    A checkpoint that was cut short by a kill while it was written is renamed, never removed, so that an older one
    is used.
    """
    if study.is_finished(variant, fold):
        return None
    folder = study.fold_folder(variant, fold)
    for name in _CHECKPOINTS:
        checkpoint = folder / name
        # Torch writes zip archives, whose directory comes last.
        if checkpoint.is_file() and not zipfile.is_zipfile(checkpoint):
            checkpoint.rename(folder / f"{name}.incomplete")
    final, *others = ((folder / name).is_file() for name in _CHECKPOINTS)
    if final:
        return ["--val"]
    return ["--c"] if any(others) else []


def main(arguments: Sequence[str]) -> int:
    """Train a fold: the study's file, the variant and the fold are given."""
    file, variant, fold = arguments
    try:
        train(Study(**json.loads(Path(file).read_text(encoding="utf-8"))), variant, int(fold))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
