"""``nnUNetv2_sa_unet segment``: lesion masks, volumes and a table of any FLAIR images."""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.commands.arguments import add_device, add_trust
from nnunetv2_sa_unet.devices import Device, choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import held, make_writable
from nnunetv2_sa_unet.segmentation.limits import CLEAR_ENDS, MIN_VOLUME, STEP_SIZE, THRESHOLD, Limit
from nnunetv2_sa_unet.text import printable
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS, BoxedModel, boxed_at, find_model

if TYPE_CHECKING:
    from nnunetv2_sa_unet.images.folders import PassedOver
    from nnunetv2_sa_unet.segmentation.inputs import Found
    from nnunetv2_sa_unet.segmentation.model import Segmenter
    from nnunetv2_sa_unet.segmentation.record import Segmentation

__all__ = ["add_options", "add_parser", "conclude", "run"]

#: Status of a command that Ctrl-C stopped, as shells have it.
INTERRUPTED = 130


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
    parser.add_argument(
        "-m",
        dest="model",
        default=DEFAULT,
        metavar="MODEL",
        help=f"name of a model in the box ({', '.join(MODELS)}), or nnU-Net's model folder "
        f"(TRAINER__PLANS__CONFIGURATION) ({DEFAULT})",
    )
    parser.add_argument("-f", dest="folds", nargs="+", metavar="FOLD", help="folds to average (all that are trained)")
    parser.add_argument("--probabilities", action="store_true", help="write maps of the probability of WMH too")
    parser.add_argument(
        "--threshold",
        type=_within(THRESHOLD),
        metavar="T",
        help="WMH from this probability on (the most probable label)",
    )
    parser.add_argument(
        "--min-volume",
        type=_within(MIN_VOLUME),
        metavar="MM3",
        help="drop lesions of less than this many mm³ (keep all)",
    )
    parser.add_argument(
        "--clear-ends",
        type=_within(CLEAR_ENDS),
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
    add_device(parser, "compute")
    parser.add_argument(
        "-step_size",
        type=_within(STEP_SIZE),
        default=0.5,
        metavar="STEP",
        help="of the sliding window, in patches (0.5)",
    )
    parser.add_argument("--disable_tta", action="store_true", help="do not mirror: faster, less accurate")
    parser.add_argument("-chk", dest="checkpoint", metavar="NAME", help="file of each fold (checkpoint_final.pth)")
    add_trust(parser)


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
    from nnunetv2_sa_unet.segmentation.model import Segmenter
    from nnunetv2_sa_unet.segmentation.preparation import Job
    from nnunetv2_sa_unet.segmentation.record_files import TABLE_NAME
    from nnunetv2_sa_unet.segmentation.run import segment_all

    if arguments.dicom_seg and not has_highdicom():
        raise InputError(
            "--dicom-seg: needs highdicom: install the extra with pip install 'nnunetv2-sa-unet[dicom-seg]'"
        )
    device = choose_device(arguments.device)
    model, checkpoint = find_model(arguments.model, arguments.checkpoint)
    output: Path = arguments.output.absolute()
    if any(output.resolve() == path.resolve() for path in arguments.inputs):
        raise InputError(f"-o {output}: is an input too, and masks would become images; choose another folder")
    if arguments.trust_model and boxed_at(model) is None:
        print(f"--trust-model: {model} is unpickled and may run code of its own")
    segmenter = Segmenter(
        model,
        arguments.folds,
        checkpoint,
        device.name,
        arguments.step_size,
        not arguments.disable_tta,
        arguments.trust_model,
    )
    _introduce(boxed_at(model), device, arguments.threshold)
    if (arguments.probabilities or arguments.threshold is not None) and not segmenter.gives_probability:
        raise InputError(
            f"{arguments.model}: gives no probability of WMH (it predicts regions none of which is label 1 alone): "
            "leave out --probabilities and --threshold"
        )
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
        print(f"{len(subjects)} subjects, {len(segmenter.model.folds)} folds on {device.name}", flush=True)
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

    names: dict[str, list[str]] = {"ok": [], "warning": [], "failed": []}
    for subject in segmentation.subjects:
        names[subject.status].append(subject.subject)
    segmented = len(segmentation.subjects) - len(names["failed"])
    print(f"{segmented} of {len(segmentation.subjects)} subjects segmented; wrote {output / TABLE_NAME}")
    for status, what in (("warning", "look at"), ("failed", "failed")):
        if names[status]:
            print(f"{what} {len(names[status])}: {', '.join(names[status])} (why: see the column message)")
    return 1 if names["failed"] else 0


def _introduce(boxed: BoxedModel | None, device: Device, threshold: float | None) -> None:
    """Say what the user did not choose: the model in the box and how it decides, and why a CPU computes."""
    if boxed is not None:
        decides = "" if threshold is not None else f"; WMH from a probability of {boxed.threshold:g} on, as trained"
        print(
            f"model in the box: {boxed.name}, version {boxed.version}{decides}; not for clinical use (what it is and "
            f"what it reaches: nnUNetv2_sa_unet model card {boxed.name})"
        )
    if device.reason:
        pace = f"{boxed.pace} as measured" if boxed is not None else "the lines below say how long it will take"
        print(f"{device.reason}: {pace}", flush=True)


def _header(
    arguments: argparse.Namespace, segmenter: Segmenter, device: str, passed_over: Sequence[PassedOver]
) -> Segmentation:
    from importlib.metadata import version

    from nnunetv2_sa_unet.segmentation.record import SEGMENTATION_VERSION, LeftOut, Options, Segmentation

    return Segmentation(
        nnunetv2_sa_unet=__version__,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("nnunetv2", "torch", "SimpleITK", "numpy")},
        },
        model=segmenter.model,
        options=Options(
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
        ),
        segmentation_version=SEGMENTATION_VERSION,
        subjects=[],
        left_out=[
            LeftOut(path=printable(each.path), reason=each.reason, harmless=each.harmless) for each in passed_over
        ],
    )


def _within(limit: Limit) -> Callable[[str], float]:
    """The ``type`` of a word that is a number within a limit."""

    def read(word: str) -> float:
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not limit.allows(number):
            raise argparse.ArgumentTypeError(f"expected {limit.expected}, found {word}")
        return number

    return read
