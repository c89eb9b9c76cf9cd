"""Make a folder as ``nnUNetv2_sa_unet segment`` leaves it, of many subjects of one size, to weigh its report.

python docs/benchmarks/report_cohort.py RAW_DATASET OUT --subjects 100 --size 240 240 48 --spacing 0.96 0.96 3

The images of a data set in nnU-Net's raw format are resampled to that grid, with the noise that resampling took away;
their labels, roughened, take the place of predictions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.scores.lesion_sizes import lesion_load
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import write_segmentation


def resampled(image: Any, grid: Any, kind: int) -> Any:
    """The voxels (z, y, x) of an image on a grid."""
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(SimpleITK.Cast(image, SimpleITK.sitkFloat32), grid, SimpleITK.Transform(), kind)
    )


def grid_for(image: Any, size: list[int], spacing: list[float]) -> Any:
    """A grid of a size and spacing, turned and centred as an image."""
    grid = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(image.GetDirection())
    middles = [
        np.array(each.TransformContinuousIndexToPhysicalPoint([(edge - 1) / 2 for edge in each.GetSize()]))
        for each in (image, grid)
    ]
    grid.SetOrigin((middles[0] - middles[1]).tolist())
    return grid


def make_subject(name: str, seed: int, image: Any, label: Any, arguments: argparse.Namespace) -> Subject:
    """Write the image, the mask and the map of probabilities of one subject."""
    random = np.random.default_rng(seed)
    grid = grid_for(image, arguments.size, arguments.spacing)
    flair = resampled(image, grid, SimpleITK.sitkLinear)
    flair = np.abs(flair + random.normal(0, 60, flair.shape)).astype(np.int16)
    chance = resampled(label == 1, grid, SimpleITK.sitkLinear)
    chance = np.clip(chance + (chance > 0) * random.normal(0, 0.05, chance.shape), 0, 1).astype(np.float32)
    mask = (chance > 0.5).astype(np.uint8)
    files = {"FLAIR": flair, "wmh": mask, "wmh_prob": chance}
    for ending, values in files.items():
        written = SimpleITK.GetImageFromArray(values)
        written.CopyInformation(grid)
        folder = arguments.out / "images" if ending == "FLAIR" else arguments.out
        SimpleITK.WriteImage(written, str(folder / f"{name}_{ending}.nii.gz"))
    return Subject(
        subject=name,
        status="ok",
        message="",
        inputs=[Input(path=str(arguments.out / "images" / f"{name}_FLAIR.nii.gz"), sha256=None)],
        mask=f"{name}_wmh.nii.gz",
        probabilities=f"{name}_wmh_prob.nii.gz",
        **vars(lesion_load(mask == 1, float(np.prod(arguments.spacing)))),
    )


def main() -> None:
    """Make all subjects and the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--subjects", type=int, required=True)
    parser.add_argument("--size", type=int, nargs=3, required=True, metavar=("X", "Y", "Z"))
    parser.add_argument("--spacing", type=float, nargs=3, required=True, metavar=("X", "Y", "Z"))
    arguments = parser.parse_args()
    arguments.out = arguments.out.absolute()
    (arguments.out / "images").mkdir(parents=True)
    labels = sorted((arguments.dataset / "labelsTr").glob("*.nii.gz"))
    subjects = []
    for index in range(arguments.subjects):
        label = labels[index % len(labels)]
        case = label.name.removesuffix(".nii.gz")
        image = SimpleITK.ReadImage(str(arguments.dataset / "imagesTr" / f"{case}_0000.nii.gz"))
        name = f"subject{index + 1:03d}"
        subjects.append(make_subject(name, index, image, SimpleITK.ReadImage(str(label)), arguments))
    model = Model(
        folder="/nowhere", dataset=arguments.dataset.name, trainer="none", plans="none", configuration="none",
        folds=[0], checkpoint="none", sha256={},
    )  # fmt: skip
    record = Segmentation(
        nnunetv2_sa_unet="0", versions={}, model=model, options=Options(probabilities=True), subjects=subjects
    )
    write_segmentation(arguments.out, record)


if __name__ == "__main__":
    main()
