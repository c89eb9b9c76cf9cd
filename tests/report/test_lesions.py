"""Every lesion is measured, placed and compared by itself."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_sa_unet.report.lesions import find_lesions, touched

SHAPE = (6, 12, 10)
#: 1 × 2 × 5 mm: 0.01 ml a voxel.
AFFINE = np.array([[-1.0, 0, 0, 50], [0, -2, 0, 60], [0, 0, 5, -30], [0, 0, 0, 1]])


def boxes(*places: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for place in places:
        mask[place] = True
    return mask


SMALL = (slice(1, 2), slice(3, 4), slice(3, 5))
LARGE = (slice(3, 5), slice(5, 8), slice(2, 5))


def test_the_largest_comes_first_with_its_volume_and_place() -> None:
    large, small = find_lesions(boxes(SMALL, LARGE), AFFINE, None)
    assert large.ml == pytest.approx(0.18)
    assert small.ml == pytest.approx(0.02)
    # Voxel x 3, y 6 in slice 3.
    assert large.place_mm == pytest.approx((47, 48, -15))


@pytest.mark.parametrize(
    "place",
    [
        (slice(0, 1), slice(3, 4), slice(3, 4)),
        (slice(5, 6), slice(3, 4), slice(3, 4)),
        (slice(2, 3), slice(0, 2), slice(3, 4)),
        (slice(2, 3), slice(11, 12), slice(3, 4)),
        (slice(2, 3), slice(3, 4), slice(0, 1)),
        (slice(2, 3), slice(3, 4), slice(9, 10)),
    ],
)
def test_a_lesion_at_any_face_of_the_volume_is_cut(place: tuple[slice, slice, slice]) -> None:
    (lesion,) = find_lesions(boxes(place), AFFINE, None)
    assert lesion.cut
    assert not find_lesions(boxes(LARGE), AFFINE, None)[0].cut


def test_a_lesion_is_outside_if_less_than_half_of_it_is_in_the_brain() -> None:
    brain = boxes((slice(0, 4), slice(None), slice(None)))
    assert find_lesions(boxes(LARGE), AFFINE, brain)[0].outside is False
    brain[3, 5] = False
    assert find_lesions(boxes(LARGE), AFFINE, brain)[0].outside is True
    assert find_lesions(boxes(LARGE), AFFINE, None)[0].outside is None


def test_the_other_mask_is_a_counterpart_of_the_lesions_that_it_touches() -> None:
    other = boxes((slice(3, 4), slice(5, 6), slice(2, 3)))
    large, small = find_lesions(boxes(SMALL, LARGE), AFFINE, None, other)
    assert (large.counterpart, small.counterpart) == (True, False)
    np.testing.assert_array_equal(touched(boxes(SMALL, LARGE), other), boxes(LARGE))


def test_no_lesion_is_no_lesion() -> None:
    assert find_lesions(boxes(), AFFINE, None) == []
    assert not touched(boxes(), boxes(SMALL)).any()
