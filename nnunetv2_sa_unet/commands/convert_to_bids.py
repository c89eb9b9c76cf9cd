"""``nnUNetv2_sa_unet convert to-bids``: predictions to a BIDS derivative."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.datasets import dataset_name, required_folder

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``convert to-bids`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "to-bids",
        help="predictions for a data set that came from BIDS, to a BIDS derivative",
        description="Write nnU-Net's predictions for the cases of a converted BIDS data set as masks "
        "sub-X[_ses-Y]_desc-wmh_mask.nii.gz of a BIDS derivative.",
    )
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="nnU-Net's output folder")
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="data set that convert bids made")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="DERIVATIVE", help="where to write")
    parser.add_argument("--source", type=Path, metavar="SOURCE", help="the BIDS data set, for the derivative's links")
    parser.add_argument("--force", action="store_true", help="replace masks that differ")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Write the derivative."""
    from nnunetv2_sa_unet.convert.to_bids import write_derivative

    dataset = Path(required_folder("nnUNet_raw")) / dataset_name(arguments.dataset)
    masks = write_derivative(arguments.output, arguments.predictions, dataset, arguments.source, arguments.force)
    print(f"{len(masks)} masks in {arguments.output}")
    return 0
