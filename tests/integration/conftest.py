"""A tiny data set that real nnU-Net plans, preprocesses and trains in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

DATASET = "Dataset901_Tiny"
# Seconds of training on one core: few channels, two batches.
SHORT = {"num_epochs": 1, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}
SMALL = {"batch_size": 2, "features_per_stage": [8, 8, 16, 16], "published_sizes": False}
OVERRIDES = {
    "tiny": SMALL | {"training": SHORT | {"initial_lr": 0.002, "optimizer": "AdamW", "augmentation": "none"}},
    # What is left of the paper's override is its depth and its recipe.
    "small": SMALL | {"training": SHORT},
}
PATCHES = {"3d_fullres": {"patch_size": [8, 32, 32]}, "2d": {"patch_size": [32, 32]}}


# The data sets of the matrix get their sizes from the planner, for a GPU that has room for some 8×24×24 voxels.
MATRIX = {
    "features_per_stage": [8, 8, 16, 16, 16, 16],
    "training": SHORT | {"initial_lr": 0.002, "optimizer": "AdamW", "augmentation": "none"},
}
MATRIX_PLANS = "nnUNetSAUNetMatrixPlans"
GIGABYTES = "0.005"


@dataclass(frozen=True)
class Data:
    """A data set that differs from the tiny one.

    The label map has the values 0 to 3 whatever they mean. Shapes and spacing (in mm) are in the order z, y, x.
    """

    labels: dict[str, int | list[int]] = field(default_factory=lambda: {"WMH": 1, "other": 2, "third": 3})
    channels: int = 1
    shapes: tuple[tuple[int, int, int], ...] = ((16, 64, 64),) * 4
    spacing: tuple[float, float, float] = (3, 1, 1)

    @property
    def has_regions(self) -> bool:
        return any(isinstance(value, list) for value in self.labels.values())


DATASETS = {
    "labels": Data(),
    "regions": Data({"lesion": [1, 2, 3], "core": [2, 3], "third": [3]}, channels=2),
    "ignore": Data({"WMH": 1, "other": 2, "ignore": 3}, channels=3),
    "regions and ignore": Data({"lesion": [1, 2], "core": [2], "ignore": 3}, channels=2),
    "isotropic": Data(shapes=((40, 40, 40),) * 4, spacing=(1, 1, 1)),
    "single slices": Data(shapes=((1, 64, 64),) * 4),
    "unequal volumes": Data(shapes=((16, 64, 64), (1, 64, 64), (5, 20, 20), (16, 64, 64), (16, 64, 64), (4, 48, 40))),
    "thick along x": Data(shapes=((64, 64, 16),) * 4, spacing=(1, 1, 3)),
}


@dataclass(frozen=True)
class NnUNet:
    """nnU-Net's three folders, one data set in them, and the command line."""

    root: Path
    environment: dict[str, str]
    dataset: str = DATASET

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.dataset

    @property
    def results(self) -> Path:
        return self.root / "results" / self.dataset

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


def synthetic_case(
    seed: int, shape: Sequence[int] = (12, 40, 36), values: Sequence[int] = (1, 1, 1, 2)
) -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume (z, y, x) with bright blobs of the labels that ``values`` lists."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    image = random.normal(100, 10, shape)
    label = np.zeros(shape, np.uint8)
    # Blobs stay inside: 1.5 voxels in radius along short axes, 4 along long ones.
    radii = np.array([4 if n > 16 else 1.5 for n in shape])
    margin = np.minimum(2 * radii, (np.array(shape) - 1) / 2)
    for value in values:
        centre = random.uniform(margin, np.array(shape) - 1 - margin)
        blob = (((grid - centre) / radii) ** 2).sum(-1) < 1
        label[blob] = value
        image[blob] += 80
    return image.astype(np.int16), label


def write_volume(path: Path, array: np.ndarray, spacing: Sequence[float]) -> None:
    """Write an array (z, y, x) with its spacing in mm in the same order."""
    volume = SimpleITK.GetImageFromArray(array)
    volume.SetSpacing(tuple(spacing)[::-1])
    SimpleITK.WriteImage(volume, str(path))


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> NnUNet:
    """nnU-Net's three folders, empty."""
    root = tmp_path_factory.mktemp("nnunet")
    environment = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    for folder in environment.values():
        Path(folder).mkdir()
    environment |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    return NnUNet(root, environment)


@pytest.fixture(scope="session")
def nnunet(workplace: NnUNet) -> NnUNet:
    """nnU-Net with the tiny data set planned and preprocessed, and plans with the override ``tiny``."""
    nnunet = workplace
    for folder in (nnunet.raw / "imagesTr", nnunet.raw / "labelsTr", nnunet.raw / "imagesTs", nnunet.results):
        folder.mkdir(parents=True)
    for index in range(6):
        image, label = synthetic_case(index)
        if index < 5:
            write_volume(nnunet.raw / "labelsTr" / f"case{index}.nii.gz", label, (3, 1, 1))
        images = nnunet.raw / ("imagesTr" if index < 5 else "imagesTs")
        write_volume(images / f"case{index}_0000.nii.gz", image, (3, 1, 1))
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
        (nnunet.root / f"{name}.json").write_text(json.dumps(override))
    nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "tiny.json")
    nnunet.run("nnUNetv2_sa_unet", "plan", "-d", "901", "--override", "paper", "small.json")
    return nnunet


@pytest.fixture(scope="session")
def dataset(workplace: NnUNet) -> Callable[[str], NnUNet]:
    """Make one of the data sets of the table, planned for a tiny GPU and preprocessed; each once."""
    made: dict[str, NnUNet] = {}

    def make(kind: str) -> NnUNet:
        if kind not in made:
            made[kind] = replace(workplace, dataset=f"Dataset{910 + list(DATASETS).index(kind)}_Matrix")
            prepare(made[kind], DATASETS[kind])
        return made[kind]

    return make


def prepare(nnunet: NnUNet, data: Data) -> None:
    """Write raw data and let nnU-Net's commands and ours make plans and preprocessed data of it."""
    for folder in ("imagesTr", "labelsTr"):
        (nnunet.raw / folder).mkdir(parents=True)
    for index, shape in enumerate(data.shapes):
        image, label = synthetic_case(index, shape, (1, 1, 2, 2, 3))
        write_volume(nnunet.raw / "labelsTr" / f"case{index}.nii.gz", label, data.spacing)
        for channel in range(data.channels):
            write_volume(
                nnunet.raw / "imagesTr" / f"case{index}_{channel:04}.nii.gz", image // (channel + 1), data.spacing
            )
    names = [f"case{index}" for index in range(len(data.shapes))]
    # The cascade needs predictions of all cases: two folds are the fewest that give them.
    folds = [{"train": names[start::2], "val": names[1 - start :: 2]} for start in (0, 1)]
    (nnunet.raw / "splits_final.json").write_text(json.dumps(folds))
    description = {
        "channel_names": dict(zip("012", ("FLAIR", "T1", "T2")[: data.channels], strict=False)),
        "labels": {"background": 0} | data.labels,
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    if data.has_regions:
        description["regions_class_order"] = [1, 2, 3][: sum(name != "ignore" for name in data.labels)]
    (nnunet.raw / "dataset.json").write_text(json.dumps(description))
    (nnunet.root / "matrix.json").write_text(json.dumps({"description": "", "configurations": {"*": MATRIX}}))
    number = int(nnunet.dataset[7:10])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in nnunet.environment.items():
            patch.setenv(name, value)
        plan_and_preprocess(nnunet, number)


def plan_and_preprocess(nnunet: NnUNet, number: int) -> None:
    """Do in this process what three commands do, each of which would take seconds to start."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, preprocess_dataset

    from nnunetv2_sa_unet.commands.main import main

    extract_fingerprint_dataset(number, num_processes=1)
    override = str(nnunet.root / "matrix.json")
    assert main(["plan", "-d", str(number), "--gpu-memory", GIGABYTES, "--override", override]) == 0
    path = nnunet.preprocessed / f"{MATRIX_PLANS}.json"
    plans = json.loads(path.read_text())
    if "3d_fullres" in plans["configurations"]:
        # nnU-Net's way of changing a few keys of a configuration.
        plans["configurations"]["3d_child"] = {"inherits_from": "3d_fullres", "patch_size": [4, 32, 32]}
        path.write_text(json.dumps(plans))
    names = [name for name in ("2d", "3d_lowres", "3d_fullres") if name in plans["configurations"]]
    preprocess_dataset(number, MATRIX_PLANS, names, num_processes=[1] * len(names))


@pytest.fixture
def in_workplace(workplace: NnUNet, monkeypatch: pytest.MonkeyPatch) -> NnUNet:
    """Let nnU-Net run in this process, which saves the seconds that a new one needs to start."""
    for name, value in workplace.environment.items():
        monkeypatch.setenv(name, value)
    # Batches are loaded in this process too.
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    # nnU-Net reads nnUNet_def_n_proc once, when it is imported, and would start eight processes to export two masks.
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.default_num_processes", 1)
    return workplace


@pytest.fixture
def in_nnunet(nnunet: NnUNet, in_workplace: NnUNet) -> NnUNet:
    """The tiny data set, in this process."""
    return nnunet


def seed() -> None:
    """Let a network begin with the same weights whenever it is trained: what two batches make of some is all WMH."""
    import torch

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 the generator that nnU-Net draws from


@pytest.fixture
def train_here(in_workplace: NnUNet) -> Callable[..., None]:
    """nnU-Net's own training function, which ends with the validation, in this process."""

    def train(trainer: str, fold: int, plans: str = "nnUNetSAUNetTinyPlans", **options: object) -> None:
        import torch
        from nnunetv2.run.run_training import run_training

        seed()
        dataset, configuration = (
            str(options.pop(key, default)) for key, default in (("dataset", DATASET), ("configuration", "3d_fullres"))
        )
        run_training(dataset, configuration, fold, trainer, plans, device=torch.device("cpu"), **options)

    return train


@pytest.fixture
def prepare_trainer(in_nnunet: NnUNet) -> Callable[..., Any]:
    """A trainer as nnU-Net's training function prepares it, for training without the validation."""

    def prepare(
        trainer: str, fold: int, plans: str, continue_training: bool = False, configuration: str = "3d_fullres"
    ) -> Any:
        import torch
        from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

        seed()
        device = torch.device("cpu")
        instance = get_trainer_from_args("901", configuration, fold, trainer, plans, continue_training, device)
        maybe_load_checkpoint(instance, continue_training, False)
        return instance

    return prepare


@pytest.fixture
def changed_plans(nnunet: NnUNet) -> Iterator[Callable[..., None]]:
    """Change a configuration of plans in nnU-Net's preprocessed folder for one test."""
    originals: dict[Path, str] = {}

    def change(name: str = "nnUNetSAUNetTinyPlans", configuration: str = "3d_fullres", **changes: object) -> None:
        path = nnunet.preprocessed / f"{name}.json"
        originals.setdefault(path, path.read_text())
        plans = json.loads(originals[path])
        for dotted, value in changes.items():
            *parents, key = dotted.split("__")
            target = plans["configurations"][configuration]
            for parent in parents:
                target = target[parent]
            target[key] = value
        path.write_text(json.dumps(plans))

    yield change
    for path, content in originals.items():
        path.write_text(content)
