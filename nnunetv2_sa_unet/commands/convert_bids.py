"""``nnUNetv2_sa_unet convert bids``: a BIDS data set to nnU-Net's raw format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.commands.convert import add_dataset_arguments, new_dataset, print_result
from nnunetv2_sa_unet.datasets import dataset_number
from nnunetv2_sa_unet.errors import InputError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``convert bids`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bids",
        help="a BIDS data set with FLAIR volumes and, in its derivatives, lesion masks",
        description="Make a data set of the FLAIR volumes of a BIDS data set. Every volume needs a lesion mask; with "
        "--unlabelled those without one are to be predicted.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="BIDS data set")
    add_dataset_arguments(parser)
    parser.add_argument(
        "--derivatives", nargs="+", type=Path, default=[], metavar="DIR", help="masks that lie elsewhere than in SOURCE"
    )
    parser.add_argument(
        "--mask",
        nargs="+",
        type=_entity,
        default=[],
        metavar="ENTITY=VALUE",
        help="which masks are those of lesions, such as desc=expert (those whose label or desc speaks of WMH or "
        "lesions)",
    )
    parser.add_argument("--unlabelled", action="store_true", help="make volumes without a lesion mask cases to predict")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Find the volumes, make the data set, say what is in it."""
    from nnunetv2_sa_unet.commands.passed_over import print_passed_over
    from nnunetv2_sa_unet.convert.bids import find_cases
    from nnunetv2_sa_unet.convert.raw_dataset import Recipe, make_dataset
    from nnunetv2_sa_unet.images.processes import default_processes

    folder = new_dataset(arguments.dataset, "BIDS")
    source: Path = arguments.source.absolute()
    derivatives = [path.absolute() for path in arguments.derivatives]
    for path in (source, *derivatives):
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; expected a BIDS data set")
    mask = dict(arguments.mask)
    found = find_cases(source, derivatives, mask, arguments.unlabelled)
    print_passed_over(found.passed_over)
    for remark in found.remarks:
        print(f"note: {remark}")
    recipe = Recipe(
        ("FLAIR",),
        arguments.other,
        arguments.link,
        {"description": f"FLAIR volumes of the BIDS data set {source.name}"},
        {"format": "bids", "mask": mask},
    )
    cases, processes = found.cases, arguments.processes or default_processes()
    made = make_dataset(folder, source, cases, found.problems, recipe, arguments.force, processes, found.passed_over)
    training = sum(case.training for case in cases)
    print(f"{training} training cases with a lesion mask, {len(cases) - training} cases to predict")
    print_result(folder, made)
    number = dataset_number(folder.name)
    if training:
        print(f"Next:    nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
    if training < len(cases):
        print(f"Predict: nnUNetv2_predict -i {folder / 'imagesTs'} -o PREDICTIONS -d DATASET_OF_THE_MODEL …")
        print(f"Back:    nnUNetv2_sa_unet convert to-bids PREDICTIONS -d {number} -o DERIVATIVE")
    return 0 if all(each.harmless for each in found.passed_over) else 1


def _entity(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"expected ENTITY=VALUE such as desc=expert, found {word}")
    return key, value
