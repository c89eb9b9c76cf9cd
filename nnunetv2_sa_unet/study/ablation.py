"""What an ablation study trains, and where everything of it lies."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.datasets import dataset_number
from nnunetv2_sa_unet.study.members import Member, member

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """An ablation study; its attributes are the configuration of the workflow.

    Paths are absolute strings, because the configuration is stored as JSON.

    Attributes:
        dataset: full name of the data set.
        configuration: of the plans, for instance ``3d_fullres``; members that are not for it have another.
        plans: the plans that are trained.
        variants: names of members (``members.member``).
        folds: numbers of folds.
        device: ``cuda``, ``cpu`` or ``mps``.
        gpus: the GPU of each job that may run at a time, for ``CUDA_VISIBLE_DEVICES``; empty if jobs take what they
            find (a cluster engine assigns GPUs itself).
        preprocessed: the data set's folder in ``nnUNet_preprocessed``.
        results: the data set's folder in ``nnUNet_results``.
        output: the study's own folder.
    """

    dataset: str
    configuration: str
    plans: str
    variants: list[str]
    folds: list[int]
    device: str
    gpus: list[str]
    preprocessed: str
    results: str
    output: str

    @property
    def number(self) -> int:
        """The data set's number."""
        return dataset_number(self.dataset)

    @property
    def splits_file(self) -> str:
        """nnU-Net's split into folds."""
        return str(Path(self.preprocessed, "splits_final.json"))

    @property
    def validations(self) -> list[str]:
        """The summaries of the validation of every variant and fold."""
        return [self.validation(variant, fold) for variant in self.variants for fold in self.folds]

    @property
    def tables(self) -> list[str]:
        """The words of the command that makes the tables."""
        words = ["tables", "-d", str(self.number), "-c", self.configuration, "-p", self.plans]
        return [*words, "--folds", *map(str, self.folds), "--variants", *self.variants]

    @property
    def members(self) -> dict[str, Member]:
        """The models by the names of their folders."""
        return {found.folder: found for found in map(self.member, self.variants)}

    def member(self, variant: str) -> Member:
        """What a name among the variants stands for."""
        return member(variant, self.plans, self.configuration)

    def command(self, variant: str, fold: int | str) -> list[str]:
        """The words of nnU-Net's command that trains a fold."""
        found = self.member(variant)
        words = ["nnUNetv2_train", str(self.number), found.configuration, str(fold), "-tr", found.trainer]
        return [*words, "-p", found.plans, "-device", self.device]

    def validation(self, variant: str, fold: int | str) -> str:
        """nnU-Net's summary of the validation of a fold, the last file that ``nnUNetv2_train`` writes."""
        return str(self.fold_folder(variant, fold) / "validation" / "summary.json")

    def fold_folder(self, variant: str, fold: int | str) -> Path:
        """nnU-Net's folder of a fold of a model."""
        return Path(self.results, self.member(variant).folder, f"fold_{fold}")

    def is_finished(self, variant: str, fold: int) -> bool:
        """Tell whether nnU-Net has trained and validated a fold to the end."""
        final = self.fold_folder(variant, fold) / "checkpoint_final.pth"
        return zipfile.is_zipfile(final) and _is_json(Path(self.validation(variant, fold)))

    def log(self, variant: str, fold: int) -> Path:
        """What a training printed, over all runs of the study."""
        return Path(self.output, "logs", f"{variant}_fold_{fold}.log")


def _is_json(path: Path) -> bool:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(content)
