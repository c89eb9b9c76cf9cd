"""The words of the commands that make masks: which model, how it is used, and what of its probabilities is WMH."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_sa_unet.commands.arguments import add_device, add_trust
from nnunetv2_sa_unet.devices import Device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.limits import MIN_VOLUME, STEP_SIZE, THRESHOLD, Limit
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS, BoxedModel, boxed_at, find_model

if TYPE_CHECKING:
    from nnunetv2_sa_unet.segmentation.model import Segmenter

__all__ = ["add_decision", "add_model", "add_pace", "load_segmenter", "within"]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add which model: ``-m`` and ``-f``."""
    parser.add_argument(
        "-m",
        dest="model",
        default=DEFAULT,
        metavar="MODEL",
        help=f"name of a model in the box ({', '.join(MODELS)}), or nnU-Net's model folder "
        f"(TRAINER__PLANS__CONFIGURATION) ({DEFAULT})",
    )
    parser.add_argument("-f", dest="folds", nargs="+", metavar="FOLD", help="folds to average (all that are trained)")


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Add how probabilities become a mask: ``--threshold`` and ``--min-volume``."""
    parser.add_argument(
        "--threshold",
        type=within(THRESHOLD),
        metavar="T",
        help="WMH from this probability on (the most probable label)",
    )
    parser.add_argument(
        "--min-volume",
        type=within(MIN_VOLUME),
        metavar="MM3",
        help="drop lesions of less than this many mm³ (keep all)",
    )


def add_pace(parser: argparse.ArgumentParser) -> None:
    """Add how the model is run: ``-device``, ``-step_size``, ``--disable_tta``, ``-chk`` and ``--trust-model``."""
    add_device(parser, "compute")
    parser.add_argument(
        "-step_size",
        type=within(STEP_SIZE),
        default=0.5,
        metavar="STEP",
        help="of the sliding window, in patches (0.5)",
    )
    parser.add_argument("--disable_tta", action="store_true", help="do not mirror: faster, less accurate")
    parser.add_argument("-chk", dest="checkpoint", metavar="NAME", help="file of each fold (checkpoint_final.pth)")
    add_trust(parser)


def load_segmenter(arguments: argparse.Namespace, device: Device) -> tuple[Segmenter, Path]:
    """Load the model that the words name, say what the user did not choose, and return it with its folder.

    Raises:
        InputError: it cannot be loaded, or gives no probability and ``--threshold`` or ``--probabilities`` needs one.
    """
    from nnunetv2_sa_unet.segmentation.model import Segmenter

    model, checkpoint = find_model(arguments.model, arguments.checkpoint)
    boxed = boxed_at(model)
    if arguments.trust_model and boxed is None:
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
    _introduce(boxed, device, arguments.threshold)
    words = [word for word in ("--probabilities", "--threshold") if getattr(arguments, word[2:], None)]
    if words and not segmenter.gives_probability:
        raise InputError(
            f"{arguments.model}: gives no probability of WMH (it predicts regions none of which is label 1 alone): "
            f"leave out {' and '.join(words)}"
        )
    return segmenter, model


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


def within(limit: Limit) -> Callable[[str], float]:
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
