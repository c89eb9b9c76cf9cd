"""The first and last axial slices, where a post-processing of Li et al. (2018) lets nothing be WMH.

They cleared 6 of 48 slices at either end, 11 of 83, and an eighth in the program that they published: below and above
the brain, networks that see one slice at a time find lesions in what is bright there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["describe_ends", "end_slices"]


def end_slices(shape: Sequence[int], code: str, fraction: float) -> BoolArray:
    """Mark the slices at both ends.

    Args:
        shape: of the stored array (z, y, x).
        code: where its axes run, first the fastest one, such as ``LPS``; the axial slices follow each other along that
            which runs up or down.
        fraction: of the slices, at either end; rounded down.
    """
    axis = _axial(code)
    count = int(fraction * shape[axis])
    marked = np.zeros(shape, bool)
    slices = np.moveaxis(marked, axis, 0)
    slices[:count] = slices[len(slices) - count :] = True
    return marked


def describe_ends(shape: Sequence[int], code: str, fraction: float) -> str:
    """Say what is cleared, for the row of the subject; the arguments are those of :func:`end_slices`.

    Raises:
        InputError: nothing is: the volume has too few slices.
    """
    total = shape[_axial(code)]
    count = int(fraction * total)
    if count == 0:
        raise InputError(
            f"clearing the ends by {fraction:g}: found {total} axial slices, of which that is less than one at either "
            "end: leave it out, or give a larger fraction"
        )
    return f"nothing is WMH in the first and the last {count} of {total} axial slices (ends cleared by {fraction:g})"


def _axial(code: str) -> int:
    """The axis of the array that runs up or down."""
    return 2 - next(index for index, letter in enumerate(code) if letter in "SI")
