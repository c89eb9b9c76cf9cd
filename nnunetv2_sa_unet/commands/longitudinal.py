"""``nnUNetv2_sa_unet longitudinal``: what changed between two visits of each subject."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.commands.model_words import add_decision, add_model, add_pace, load_segmenter
from nnunetv2_sa_unet.commands.outcome import INTERRUPTED, print_outcome
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import held, make_writable
from nnunetv2_sa_unet.text import counted

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``longitudinal`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "longitudinal",
        help="what changed between two visits: new, enlarged, stable, shrunk and gone lesions",
        description="Register the FLAIR images of two visits half-way, segment both alike and match their lesions: "
        "changes.csv with a row a pair of visits, a map and a table of the lesions of each, changes.json with how it "
        "was made, methods.md with that in words for a paper, and changes.html, a page with the two visits side by "
        "side. What was done before is kept: after an interruption give the same command again. The status is 0 only "
        "if every pair was compared.",
    )
    parser.add_argument(
        "bids", nargs="?", type=Path, metavar="BIDS", help="data set whose subjects have several sessions"
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="TABLE",
        help="instead: a table (CSV or TSV) with the columns subject, first and second, the paths of two FLAIR "
        "images: files, or folders of one DICOM series each",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="folder to write to")
    add_model(parser)
    add_decision(parser)
    parser.add_argument("--no-report", action="store_true", help="make no page")
    parser.add_argument("--force", action="store_true", help="start over where other results are in OUT")
    add_pace(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Find the pairs, load the model, compare."""
    from nnunetv2_sa_unet.commands.passed_over import print_passed_over
    from nnunetv2_sa_unet.images.folders import PassedOver
    from nnunetv2_sa_unet.longitudinal.folder import TABLE_NAME
    from nnunetv2_sa_unet.longitudinal.pairs import pairs_of_bids, pairs_of_table
    from nnunetv2_sa_unet.longitudinal.run import compare_visits
    from nnunetv2_sa_unet.segmentation.header import run_header
    from nnunetv2_sa_unet.segmentation.record import Options

    if (arguments.bids is None) == (arguments.pairs is None):
        raise InputError("give either a BIDS data set or --pairs TABLE")
    passed_over: list[PassedOver] = []
    if arguments.bids is not None:
        pairs, passed_over = pairs_of_bids(arguments.bids)
    else:
        pairs = pairs_of_table(arguments.pairs)
    output: Path = arguments.output.absolute()
    device = choose_device(arguments.device)
    segmenter, _ = load_segmenter(arguments, device)
    if segmenter.channels > 1:
        raise InputError(f"{arguments.model}: needs {segmenter.channels} channels; expected a model of FLAIR alone")
    print_passed_over(passed_over)
    make_writable(output)
    options = Options(
        threshold=arguments.threshold,
        min_volume_mm3=arguments.min_volume,
        step_size=arguments.step_size,
        mirroring=segmenter.mirrors,
        device=device.name,
    )
    folds = counted(len(segmenter.model.folds), "fold")
    print(f"{counted(len(pairs), 'pair')} of visits, {folds} on {device.name}", flush=True)
    with held(output):
        try:
            rows = compare_visits(
                output,
                pairs,
                segmenter,
                run_header(segmenter, options),
                force=arguments.force,
                page=not arguments.no_report,
                say=lambda line: print(line, flush=True),
            )
        except KeyboardInterrupt:
            print("stopped; what is done is kept: give the same command again to go on")
            return INTERRUPTED
    status = print_outcome(((row.pair, row.status) for row in rows), f"pairs compared; wrote {output / TABLE_NAME}")
    return status if all(each.harmless for each in passed_over) else 1
