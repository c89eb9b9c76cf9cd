"""Outlines of masks as paths of SVG: sharp at any size, and to be hidden without drawing again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["UNITS", "svg_path"]

#: Units of a path in a pixel. Outlines run through the middle of pixel edges: two make all numbers whole.
UNITS = 2


def svg_path(mask: BoolArray) -> str:
    """The outline of a mask as the ``d`` of an SVG path, "" for an empty mask.

    It is the line that matplotlib's ``contour`` draws at 0.5, halfway between the centres of pixels inside and outside.

    Args:
        mask: (rows, columns); it is drawn into a view box of ``UNITS`` · columns by ``UNITS`` · rows.
    """
    if not mask.any():
        return ""
    # A margin closes the outlines of what runs into the border.
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    return "".join(_closed(_corners(np.rint(np.asarray(line) * UNITS).astype(int) - UNITS + 1)) for line in lines)


def _corners(points: NDArray[np.int_]) -> list[tuple[int, int]]:
    """The points of a closed line at which it turns."""
    steps = np.diff(points, axis=0)
    turns = (steps[:, 0] * np.roll(steps[:, 1], 1) - steps[:, 1] * np.roll(steps[:, 0], 1)) != 0
    return [(int(x), int(y)) for x, y in points[:-1][turns]]


def _closed(corners: Iterable[tuple[int, int]]) -> str:
    """A closed line in steps, which take fewer characters than places."""
    words = []
    last = (0, 0)
    for index, (x, y) in enumerate(corners):
        words.append(f"{'M' if index == 0 else 'l'}{x - last[0]} {y - last[1]}")
        last = (x, y)
    return "".join(words) + "z"
