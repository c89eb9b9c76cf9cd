"""``nnUNetv2_sa_unet bids-app``: ``segment`` with the words of BIDS Apps."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.commands import segment
from nnunetv2_sa_unet.commands.arguments import at_least
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import held

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``bids-app`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bids-app",
        help="segment a BIDS data set, with the words of BIDS Apps",
        description="Segment the FLAIR of a BIDS data set as nnUNetv2_sa_unet segment does. At the level participant: "
        "masks of the participants that are named, beside those that are there. At the level group: the table and the "
        "page of all that are there; the status is 0 only if these are all participants of the data set.",
    )
    parser.add_argument("study", type=Path, metavar="BIDS_DIR", help="the BIDS data set")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder of the derivative")
    parser.add_argument("level", choices=("participant", "group"), help="of the analysis")
    parser.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="participants, with sub- or without (all); participant level",
    )
    parser.add_argument(
        "--session-label",
        "--session_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="sessions, with ses- or without (all); participant level",
    )
    parser.add_argument(
        "--n-cpus",
        "--n_cpus",
        "--nprocs",
        dest="cpus",
        type=at_least(1),
        metavar="N",
        help="cores that the network computes on (all)",
    )
    parser.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validator",
        action="store_true",
        help="changes nothing: no validator is run, and what cannot be used is named",
    )
    parser.add_argument("--version", action="version", version=f"nnunetv2-sa-unet {__version__}")
    segment.add_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Segment participants, or make the table and the page of all."""
    from nnunetv2_sa_unet.segmentation.inputs import is_bids
    from nnunetv2_sa_unet.segmentation.participants import chosen

    study: Path = arguments.study.absolute()
    if not study.is_dir():
        raise InputError(f"{study}: there is no such folder")
    if not is_bids(study):
        raise InputError(f"{study}: not a BIDS data set: there is no dataset_description.json in it")
    labels = arguments.participant_label, arguments.session_label
    if arguments.level == "group":
        if any(labels):
            raise InputError("group: is over all participants: leave out --participant-label and --session-label")
        return _group(study, arguments.output)
    if arguments.force and any(labels):
        raise InputError(
            "--force: removes the masks of all participants: leave out --participant-label and --session-label, or "
            "choose another OUT_DIR"
        )
    if arguments.cpus is not None:
        # nnU-Net reads it when it is imported, and computes with as many threads.
        os.environ["nnUNet_def_n_proc"] = str(arguments.cpus)
    words = argparse.Namespace(**{**vars(arguments), "inputs": [study], "dicom_seg": False, "no_report": True})
    return segment.run(words, partial(chosen, study=study, participants=labels[0], sessions=labels[1]))


def _group(study: Path, output: Path) -> int:
    from nnunetv2_sa_unet.report import write_report
    from nnunetv2_sa_unet.segmentation.inputs import find_subjects
    from nnunetv2_sa_unet.segmentation.record_files import read_segmentation, write_segmentation

    found = find_subjects([study], 1).subjects
    with held(output):
        segmentation = read_segmentation(output)
        # Of a run that was killed a journal is there.
        write_segmentation(output, segmentation)
        status = segment.conclude(output, segmentation)
        print(f"wrote {write_report(output)}")
    there = {row.subject for row in segmentation.subjects}
    missing = [subject.name for subject in found if subject.name not in there]
    if missing:
        print(f"not segmented yet {len(missing)} of {len(found)}: {', '.join(missing)} (give the level participant)")
    return 1 if missing else status
