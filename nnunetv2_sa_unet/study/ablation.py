"""What an ablation study trains, and where everything of it lies."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.datasets import dataset_number
from nnunetv2_sa_unet.scores.scoring import SUMMARY_NAME
from nnunetv2_sa_unet.study.ablation_table import ablation_table
from nnunetv2_sa_unet.study.formats import Table

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """An ablation study; its attributes are the configuration of the workflow.

    Paths are absolute strings, because the configuration is stored as JSON.

    Attributes:
        dataset: full name of the data set.
        configuration: of the plans, for instance ``3d_fullres``.
        base: the plans to start from.
        overrides: names or files; may be empty.
        plans: the plans that are trained: ``base``, or what ``plan`` makes of it with the overrides.
        variants: names of trainers.
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
    base: str
    overrides: list[str]
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
    def splits_file(self) -> Path:
        """nnU-Net's split into folds."""
        return Path(self.preprocessed, "splits_final.json")

    @property
    def override_files(self) -> list[str]:
        """The overrides that are files and not names of shipped ones."""
        return [override for override in self.overrides if Path(override).is_file()]

    def model_folder(self, variant: str) -> Path:
        """nnU-Net's folder of a model."""
        return Path(self.results, f"{variant}__{self.plans}__{self.configuration}")

    def fold_folder(self, variant: str, fold: int) -> Path:
        """nnU-Net's folder of a fold of a model."""
        return self.model_folder(variant) / f"fold_{fold}"

    def is_finished(self, variant: str, fold: int) -> bool:
        """Tell whether nnU-Net has trained and validated a fold to the end."""
        folder = self.fold_folder(variant, fold)
        return zipfile.is_zipfile(folder / "checkpoint_final.pth") and _is_json(folder / "validation" / "summary.json")

    def fold_flag(self, variant: str, fold: int) -> Path:
        """The flag that tells Snakemake of a finished fold; nnU-Net's own files are none of its outputs."""
        return Path(self.output, variant, f"fold_{fold}.done")

    def log(self, variant: str, fold: int) -> Path:
        """What nnU-Net printed while it worked on a fold, over all runs of the study."""
        return Path(self.output, "logs", f"{variant}_fold_{fold}.log")

    def outdated_flags(self) -> list[str]:
        """The flags, in the study's folder, of folds, plans and splits that are gone or were made anew since.

        Whatever happened to nnU-Net's folders between two runs: Snakemake, which sees flags alone, has to be told.
        """
        made_by_nnunet = {"plan.done": Path(self.preprocessed, f"{self.plans}.json"), "splits.done": self.splits_file}
        flags = [Path(self.output, name) for name, file in made_by_nnunet.items() if not file.is_file()]
        flags += [
            self.fold_flag(variant, fold)
            for variant in self.variants
            for fold in self.folds
            if self._was_touched(variant, fold)
        ]
        return [str(flag.relative_to(self.output)) for flag in flags if flag.is_file()]

    def _was_touched(self, variant: str, fold: int) -> bool:
        flag, summary = self.fold_flag(variant, fold), self.fold_folder(variant, fold) / "validation" / "summary.json"
        if not self.is_finished(variant, fold):
            return True
        return flag.is_file() and summary.stat().st_mtime > flag.stat().st_mtime

    def table(self) -> Table:
        """The table with the paper's figures beside the measured ones, once every variant is evaluated."""
        folds = ", ".join(map(str, self.folds))
        source = f"{self.dataset} (folds {folds}; {self.plans}, {self.configuration})"
        return ablation_table({variant: Path(self.output, variant, SUMMARY_NAME) for variant in self.variants}, source)


def _is_json(path: Path) -> bool:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(content)
