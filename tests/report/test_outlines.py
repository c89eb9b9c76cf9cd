"""Outlines enclose exactly the pixels of a mask."""

from __future__ import annotations

import re

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.path import Path as Outline

from nnunetv2_sa_unet.report.outlines import UNITS, svg_path


def lines(path: str) -> list[np.ndarray]:
    """The corners of each closed line of a path."""
    closed = []
    for line in path.split("z")[:-1]:
        steps = np.array(re.findall(r"(-?\d+) (-?\d+)", line), int)
        closed.append(np.cumsum(steps, axis=0))
    return closed


def inside(path: str, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres a path encloses, by the rule of odd and even."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.stack([x.ravel(), y.ravel()], -1) * UNITS + UNITS / 2
    count = np.zeros(len(centres), int)
    for line in lines(path):
        count += Outline(np.vstack([line, line[:1]])).contains_points(centres)
    return (count % 2 == 1).reshape(shape)


@pytest.mark.parametrize("seed", range(5))
def test_the_centres_of_the_mask_are_enclosed_and_no_others(seed: int) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.4
    np.testing.assert_array_equal(inside(svg_path(mask), mask.shape), mask)


def test_a_mask_that_fills_its_slice_is_closed_along_the_border() -> None:
    assert inside(svg_path(np.ones((3, 4), bool)), (3, 4)).all()
    assert svg_path(np.zeros((3, 4), bool)) == ""


def test_it_is_the_line_that_the_pictures_of_this_package_have() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:7] = mask[5, 5] = True
    contour = matplotlib.figure.Figure().subplots().contour(mask, levels=[0.5])
    (expected,) = (polygon for path in contour.get_paths() for polygon in path.to_polygons())
    (found,) = lines(svg_path(mask))
    # matplotlib keeps the points of straight lines and has the centre of the first pixel at 0.
    corners = {tuple(point) for point in (found - 1) / UNITS}
    assert len(corners) == len(found)
    assert corners <= {tuple(point) for point in expected}
