"""Kinds of words that several commands read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from nnunetv2_sa_unet.devices import DEVICES
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.weights.registry import MODELS, WEIGHTS_NAME

__all__ = ["add_device", "add_trust", "at_least", "find_model"]


def add_device(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``-device``, whose word ``devices.choose_device`` reads."""
    parser.add_argument(
        "-device", choices=DEVICES, default="auto", help=f"where to {what} (auto: a GPU that works, else the CPU)"
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-model``."""
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load a model whose files may run code of their own: only if you trust where it is from",
    )


def find_model(word: str, checkpoint: str | None) -> tuple[Path, str]:
    """The folder of the model that a word names, and the file in each of its folds' folders.

    Args:
        word: the name of a model in the box, or nnU-Net's model folder; a folder of such a name needs a ``./``.
        checkpoint: as the user named it; None for the usual one.

    Raises:
        InputError: there is neither.
    """
    if word in MODELS:
        return MODELS[word].folder, checkpoint or WEIGHTS_NAME
    if not Path(word).is_dir():
        raise InputError(
            f"{word}: no model in the box has this name (there are: {', '.join(MODELS)}), and there is no such folder; "
            "name one of these, or nnU-Net's model folder (TRAINER__PLANS__CONFIGURATION)"
        )
    return Path(word), checkpoint or "checkpoint_final.pth"


def at_least(smallest: int) -> Callable[[str], int]:
    """The ``type`` of a word that is a whole number, ``smallest`` or more."""

    def read(word: str) -> int:
        try:
            number = int(word)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {smallest}, found {word}")
        return number

    return read
