"""A tiny data set that real nnU-Net plans, preprocesses and trains in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

DATASET = "Dataset901_Tiny"
# Seconds of training on one core: few channels, two batches.
SHORT = {"num_epochs": 1, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}
SMALL = {"batch_size": 2, "features_per_stage": [8, 8, 16, 16]}
OVERRIDES = {
    "tiny": SMALL | {"training": SHORT | {"initial_lr": 0.002, "optimizer": "AdamW", "augmentation": "none"}},
    # What is left of the paper's override is its depth and its recipe.
    "small": SMALL | {"training": SHORT},
}
PATCHES = {"3d_fullres": {"patch_size": [8, 32, 32]}, "2d": {"patch_size": [32, 32]}}


@dataclass(frozen=True)
class NnUNet:
    """nnU-Net's three folders with the tiny data set, and its command line."""

    root: Path
    environment: dict[str, str]

    @property
    def raw(self) -> Path:
        return self.root / "raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / DATASET

    @property
    def results(self) -> Path:
        return self.root / "results" / DATASET

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command as a user would and return all it prints."""
        # The environment that runs the tests need not be activated.
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        program = shutil.which(command[0], path=path)
        assert program is not None, f"{command[0]} is not installed"
        completed = subprocess.run(
            [program, *command[1:]],
            env=os.environ | self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert (completed.returncode == 0) == (expect == 0), completed.stdout[-4000:]
        return completed.stdout


def synthetic_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume (z, y, x) with bright blobs of label 1 and a few of label 2."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (12, 40, 36)), indexing="ij"), -1)
    image = random.normal(100, 10, grid.shape[:3])
    label = np.zeros(grid.shape[:3], np.uint8)
    for value in (1, 1, 1, 2):
        centre = random.uniform((3, 8, 8), (9, 32, 28))
        blob = (((grid - centre) / (1.5, 4, 4)) ** 2).sum(-1) < 1
        label[blob] = value
        image[blob] += 80
    return image.astype(np.int16), label


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> NnUNet:
    """nnU-Net with the tiny data set planned and preprocessed, and plans with the override ``tiny``."""
    root = tmp_path_factory.mktemp("nnunet")
    environment = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    environment |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    nnunet = NnUNet(root, environment)
    for folder in (nnunet.raw / "imagesTr", nnunet.raw / "labelsTr", nnunet.raw / "imagesTs", nnunet.results):
        folder.mkdir(parents=True)
    for index in range(6):
        volumes = dict(zip(("image", "label"), synthetic_case(index), strict=True))
        for kind, array in volumes.items():
            volume = SimpleITK.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 3.0))
            target = "labelsTr" if kind == "label" else "imagesTr" if index < 5 else "imagesTs"
            if index == 5 and kind == "label":
                continue
            suffix = "" if kind == "label" else "_0000"
            SimpleITK.WriteImage(volume, str(nnunet.raw / target / f"case{index}{suffix}.nii.gz"))
    dataset = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1, "other": 2},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (nnunet.raw / "dataset.json").write_text(json.dumps(dataset))
    nnunet.run("nnUNetv2_plan_and_preprocess", "-d", "901", "-c", "2d", "3d_fullres", "-np", "1", "-npfp", "1")
    for name, values in OVERRIDES.items():
        override = {"description": "for tests", "configurations": {"*": values} | PATCHES}
        (root / f"{name}.json").write_text(json.dumps(override))
    nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "tiny.json")
    nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "paper", "small.json")
    return nnunet


@pytest.fixture
def in_nnunet(nnunet: NnUNet, monkeypatch: pytest.MonkeyPatch) -> NnUNet:
    """Let nnU-Net run in this process, which saves the seconds that a new one needs to start."""
    for name, value in nnunet.environment.items():
        monkeypatch.setenv(name, value)
    # Batches are loaded in this process too.
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    # nnU-Net reads nnUNet_def_n_proc once, when it is imported, and would start eight processes to export two masks.
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.default_num_processes", 1)
    return nnunet


@pytest.fixture
def train_here(in_nnunet: NnUNet) -> Callable[..., None]:
    """nnU-Net's own training function, which ends with the validation, in this process."""

    def train(trainer: str, fold: int, plans: str = "nnUNetSAUNetTinyPlans", **options: object) -> None:
        import torch
        from nnunetv2.run.run_training import run_training

        configuration = str(options.pop("configuration", "3d_fullres"))
        run_training("901", configuration, fold, trainer, plans, device=torch.device("cpu"), **options)

    return train


@pytest.fixture
def prepare_trainer(in_nnunet: NnUNet) -> Callable[..., Any]:
    """A trainer as nnU-Net's training function prepares it, for training without the validation."""

    def prepare(trainer: str, fold: int, plans: str, continue_training: bool = False) -> Any:
        import torch
        from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

        device = torch.device("cpu")
        instance = get_trainer_from_args("901", "3d_fullres", fold, trainer, plans, continue_training, device)
        maybe_load_checkpoint(instance, continue_training, False)
        return instance

    return prepare


@pytest.fixture
def changed_plans(nnunet: NnUNet) -> Iterator[Callable[..., None]]:
    """Change a configuration of plans in nnU-Net's preprocessed folder for one test."""
    originals: dict[Path, str] = {}

    def change(name: str = "nnUNetSAUNetTinyPlans", **changes: object) -> None:
        path = nnunet.preprocessed / f"{name}.json"
        originals.setdefault(path, path.read_text())
        plans = json.loads(originals[path])
        for dotted, value in changes.items():
            *parents, key = dotted.split("__")
            target = plans["configurations"]["3d_fullres"]
            for parent in parents:
                target = target[parent]
            target[key] = value
        path.write_text(json.dumps(plans))

    yield change
    for path, content in originals.items():
        path.write_text(content)
