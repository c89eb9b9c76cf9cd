"""Kinds of words that several commands read."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from nnunetv2_sa_unet.devices import DEVICES

__all__ = ["add_device", "add_trust", "at_least"]


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
