"""``nnUNetv2_sa_unet segment``: lesion masks, volumes and a table of any FLAIR images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.model_words import add_decision, add_model, add_pace, load_segmenter, within
from nnunetv2_sa_unet.commands.outcome import INTERRUPTED, print_outcome
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import held, make_writable
from nnunetv2_sa_unet.segmentation.limits import CLEAR_ENDS
from nnunetv2_sa_unet.text import counted, printable

if TYPE_CHECKING:
    from nnunetv2_sa_unet.images.folders import PassedOver
    from nnunetv2_sa_unet.segmentation.inputs import Found
    from nnunetv2_sa_unet.segmentation.model import Segmenter
    from nnunetv2_sa_unet.segmentation.record import Segmentation

__all__ = ["add_options", "add_parser", "conclude", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``segment`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "segment",
        help="lesion masks and a table of volumes from any FLAIR images",
        description="Segment FLAIR images with a trained model and write a mask of each, volumes.csv with a row a "
        "subject, volumes.json with how it was made, methods.md with that in words for a paper, and report.html, a "
        "page to check the masks by eye. What was done before is kept: after an interruption give the same command "
        "again. The status is 0 only if every subject was segmented.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="image files, folders of them, BIDS data sets and folders of DICOM series, in any mix",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="folder to write to")
    parser.add_argument(
        "--dicom-seg", action="store_true", help="write the masks of DICOM series as DICOM Segmentation objects too"
    )
    parser.add_argument("--no-report", action="store_true", help="make no page to check the masks by eye")
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what holds for images of every kind."""
    add_model(parser)
    parser.add_argument("--probabilities", action="store_true", help="write maps of the probability of WMH too")
    add_decision(parser)
    parser.add_argument(
        "--clear-ends",
        type=within(CLEAR_ENDS),
        metavar="FRACTION",
        help="nothing is WMH in so much of the axial slices at either end (none; Li et al. 2018: 0.125)",
    )
    parser.add_argument(
        "--exclude", type=Path, metavar="MASK", help="nothing is WMH in this mask; or a folder of masks by subject"
    )
    parser.add_argument(
        "--regions",
        nargs="?",
        const="voxel",
        choices=("voxel", "confluent"),
        metavar="RULE",
        help="volumes by region and side, the intracranial volume and a map of regions too: each voxel by its own "
        "distances (voxel, if no RULE is given), or each lesion as a whole (confluent)",
    )
    parser.add_argument("--force", action="store_true", help="start over where other results are in OUT")
    add_pace(parser)


def run(arguments: argparse.Namespace, choose: Callable[[Found], Found] | None = None) -> int:
    """Load the model, find the subjects, segment them, write the table.

    Args:
        arguments: of :func:`add_parser`.
        choose: takes some of the subjects; None takes all.
    """
    from nnunetv2_sa_unet.commands.passed_over import print_passed_over
    from nnunetv2_sa_unet.images.bids import describe_derivative
    from nnunetv2_sa_unet.images.dicom_seg import has_highdicom
    from nnunetv2_sa_unet.report import refuse_page_of_others, write_report
    from nnunetv2_sa_unet.segmentation.exclusion import exclusion_masks
    from nnunetv2_sa_unet.segmentation.folder import RunFolder
    from nnunetv2_sa_unet.segmentation.inputs import ALTERNATIVES_FOLDER, find_subjects, is_bids
    from nnunetv2_sa_unet.segmentation.methods import METHODS_NAME
    from nnunetv2_sa_unet.segmentation.preparation import Job
    from nnunetv2_sa_unet.segmentation.record_files import TABLE_NAME
    from nnunetv2_sa_unet.segmentation.run import segment_all

    if arguments.dicom_seg and not has_highdicom():
        raise InputError(
            "--dicom-seg: needs highdicom: install the extra with pip install 'nnunetv2-sa-unet[dicom-seg]'"
        )
    device = choose_device(arguments.device)
    output: Path = arguments.output.absolute()
    if any(output.resolve() == path.resolve() for path in arguments.inputs):
        raise InputError(f"-o {output}: is an input too, and masks would become images; choose another folder")
    segmenter, model = load_segmenter(arguments, device)
    found = find_subjects(arguments.inputs, segmenter.channels)
    found = found if choose is None else choose(found)
    subjects = found.subjects
    print_passed_over(found.passed_over)
    if arguments.dicom_seg:
        others = [subject.name for subject in subjects if not subject.is_dicom]
        if others:
            print(f"--dicom-seg: {len(others)} of {len(subjects)} subjects are no DICOM series and get no DICOM object")
    masks = {}
    if arguments.exclude is not None:
        masks = exclusion_masks(arguments.exclude.absolute(), [subject.name for subject in subjects])
        print(f"--exclude: masks of {len(masks)} of {len(subjects)} subjects")
    make_writable(output)
    with held(output):
        if not arguments.no_report:
            refuse_page_of_others(output)
        folder = RunFolder(
            output,
            _header(arguments, segmenter, device.name, found.passed_over),
            subjects,
            masks,
            arguments.force,
            lambda line: print(line, flush=True),
        )
        options = folder.header.options
        if options.probabilities and not arguments.probabilities:
            print(f"{output}: holds maps of probabilities, and gets them of new subjects too")
        if options.regions and not arguments.regions:
            print(f"{output}: holds regions by the rule {options.regions}, and gets them of new subjects too")
        if segmenter.orientation.source == "assumed":
            print(f"{model}: does not say how its training images were stored; {segmenter.orientation.code} assumed")
        folds = counted(len(segmenter.model.folds), "fold")
        print(f"{counted(len(subjects), 'subject')}, {folds} on {device.name}", flush=True)
        job = Job(segmenter, options, output, masks, folder.earlier, folder.header.made_with)
        try:
            segment_all(job, subjects, folder.add)
        except KeyboardInterrupt:
            stopped = folder.finish()
            print(
                f"stopped after {len(stopped.subjects)} of {len(subjects)} subjects, which are in "
                f"{output / TABLE_NAME}; give the same command again to go on"
            )
            return INTERRUPTED
        studies = [path for path in arguments.inputs if is_bids(path)]
        if studies:
            describe_derivative(
                output,
                studies[0] if len(studies) == 1 else None,
                ["volumes.*", METHODS_NAME, "report*", ALTERNATIVES_FOLDER],
            )
        segmentation = folder.finish()
        status = conclude(output, segmentation)
        if not arguments.no_report:
            print(f"wrote {write_report(output)}")
        return status if found.is_complete else 1


def conclude(output: Path, segmentation: Segmentation) -> int:
    """Say how many subjects were segmented, and which are worth a look; the status of the command."""
    from nnunetv2_sa_unet.segmentation.record_files import TABLE_NAME

    statuses = ((row.subject, row.status) for row in segmentation.subjects)
    return print_outcome(statuses, f"subjects segmented; wrote {output / TABLE_NAME}")


def _header(
    arguments: argparse.Namespace, segmenter: Segmenter, device: str, passed_over: Sequence[PassedOver]
) -> Segmentation:
    from nnunetv2_sa_unet.segmentation.header import run_header
    from nnunetv2_sa_unet.segmentation.record import LeftOut, Options

    options = Options(
        threshold=arguments.threshold,
        min_volume_mm3=arguments.min_volume,
        clear_ends=arguments.clear_ends,
        exclude=None if arguments.exclude is None else str(arguments.exclude.absolute()),
        probabilities=arguments.probabilities,
        regions=arguments.regions,
        dicom_seg=arguments.dicom_seg,
        step_size=arguments.step_size,
        mirroring=segmenter.mirrors,
        device=device,
    )
    left_out = [LeftOut(path=printable(each.path), reason=each.reason, harmless=each.harmless) for each in passed_over]
    return run_header(segmenter, options, left_out)
