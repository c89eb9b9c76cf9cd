"""``nnUNetv2_sa_unet convert wmh-challenge``: the data of the WMH Segmentation Challenge to nnU-Net's raw format."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.convert import add_dataset_arguments, new_dataset, print_result
from nnunetv2_sa_unet.datasets import dataset_number
from nnunetv2_sa_unet.errors import InputError

if TYPE_CHECKING:
    from nnunetv2_sa_unet.convert.raw_cases import SourceCase

__all__ = ["add_parser", "run"]

_CHOICES = ("FLAIR", "FLAIR,T1")
_STAGES = {"pre": "bias-corrected", "orig": "original"}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``convert wmh-challenge`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "wmh-challenge",
        help="the WMH Segmentation Challenge (doi 10.34894/AECRSD)",
        description="Make a data set of the WMH Segmentation Challenge: images, labels, five folds with the same mix "
        "of scanners, and second readings where there are any. Run it again after a kill, and it goes on.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder with training and test, or one of them")
    add_dataset_arguments(parser)
    parser.add_argument("--channels", choices=_CHOICES, default="FLAIR", help="sequences (FLAIR)")
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument(
        "--preprocessed",
        dest="stage",
        action="store_const",
        const="pre",
        default="pre",
        help="images with the challenge's bias correction (default)",
    )
    stage.add_argument("--original", dest="stage", action="store_const", const="orig", help="images as scanned")
    parser.add_argument(
        "--test",
        action=argparse.BooleanOptionalAction,
        help="with the test cases, or without (with them if there are any)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Find the cases, make the data set, say what is in it."""
    from nnunetv2_sa_unet.convert.challenge import find_cases, incomplete_scanners
    from nnunetv2_sa_unet.convert.raw_dataset import Recipe, make_dataset
    from nnunetv2_sa_unet.images.processes import default_processes

    folder = new_dataset(arguments.dataset, "WMHChallenge")
    source: Path = arguments.source.absolute()
    channels = tuple(arguments.channels.split(","))
    cases, problems = find_cases(source, channels, arguments.stage, arguments.test)
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{folder}: lies in the source {source}: set nnUNet_raw to another folder")
    recipe = Recipe(
        channels,
        arguments.other,
        arguments.link,
        {
            "name": "WMH Segmentation Challenge (MICCAI 2017)",
            "reference": "https://doi.org/10.34894/AECRSD, https://doi.org/10.1109/TMI.2019.2905770",
            "licence": "CC BY-NC 4.0",
            "description": f"{_STAGES[arguments.stage]} images; label 2 (other pathology): {arguments.other}",
        },
        {"format": "wmh-challenge", "stage": arguments.stage},
    )
    processes = arguments.processes or default_processes()
    made = make_dataset(folder, source, cases, problems, recipe, arguments.force, processes)
    print("\n".join(_description(cases)))
    for remark in incomplete_scanners(cases):
        print(f"warning: {remark}")
    print_result(folder, made)
    if any(case.training for case in cases):
        print(f"Next:    nnUNetv2_plan_and_preprocess -d {dataset_number(folder.name)} --verify_dataset_integrity")
    else:
        print(f"Predict: nnUNetv2_predict -i {folder / 'imagesTs'} -o PREDICTIONS -d DATASET_OF_THE_MODEL …")
    return 0


def _description(cases: Sequence[SourceCase]) -> list[str]:
    lines = []
    for part, training in (("training", True), ("test", False)):
        scanners = Counter(case.row["scanner"] for case in cases if case.training == training)
        if scanners:
            numbers = ", ".join(f"{name} {number}" for name, number in scanners.items())
            lines.append(f"{scanners.total()} {part} cases: {numbers}")
    readings = Counter(observer for case in cases for observer in case.readings)
    if readings:
        lines.append("second readings: " + ", ".join(f"{name} {number}" for name, number in sorted(readings.items())))
    return lines
