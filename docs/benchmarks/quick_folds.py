"""Train the override `quick` on every fold of a data set several times, and say what each fold finds.

python docs/benchmarks/quick_folds.py RAW_DATASET OUT [--runs 3] [--trainer nnUNetTrainerSAUNet]

RAW_DATASET is a folder in nnU-Net's raw format, such as Dataset100_FLAIRWMH. A fold that is validated is not trained
again. nnU-Net's training is not seeded: each run draws its own random numbers. Wanted: every fold of every run finds
lesions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np

from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.scores.metrics import dice

PLANS = "nnUNetSAUNetQuickPlans"
FOLDS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--trainer", default="nnUNetTrainerSAUNet")
    arguments = parser.parse_args()
    name, out = arguments.dataset.name, arguments.out.resolve()
    number = str(int(name.removeprefix("Dataset").partition("_")[0]))
    variables = {"nnUNet_raw": out / "raw", "nnUNet_preprocessed": out / "preprocessed", "nnUNet_results": out}
    os.environ.update({key: str(value) for key, value in variables.items()})
    if not (out / "raw" / name).exists():
        shutil.copytree(arguments.dataset, out / "raw" / name)
    with (out / "log.txt").open("a") as log:
        if not (out / "preprocessed" / name / f"{PLANS}.json").exists():
            call(log, "nnUNetv2_plan_and_preprocess", "-d", number, "-c", "3d_fullres")
            call(log, "nnUNetv2_sa_unet", "plan", "-d", number, "--override", "quick")
        print("| run | fold | seconds | Dice of WMH in the cases held out |\n| --- | --- | --- | --- |", flush=True)
        found = []
        for run in range(arguments.runs):
            os.environ["nnUNet_results"] = str(out / f"results{run}")
            model = out / f"results{run}" / name / f"{arguments.trainer}__{PLANS}__3d_fullres"
            for fold in FOLDS:
                validation, seconds = model / f"fold_{fold}" / "validation", "–"
                if not (validation / "summary.json").exists():
                    start = time.monotonic()
                    words = ("-tr", arguments.trainer, "-p", PLANS, "-device", "cpu")
                    call(log, "nnUNetv2_train", number, "3d_fullres", str(fold), *words)
                    seconds = f"{time.monotonic() - start:.0f}"
                scores = [score(path, out / "raw" / name / "labelsTr") for path in sorted(validation.glob("*.nii.gz"))]
                found.append(max(scores) > 0)
                print(f"| {run} | {fold} | {seconds} | {', '.join(f'{value:.2f}' for value in scores)} |", flush=True)
    print(f"\n{sum(found)} of {len(found)} folds found lesions")
    sys.exit(not all(found))


def call(log: object, program: str, *words: str) -> None:
    subprocess.run([*executable(program), *words], stdout=log, stderr=subprocess.STDOUT, check=True)


def score(prediction: Path, labels: Path) -> float:
    """Dice of label 1; voxels that the reference marks otherwise are left out, as in the challenge."""
    mask, reference = (np.asarray(nibabel.load(path).dataobj) for path in (prediction, labels / prediction.name))
    counts = reference < 2
    return float(dice((reference == 1) & counts, (mask == 1) & counts))


if __name__ == "__main__":
    main()
