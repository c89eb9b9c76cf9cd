"""A study as a whole: subjects with two visits through ``segment`` and ``longitudinal``, two of their files broken.

    python docs/benchmarks/cohort.py OUT --real FLAIR [FLAIR ...] [--synthetic 5] [-- OPTIONS OF BOTH COMMANDS]

OUT/study is a BIDS data set. A synthetic subject is one head, scanned twice in other positions, whose lesions grow,
shrink or stay. A real one is a FLAIR volume, and the same volume turned, shifted, and with other noise, so nothing in
it has changed. The second visit of the last synthetic subject is cut short on disk, that of the last real one is
empty. Prints what the commands print, their status and time, and a table of what they found; whoever gives the same
command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.commands.main import main as command
from nnunetv2_sa_unet.demo.synthetic import Visit, make_visits
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.volumes import read_volume

#: Lesion load (ml) of both visits of the synthetic subjects, in turn.
LOADS = ((5.0, 8.0), (12.0, 12.0), (3.0, 3.0), (20.0, 14.0), (9.0, 9.0))
#: How far a head turns (degrees about each axis) and shifts (mm along each) between visits.
DEGREES, MILLIMETRES = 5.0, 5.0
#: Of the noise that is added to a real volume's second visit, in parts of the middle's mean brightness.
NOISE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--real", type=Path, nargs="+", default=[], metavar="FLAIR")
    parser.add_argument("--synthetic", type=int, default=5)
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    options = sys.argv[2 + len(own) :]
    arguments = parser.parse_args(own)
    study = arguments.output / "study"
    if not (study / "dataset_description.json").exists():
        make_study(study, arguments.synthetic, arguments.real)
    runs = {
        "segment": (str(study), "-o", str(arguments.output / "segment"), "--regions"),
        "longitudinal": (str(study), "-o", str(arguments.output / "longitudinal")),
    }
    for name, words in runs.items():
        print(f"$ nnUNetv2_sa_unet {' '.join((name, *words, *options))}", flush=True)
        start = time.monotonic()
        status = command([name, *words, *options])
        print(f"status {status} after {(time.monotonic() - start) / 60:.1f} minutes\n", flush=True)
    show(arguments.output)


def make_study(study: Path, synthetic: int, real: list[Path]) -> None:
    """Write all visits, then the description, without which the folder is no data set."""
    last = None
    for number in range(synthetic):
        random = np.random.default_rng((23, number))
        moved = [tuple(random.uniform(-limit, limit, 3)) for limit in (DEGREES, MILLIMETRES)]
        first, second = LOADS[number % len(LOADS)]
        visits = make_visits(2000 + number, [Visit(first), Visit(second, moved[0], moved[1])])
        last = [write(case.image, study, f"synthetic{number + 1}", visit) for visit, case in enumerate(visits, 1)][-1]
    if last is not None:
        os.truncate(last, last.stat().st_size // 2)
    for number, path in enumerate(real, 1):
        image = SimpleITK.Cast(read_volume(path), SimpleITK.sitkFloat32)
        write(image, study, f"real{number}", 1)
        write(moved_again(image, number) if number < len(real) else 0 * image, study, f"real{number}", 2)
    description = {"Name": "Cohort", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (study / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")


def moved_again(image: SimpleITK.Image, seed: int) -> SimpleITK.Image:
    """The same head in another position, with other noise."""
    random = np.random.default_rng((29, seed))
    centre = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])
    motion = SimpleITK.Euler3DTransform(
        centre, *np.deg2rad(random.uniform(-DEGREES, DEGREES, 3)), random.uniform(-MILLIMETRES, MILLIMETRES, 3)
    )
    moved = SimpleITK.Resample(image, image, motion, SimpleITK.sitkBSpline, 0.0)
    values = SimpleITK.GetArrayFromImage(moved)
    middle = values[tuple(slice(size // 3, 2 * size // 3) for size in values.shape)]
    spread = NOISE * float(middle.mean())
    noisy = np.abs(values + random.normal(0, spread, values.shape) * (values > 0))
    return image_like(noisy.astype(np.float32), moved)


def write(image: SimpleITK.Image, study: Path, subject: str, visit: int) -> Path:
    """Write a visit where BIDS has it."""
    path = study / f"sub-{subject}" / f"ses-{visit}" / "anat" / f"sub-{subject}_ses-{visit}_FLAIR.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def show(output: Path) -> None:
    """Print one table of the volumes and one of the changes."""
    for path, columns in (
        (output / "segment" / "volumes.csv", ("subject", "volume_ml", "lesions", "icv_ml", "status", "message")),
        (
            output / "longitudinal" / "changes.csv",
            (
                "pair",
                "first_ml",
                "second_ml",
                "change_ml",
                "below_noise",
                "lesions_new",
                "lesions_gone",
                "status",
                "message",
            ),
        ),
    ):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        shown = [column for column in columns if column in rows[0]]
        print(f"{path.name}:\n\n| {' | '.join(shown)} |\n{'| --- ' * len(shown)}|")
        for row in rows:
            print(f"| {' | '.join(row[column].replace('|', '/') for column in shown)} |")
        print()


if __name__ == "__main__":
    main()
