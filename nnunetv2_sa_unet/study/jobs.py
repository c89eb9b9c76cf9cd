"""The work of the workflow's jobs. Every one of them can be killed at any moment and run again."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json
from nnunetv2_sa_unet.plans.configurations import resolve
from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.study.ablation import Study
from nnunetv2_sa_unet.study.crossvalidation import draw_folds
from nnunetv2_sa_unet.study.gpus import free_gpu, lock_folder, only_one

__all__ = ["make_splits", "plan", "resume_options", "tables", "train"]

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
_LAST_LINES = 15


def plan(study: Study) -> None:
    """Write the plans with the study's overrides; the same plans are left as they are."""
    _run_ours("plan", "-d", study.dataset, "-p", study.base, "--override", *study.overrides)


def make_splits(study: Study) -> None:
    """Let nnU-Net split the cases into folds, unless they are.

    Its trainer does so at the start of a training, and two that start at once would both write the file.
    """
    if Path(study.splits_file).is_file():
        return
    plans = json.loads(Path(study.plans_file).read_text(encoding="utf-8"))
    data = Path(study.preprocessed, resolve(plans, study.configuration)["data_identifier"])
    write_json(Path(study.splits_file), draw_folds(data))


def train(study: Study, variant: str, fold: int) -> None:
    """Train and validate a fold with nnU-Net, from where it stands; all that nnU-Net prints is added to a log.

    Args:
        study: what to train.
        variant: the trainer's name.
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
        where = [str(study.number), study.configuration, str(fold)]
        command = ["nnUNetv2_train", *where, "-tr", variant, "-p", study.plans, "-device", study.device, *words]
        name = f"{variant}_fold_{fold}"
        with _log(study, name) as stream:
            print(*command, file=stream, flush=True)
            status = subprocess.run(
                [*executable(command[0]), *command[1:]], env=environment, stdout=stream, stderr=subprocess.STDOUT
            ).returncode
    if status or not study.is_finished(variant, fold):
        log = study.log(name)
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


def tables(study: Study) -> None:
    """Write the tables of all variants into the study's folder."""
    words = ["-d", study.dataset, "-c", study.configuration, "-p", study.plans, "-o", study.output]
    words += ["--folds", *map(str, study.folds), "--variants", *study.variants]
    # The command that runs the study prints what stands in the files.
    with _log(study, "tables") as stream:
        _run_ours("tables", *words, stdout=stream)


@contextmanager
def _log(study: Study, name: str) -> Iterator[IO[str]]:
    path = study.log(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        yield stream


def _run_ours(*words: str, stdout: IO[str] | None = None) -> None:
    subprocess.run([*executable("nnUNetv2_sa_unet"), *words], check=True, stdout=stdout)
