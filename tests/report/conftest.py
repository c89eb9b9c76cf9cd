"""A small head, and folders of segmented subjects as ``segment`` leaves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from nnunetv2_sa_unet.scores.lesion_sizes import lesion_load
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import write_segmentation

#: Voxels (z, y, x) and mm of a voxel.
SHAPE, SPACING = (14, 100, 84), (6.0, 2.0, 2.0)


class Head:
    """A head with bright scalp, dark skull, brain and ventricles, turned in the scanner; lesions are put in."""

    def __init__(self, seed: int = 0) -> None:
        grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
        away = (grid - np.array(SHAPE) / 2) * SPACING
        radius = np.sqrt(((away / (48.0, 88.0, 74.0)) ** 2).sum(-1))
        ventricles = ((away / (14.0, 26.0, 12.0)) ** 2).sum(-1) < 1
        self.brain = radius < 0.84
        self.flair = np.select([radius > 1, radius > 0.93, radius > 0.84, ventricles], [2, 320, 12, 20], 100).astype(
            float
        )
        self.flair += np.random.default_rng(seed).normal(0, 4, SHAPE)
        self.labels = np.zeros(SHAPE, np.uint8)

    def add(self, z: slice, y: slice, x: slice, label: int = 1) -> Head:
        """Put a box of a label into the mask, brighter than the brain."""
        self.labels[z, y, x] = label
        self.flair[z, y, x] = 155
        return self

    @staticmethod
    def image(array: NDArray[Any]) -> SimpleITK.Image:
        """The array on the head's grid."""
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(SPACING[::-1])
        image.SetOrigin((-80.0, -90.0, 20.0))
        turn = 0.15
        image.SetDirection((1, 0, 0, 0, np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn)))
        return image


class Run:
    """A folder that ``segment`` might have written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder.parent / f"{folder.name}-inputs"
        self.subjects: list[Subject] = []
        folder.mkdir()
        self.inputs.mkdir()

    def add(self, subject: str, head: Head, probabilities: bool = False, message: str = "") -> None:
        """A segmented subject; with a message it has a warning."""
        image = self.inputs / f"{len(self.subjects)}.nii.gz"
        SimpleITK.WriteImage(head.image(head.flair.astype(np.int16)), str(image))
        names = [f"{len(self.subjects)}_wmh.nii.gz", f"{len(self.subjects)}_wmh_prob.nii.gz"]
        SimpleITK.WriteImage(head.image(head.labels), str(self.folder / names[0]))
        if probabilities:
            values = (head.labels == 1) * np.float32(0.8)
            SimpleITK.WriteImage(head.image(values), str(self.folder / names[1]))
        load = lesion_load(head.labels == 1, float(np.prod(SPACING)))
        self.subjects.append(
            Subject(
                subject=subject,
                status="warning" if message else "ok",
                message=message,
                inputs=[Input(path=str(image), sha256=None)],
                mask=names[0],
                probabilities=names[1] if probabilities else None,
                **vars(load),
            )
        )

    def fail(self, subject: str, message: str) -> None:
        """A subject that could not be segmented."""
        path = Input(path=str(self.inputs / "broken.nii.gz"), sha256=None)
        self.subjects.append(Subject(subject=subject, status="failed", message=message, inputs=[path]))

    def write(self) -> Path:
        """Write the record; returns the folder."""
        segmentation = Segmentation(
            nnunetv2_sa_unet="1",
            versions={"torch": "2.5"},
            model=Model(
                folder="/models/m",
                dataset="Dataset001_A",
                trainer="nnUNetTrainerSAUNet",
                plans="nnUNetPlans",
                configuration="3d_fullres",
                folds=[0],
                checkpoint="checkpoint_final.pth",
                sha256={},
            ),
            options=Options(),
            subjects=self.subjects,
        )
        write_segmentation(self.folder, segmentation)
        return self.folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[], Run]:
    """An empty run in a folder of its own."""
    return lambda: Run(tmp_path / "out")


@pytest.fixture
def make_head() -> Callable[..., Head]:
    """A head without lesions."""
    return Head


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting processes takes longer than the small volumes of these tests."""
    monkeypatch.setattr("nnunetv2_sa_unet.report.writing.default_processes", lambda: 1)
