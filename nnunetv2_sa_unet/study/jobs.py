"""The work of the workflow's jobs. Every one of them can be killed at any moment and run again."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json, write_text
from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.study.ablation import Study
from nnunetv2_sa_unet.study.crossvalidation import validation_pairs
from nnunetv2_sa_unet.study.formats import as_markdown, write_csv
from nnunetv2_sa_unet.study.gpus import free_gpu, lock_folder, only_one

__all__ = ["evaluate", "make_splits", "plan", "resume_options", "train", "write_table"]

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
_LAST_LINES = 15


def plan(study: Study) -> None:
    """Write the plans with the study's overrides; the same plans are left as they are."""
    _run_ours("plan", "-d", study.dataset, "-p", study.base, "--override", *study.overrides)


def make_splits(study: Study) -> None:
    """Let nnU-Net split the cases into folds, unless they are.

    Its trainer does so at the start of a training, and two that start at once would both write the file.
    """
    if study.splits_file.is_file():
        return
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    from nnunetv2_sa_unet.plans.configurations import resolve

    plans = json.loads(Path(study.preprocessed, f"{study.plans}.json").read_text(encoding="utf-8"))
    folder = str(Path(study.preprocessed, resolve(plans, study.configuration)["data_identifier"]))
    cases = infer_dataset_class(folder).get_identifiers(folder)
    # The arguments of nnUNetTrainer.do_split, so these are the folds that any training would have made.
    splits = generate_crossval_split(list(np.sort(list(cases))), seed=12345, n_splits=5)
    write_json(study.splits_file, [{part: [str(case) for case in split[part]] for part in split} for split in splits])


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


def evaluate(study: Study, variant: str) -> None:
    """Score the validation cases of all folds of a variant with the metrics of the challenge.

    Links to the references and predictions lie in ``references`` and ``predictions`` of the variant's folder.
    """
    pairs = validation_pairs(Path(study.preprocessed), study.model_folder(variant), study.folds)
    output = Path(study.output, variant)
    _link(output / "references", [pair.reference for pair in pairs])
    _link(output / "predictions", [pair.prediction for pair in pairs])
    _run_ours("evaluate", str(output / "references"), str(output / "predictions"), "-o", str(output))


def write_table(study: Study, markdown: Path, comma_separated: Path) -> None:
    """Write the table in both forms."""
    table = study.table()
    write_csv(comma_separated, table)
    write_text(markdown, as_markdown(table))


def _link(folder: Path, targets: Sequence[Path]) -> None:
    """Make a folder of links to those targets that exist; ``evaluate`` names what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_symlink():
            old.unlink()
    for target in targets:
        if target.is_file():
            (folder / target.name).symlink_to(target)


def _run_ours(*words: str) -> None:
    subprocess.run([*executable("nnUNetv2_sa_unet"), *words], check=True)
