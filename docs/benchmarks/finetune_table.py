"""Fine-tuning on three cases beside training from scratch for as many batches, and beside the model as it is.

python docs/benchmarks/finetune_table.py OUT --dataset RAW_DATASET [--override NAME_OR_FILE …]
python docs/benchmarks/finetune_table.py OUT [--override NAME_OR_FILE …]

With --dataset (nnU-Net's raw format) the first three cases are for training and the others held out. Note that
openflair1 was trained on all cases of Dataset100_FLAIRWMH. Without it the cases are synthetic, of a scanner that no
weights have seen: intensities to the power of 0.4, which takes most of the lesions' contrast, and noise on top.

Same network, patch, batches and schedule, so the same time per batch; only the first weights differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.commands.plan import plans_name
from nnunetv2_sa_unet.demo.synthetic import make_case
from nnunetv2_sa_unet.programs import executable
from nnunetv2_sa_unet.scores.metrics import dice
from nnunetv2_sa_unet.weights.registry import DEFAULT

TRAINING = 3
LOADS = (3.0, 12.0, 30.0, 2.0, 6.0, 15.0, 25.0)
SYNTHETIC = "Dataset777_OtherScanner"
SCRATCH = "nnUNetSAUNetScratchPlans"
CONFIGURATION = "3d_fullres"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--override", nargs="+", default=["demo"])
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    name = arguments.dataset.name if arguments.dataset else SYNTHETIC
    raw, preprocessed, results = (out / folder / name for folder in ("raw", "preprocessed", "results"))
    os.environ |= {f"nnUNet_{folder}": str(out / folder) for folder in ("raw", "preprocessed", "results")}
    if not raw.exists():
        shutil.copytree(arguments.dataset, raw) if arguments.dataset else make_dataset(raw)
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (raw / "labelsTr").glob("*.nii.gz"))
    training, held_out = cases[:TRAINING], cases[TRAINING:]
    (raw / "splits_final.json").write_text(json.dumps([{"train": training, "val": held_out}]))

    number = str(int(name.removeprefix("Dataset").partition("_")[0]))
    plans = plans_name(f"nnUNet{DEFAULT}Plans", ["finetune", *arguments.override])
    rows = {}
    with (out / "log.txt").open("a") as log:
        words = ("-d", number, "-f", "0", "-device", "cpu", "--override", *arguments.override)
        rows["fine-tuned"] = timed(log, "nnUNetv2_sa_unet", "finetune", *words)
        scratch = json.loads((preprocessed / f"{plans}.json").read_text())
        (preprocessed / f"{SCRATCH}.json").write_text(json.dumps(scratch | {"plans_name": SCRATCH}))
        words = (number, CONFIGURATION, "0", "-tr", "nnUNetTrainerSAUNet", "-p", SCRATCH, "-device", "cpu")
        rows["from scratch"] = timed(log, "nnUNetv2_train", *words)
        images = [str(raw / "imagesTr" / f"{case}_0000.nii.gz") for case in held_out]
        as_it_is = out / "as_it_is"
        words = (*images, "-o", str(as_it_is), "--no-report", "-device", "cpu")
        rows[f"{DEFAULT} as it is"] = timed(log, "nnUNetv2_sa_unet", "segment", *words)

    folders = {
        label: results / f"nnUNetTrainerSAUNet__{each}__{CONFIGURATION}" / "fold_0" / "validation"
        for label, each in (("fine-tuned", plans), ("from scratch", SCRATCH))
    }
    masks = {label: {case: folder / f"{case}.nii.gz" for case in held_out} for label, folder in folders.items()}
    masks[f"{DEFAULT} as it is"] = {case: next(as_it_is.glob(f"{case}*_wmh.nii.gz")) for case in held_out}
    print(f"| {name}, {TRAINING} cases | seconds, all in all | mean Dice | {' | '.join(held_out)} |")
    print(f"| --- | --- | --- |{' --- |' * len(held_out)}")
    for label, seconds in rows.items():
        scores = [score(raw / "labelsTr" / f"{case}.nii.gz", masks[label][case]) for case in held_out]
        cells = " | ".join(f"{value:.2f}" for value in scores)
        print(f"| {label} | {seconds:.0f} | {np.mean(scores):.2f} | {cells} |")


def make_dataset(raw: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for index, load in enumerate(LOADS):
        made = make_case((777, index), load)
        array = SimpleITK.GetArrayFromImage(made.image).astype(float)
        noise = np.random.default_rng(index).normal(0, 6, array.shape)
        other = 255 * (array / array.max()) ** 0.4 + noise
        image = SimpleITK.GetImageFromArray(other.clip(0, 255).astype(np.uint8))
        image.CopyInformation(made.image)
        SimpleITK.WriteImage(image, str(raw / "imagesTr" / f"case{index}_0000.nii.gz"))
        SimpleITK.WriteImage(made.label, str(raw / "labelsTr" / f"case{index}.nii.gz"))
    description = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1},
        "numTraining": len(LOADS),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))


def timed(log: object, program: str, *words: str) -> float:
    start = time.monotonic()
    subprocess.run([*executable(program), *words], stdout=log, stderr=subprocess.STDOUT, check=True)
    return time.monotonic() - start


def score(reference: Path, prediction: Path) -> float:
    """Dice of label 1; voxels that the reference marks otherwise are left out, as in the challenge."""
    truth, mask = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in (reference, prediction))
    counts = truth < 2
    return dice((truth == 1) & counts, (mask == 1) & counts)


if __name__ == "__main__":
    main()
