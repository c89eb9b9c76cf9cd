"""``nnUNetv2_sa_unet report``: a page to check segmented subjects by eye."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.files import held

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``report`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        help="make a page to check segmented subjects by eye",
        description="Make report.html in a folder that nnUNetv2_sa_unet segment wrote: a table and the distribution of "
        "volumes, and for each subject slices with the outlines of lesions, what is worth a look, and an interactive "
        "viewer. Everything that it shows lies in the folder report beside it; it needs no network.",
    )
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder that segment wrote")
    parser.add_argument(
        "--references",
        type=Path,
        metavar="FOLDER",
        help="reference masks, named after the subjects: adds the challenge's metrics, false positives and misses",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is."""
    from nnunetv2_sa_unet.report import write_report

    with held(arguments.folder):
        print(f"wrote {write_report(arguments.folder, arguments.references)}")
    return 0
