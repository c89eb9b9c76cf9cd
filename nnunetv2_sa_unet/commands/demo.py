"""``nnUNetv2_sa_unet demo``: a real volume segmented with the weights in the box, then a training on synthetic data."""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nnunetv2_sa_unet.commands.arguments import add_device, at_least
from nnunetv2_sa_unet.demo.sample import SAMPLE
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import held, make_writable
from nnunetv2_sa_unet.programs import ending_with_us, executable

__all__ = ["Step", "add_parser", "environment", "run", "sample_step", "steps"]

DATASET_ID = 501
DATASET = f"Dataset{DATASET_ID}_SyntheticFLAIR"
OVERRIDE = "demo"
PLANS = "nnUNetSAUNetOpenflair1FinetuneDemoPlans"
TRAINER = "nnUNetTrainerSAUNet"
#: nnU-Net makes five folds, which takes five cases.
FEWEST_CASES = 5
PROCESSES = 2


@dataclass(frozen=True)
class Step:
    """A command as a user would type it, and the file that keeps its output."""

    words: tuple[str, ...]
    log: Path


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``demo`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="segment a real volume, then train on synthetic data, predict, score and draw",
        description="Segment the real FLAIR volume that comes with this package with the weights in the box. Then make "
        "a synthetic FLAIR data set, run nnU-Net's own commands on it (each is printed as it runs), score the "
        "predictions for unseen cases and draw them into demo.png. Takes some minutes on two CPU cores. Everything is "
        "written below one new folder.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="new folder (./demo)")
    parser.add_argument(
        "--cases",
        type=at_least(FEWEST_CASES),
        default=10,
        metavar="N",
        help=f"training cases, at least {FEWEST_CASES} (10); four more are made to test on",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="S",
        help="of the synthetic data: same seed, same data (0)",
    )
    add_device(parser, "compute")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Make the data, run every step, draw the picture."""
    out: Path = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: exists and is not empty; the demo only writes to a new folder: remove this one or name "
            "another with --out"
        )
    device = choose_device(arguments.device).name
    for step in steps(out, device):
        executable(step.words[0])

    make_writable(out)
    with held(out):
        return _make(out, arguments.cases, arguments.seed, device)


def _make(out: Path, training: int, seed: int, device: str) -> int:
    start = time.monotonic()
    if not _runs(sample_step(out, device), {}):
        return 1
    page = out / "segment" / "report.html"
    print(
        f"\nOpen {page} in a browser to see it. The weights were trained on this volume, "
        "among others: it shows what you get, and not how good it is on yours.\n"
    )
    _make_dataset(out / "nnUNet_raw" / DATASET, training, seed)
    print("\nFrom here on these are commands of nnU-Net and of this package, as you would type them:\n")
    for name, value in environment(out).items():
        print(f"$ export {name}={shlex.quote(value)}")
    if not all(_runs(step, environment(out)) for step in steps(out, device)):
        return 1
    _draw(out)
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Look at {out / 'demo.png'} and {page}")
    return 0


def environment(out: Path) -> dict[str, str]:
    """The environment variables of nnU-Net that the steps run with."""
    folders = {name: str((out / name).resolve()) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    # Without augmentation one process loads batches faster than they are used.
    return {**folders, "nnUNet_def_n_proc": str(PROCESSES), "nnUNet_n_proc_DA": "1"}


def sample_step(out: Path, device: str) -> Step:
    """The first command: a real volume with the weights in the box."""
    words = ("nnUNetv2_sa_unet", "segment", str(SAMPLE), "-o", str(out / "segment"), "-device", device)
    return Step(words, out / "logs" / "0_segment.log")


def steps(out: Path, device: str) -> list[Step]:
    """The commands on synthetic data in their order."""
    raw = out / "nnUNet_raw" / DATASET
    predictions = str(out / "predictions")
    model = ("-tr", TRAINER, "-p", PLANS)
    commands = {
        "finetune": (
            *("nnUNetv2_sa_unet", "finetune", "-d", str(DATASET_ID), "--override", OVERRIDE),
            *("-f", "0", "-device", device),
        ),
        "predict": (
            *("nnUNetv2_predict", "-i", str(raw / "imagesTs"), "-o", predictions, "-d", str(DATASET_ID)),
            *("-c", "3d_fullres", "-f", "0", *model, "-device", device, "-npp", "1", "-nps", "1"),
        ),
        "evaluate": (
            *("nnUNetv2_sa_unet", "evaluate", str(raw / "labelsTs"), predictions),
            *("-o", str(out / "evaluation")),
        ),
    }
    return [
        Step(words, out / "logs" / f"{number}_{name}.log")
        for number, (name, words) in enumerate(commands.items(), start=1)
    ]


def _make_dataset(folder: Path, training: int, seed: int) -> None:
    from functools import partial

    from nnunetv2_sa_unet.demo.synthetic_dataset import cases_of, write_case, write_dataset_json
    from nnunetv2_sa_unet.images.processes import mapping

    print(f"Making synthetic cases in {folder}")
    cases = cases_of(seed, training)
    with mapping(PROCESSES) as apply:
        for case, _ in zip(cases, apply(partial(write_case, folder), cases), strict=True):
            other = ", one other lesion" if case.others else ""
            print(f"  {case.name}: {case.lesion_load:g} ml of white matter hyperintensities{other}", flush=True)
    write_dataset_json(folder, training)


def _runs(step: Step, variables: Mapping[str, str]) -> bool:
    """Say what a step is, run it, and say so if it fails."""
    print(f"\n$ {shlex.join(step.words)}", flush=True)
    status = _run_step(step, variables)
    if status != 0:
        print(f"error: {step.words[0]} ended with status {status}; its output is in {step.log}", file=sys.stderr)
    return status == 0


def _run_step(step: Step, variables: Mapping[str, str]) -> int:
    """Run a step, show its output and keep it; returns its exit status."""
    step.log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [*executable(step.words[0]), *step.words[1:]],
        env={**os.environ, **variables, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=ending_with_us(),
    )
    # Worker processes of a program that was killed can outlive it and keep its output open, so the end of the
    # output is not what is waited for.
    copying = threading.Thread(target=_copy, args=(process.stdout, step.log), daemon=True)
    copying.start()
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        raise
    copying.join(timeout=5)
    return status


def _copy(output: IO[bytes], path: Path) -> None:
    """Copy what a program says to the screen and to a file while it says it."""
    # Progress bars end their lines with a carriage return only: line ends pass as they are.
    lines = io.TextIOWrapper(output, encoding="utf-8", errors="replace", newline="")
    with path.open("w", encoding="utf-8", newline="", buffering=1) as log:
        for line in lines:
            log.write(line)
            sys.stdout.write(line)
            sys.stdout.flush()


def _draw(out: Path) -> None:
    from nnunetv2_sa_unet.images.pictures import draw_panels, make_panel

    raw = out / "nnUNet_raw" / DATASET
    with (out / "evaluation" / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    panels = [
        make_panel(
            f"{row['case']}: Dice {float(row['dice']):.2f}\n"
            f"reference {float(row['reference_ml']):.1f} ml, prediction {float(row['prediction_ml']):.1f} ml",
            raw / "imagesTs" / f"{row['case']}_0000.nii.gz",
            {
                "reference": raw / "labelsTs" / f"{row['case']}.nii.gz",
                "prediction": out / "predictions" / f"{row['case']}.nii.gz",
            },
        )
        for row in rows
    ]
    draw_panels(out / "demo.png", panels, "Synthetic FLAIR, cases not seen in training")
