"""Kinds of words that several commands read."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["at_least"]


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
