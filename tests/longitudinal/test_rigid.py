"""Half a motion done twice is the whole one, and nothing depends on which end it is seen from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnunetv2_sa_unet.longitudinal.rigid import Matrix, degrees, distance_mm, inverse, midpoint, square_root


@pytest.mark.parametrize(
    ("turn", "shift"), [((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (3, -5, 900)), ((40, -70, 110), (9, 8, 7))]
)
def test_half_a_motion_done_twice_is_the_whole(
    pose_of: Callable[..., Matrix], turn: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    whole = pose_of(turn, shift)
    half = square_root(whole)
    np.testing.assert_allclose(half @ half, whole, atol=1e-9)
    np.testing.assert_allclose(square_root(inverse(whole)), inverse(half), atol=1e-9)
    assert degrees(half) == pytest.approx(degrees(whole) / 2)


def test_the_middle_of_two_motions_is_that_of_their_inverses_too(pose_of: Callable[..., Matrix]) -> None:
    first, second = pose_of((3, 4, 5), (1, 2, 3)), pose_of((2, 4, 7), (1, 0, 3))
    middle = midpoint(first, second)
    np.testing.assert_allclose(midpoint(inverse(first), inverse(second)), inverse(middle), atol=1e-12)
    np.testing.assert_allclose(midpoint(second, first), middle, atol=1e-12)
    assert distance_mm(first, middle, (0, 0, 0)) == pytest.approx(distance_mm(middle, second, (0, 0, 0)), rel=1e-3)


def test_distances_are_in_mm(pose_of: Callable[..., Matrix]) -> None:
    assert distance_mm(np.eye(4), pose_of(shift=(3, 0, 4)), (10, 20, 30)) == pytest.approx(5)
    # About its own middle: 2 sin(θ/2) of the mean distance from the axis in a sphere, √(2/5) of its radius.
    turned = distance_mm(np.eye(4), pose_of((0, 0, 10)), (0, 0, 0))
    assert turned == pytest.approx(2 * np.sin(np.radians(5)) * 80 * np.sqrt(2 / 5))
