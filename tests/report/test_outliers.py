"""Which volumes are called unusual."""

from __future__ import annotations

import pytest

from nnunetv2_sa_unet.report.outliers import spread_of

USUAL = {f"s{index}": volume for index, volume in enumerate((2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0))}


def test_robust_z_is_the_distance_from_the_median_in_scaled_deviations() -> None:
    # log(volume + 0.1) is 0, 1, … 10: median 5, median absolute deviation 3.
    spread = spread_of({f"s{index}": 2.718281828459045**index - 0.1 for index in range(11)})
    assert spread is not None
    assert spread.scores["s10"] == pytest.approx(0.6745 * 5 / 3)
    assert spread.outliers() == {}


def test_what_lies_far_above_or_below_is_an_outlier_and_lies_beyond_the_limits() -> None:
    spread = spread_of({**USUAL, "high": 900.0, "none": 0.0})
    assert spread is not None
    assert set(spread.outliers()) == {"high", "none"}
    assert spread.outliers()["none"] < -3.5 < 3.5 < spread.outliers()["high"]
    low, high = spread.limits_ml
    assert 0 < low < 2
    assert 20 < high < 900


def test_few_subjects_or_equal_volumes_say_nothing() -> None:
    assert spread_of(dict(list(USUAL.items())[:9])) is None
    assert spread_of({f"s{index}": 0.0 for index in range(12)}) is None
    assert spread_of({}) is None
