"""Axial slices at the ends of a volume, in which nothing is WMH."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.ends import describe_ends, end_slices


@pytest.mark.parametrize(("slices", "count"), [(48, 6), (83, 10), (8, 1), (15, 1)])
def test_an_eighth_of_the_slices_is_cleared_at_either_end(slices: int, count: int) -> None:
    marked = end_slices((slices, 4, 5), "LPS", 0.125)

    assert marked.all((1, 2)).tolist() == [z < count or z >= slices - count for z in range(slices)]
    assert marked.any((1, 2)).sum() == 2 * count


@pytest.mark.parametrize(("code", "axis"), [("LPS", 0), ("RAI", 0), ("LSP", 1), ("PIR", 1), ("SAL", 2), ("IPL", 2)])
def test_axial_slices_follow_each_other_along_the_axis_that_runs_up_or_down(code: str, axis: int) -> None:
    shape = (20, 30, 40)
    marked = np.moveaxis(end_slices(shape, code, 0.1), axis, 0)

    assert marked.all((1, 2)).nonzero()[0].tolist() == [
        *range(shape[axis] // 10),
        *range(shape[axis] - shape[axis] // 10, shape[axis]),
    ]


def test_the_row_says_what_was_cleared() -> None:
    assert describe_ends((48, 4, 5), "LPS", 0.125) == (
        "nothing is WMH in the first and the last 6 of 48 axial slices (ends cleared by 0.125)"
    )


def test_a_volume_with_too_few_slices_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"clearing the ends by 0.125: found 7 axial slices, of which that is less than one"
    ):
        describe_ends((7, 4, 5), "LPS", 0.125)
