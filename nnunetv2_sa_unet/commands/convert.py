"""``nnUNetv2_sa_unet convert``: other people's folders to nnU-Net's, and back."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.arguments import at_least
from nnunetv2_sa_unet.datasets import required_folder
from nnunetv2_sa_unet.errors import InputError

if TYPE_CHECKING:
    from nnunetv2_sa_unet.convert.raw_dataset import Made

__all__ = ["add_dataset_arguments", "add_parser", "new_dataset", "print_result", "run"]

FORMATS = ("bids", "to-bids", "wmh-challenge")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``convert`` and its formats to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "convert",
        help="make a data set for nnU-Net of the WMH challenge or of BIDS, and BIDS of predictions",
        description="Convert folders. Everything is checked before anything is written.",
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name in FORMATS:
        module = importlib.import_module(f"nnunetv2_sa_unet.commands.convert_{name.replace('-', '_')}")
        module.add_parser(formats).set_defaults(convert=module.run)
    return parser


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every format that makes a data set asks for."""
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="number or name of the new data set")
    parser.add_argument(
        "--other",
        choices=("ignore", "class", "background"),
        default="ignore",
        help="what label 2, other pathology, is in training: nnU-Net's ignore label (default), a third class as in "
        "the paper, or background",
    )
    parser.add_argument("--link", action="store_true", help="link to images instead of copying them")
    parser.add_argument("--force", action="store_true", help="replace a data set that differs")
    parser.add_argument("-np", dest="processes", type=at_least(1), metavar="N", help="processes (one a core, up to 8)")


def run(arguments: argparse.Namespace) -> int:
    """Convert from or to the named format."""
    status: int = arguments.convert(arguments)
    return status


def print_result(folder: Path, made: Made) -> None:
    """Say how files were read, where the data set is, and what is to be known of one that was there."""
    from nnunetv2_sa_unet.convert.raw_dataset import reader

    for remark in made.remarks:
        print(f"note: {remark}")
    print(f"Written: {folder}" if made.is_new else f"There already, and nothing was changed: {folder}")
    if reader(folder) is None:
        print(
            "note: an older version made it: nnU-Net reads its images in the order of their voxels and does not turn "
            "them to RAS; convert it anew with --force or another -d before you train new models"
        )


def new_dataset(word: str, name: str) -> Path:
    """The folder in ``nnUNet_raw`` of a data set that is to be made.

    Args:
        word: the data set's number, or its full name.
        name: what follows the number where only that is given.

    Raises:
        InputError: ``nnUNet_raw`` is not set, or the word is neither.
    """
    raw = Path(required_folder("nnUNet_raw"))
    if re.fullmatch(r"[0-9]{1,3}", word):
        return raw / f"Dataset{int(word):03d}_{name}"
    if re.fullmatch(r"Dataset[0-9]{3}_[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*", word):
        return raw / word
    raise InputError(f"-d: found {word}, expected a number from 0 to 999 or a name such as Dataset500_{name}")
