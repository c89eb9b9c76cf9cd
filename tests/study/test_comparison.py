"""Paired differences, their permutation test, and the correction for many of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nnunetv2_sa_unet.scores.statistics import bootstrap_interval
from nnunetv2_sa_unet.study.comparison import compare, holm


def cases(values: list[float | None]) -> dict[str, float | None]:
    return {f"case{number}": value for number, value in enumerate(values)}


def test_few_cases_are_permuted_in_every_way() -> None:
    differences = np.array([0.3, 0.1, 0.2, -0.05, 0.4])
    baseline = np.array([0.5, 0.6, 0.1, 0.4, 0.2])
    found = compare(cases([*(baseline + differences)]), cases([*baseline]))

    means = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=5)]
    # Of the 32 ways two give a mean as high as the observed one, by hand: all positive, and as it is.
    expected = 2 * sum(mean >= differences.mean() - 1e-12 for mean in means) / len(means)
    assert expected == 2 * 2 / 32
    assert found.p == pytest.approx(expected)
    assert found.mean == pytest.approx(0.19)
    assert found.interval == pytest.approx(bootstrap_interval(differences))
    assert (found.cases, found.left_out) == (5, ())


def test_many_cases_agree_with_scipys_test_of_flipped_signs_and_are_the_same_at_every_call() -> None:
    random = np.random.default_rng(5)
    baseline = random.random(110)
    model = baseline + random.normal(0, 0.1, 110)
    found = compare(cases([*model]), cases([*baseline]))

    # One sample of differences: its signs are flipped, which is the same test.
    flipped = stats.permutation_test(
        (model - baseline,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=7
    )
    assert 0.05 < flipped.pvalue < 0.95
    # Half a per cent is the deviation of a share of 10,000 near one half.
    assert found.p == pytest.approx(flipped.pvalue, abs=0.03)
    assert compare(cases([*model]), cases([*baseline])) == found


def test_a_model_that_is_always_better_has_the_smallest_p_there_is() -> None:
    baseline = np.linspace(0.1, 0.8, 110)
    found = compare(cases([*(baseline + 0.1)]), cases([*baseline]))
    # The given order is one of the 10,000 and counts on both sides.
    assert found.p == pytest.approx(2 / 10_000)


def test_equal_models_do_not_differ() -> None:
    values = cases([0.3, 0.5, 0.9])
    found = compare(values, values)
    assert (found.mean, found.interval, found.p) == (0, (0, 0), 1)


def test_the_direction_is_model_minus_baseline() -> None:
    assert compare(cases([1.0, 2.0]), cases([4.0, 6.0])).mean == pytest.approx(-3.5)


def test_only_cases_where_both_have_a_value_are_compared_and_the_others_named() -> None:
    found = compare(cases([1.0, None, 3.0, math.nan, 6.0]), cases([0.0, 1.0, None, 1.0, 4.0]))
    assert found.left_out == ("case1", "case2", "case3")
    assert (found.mean, found.cases) == (1.5, 2)
    assert found.p == pytest.approx(0.5)


def test_fewer_than_two_cases_give_no_p() -> None:
    one = compare(cases([1.0, None]), cases([0.5, 1.0]))
    assert (one.mean, one.interval, one.p, one.cases) == (0.5, None, None, 1)
    none = compare(cases([None]), cases([None]))
    assert (none.mean, none.interval, none.p, none.cases) == (None, None, None, 0)


def test_holm_multiplies_the_smallest_by_their_number_and_the_next_by_one_less() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holms_values_keep_their_order_and_stay_below_one() -> None:
    # 3 × 0.02 = 0.06; 2 × 0.025 = 0.05 may not be less than that; 0.9 stays.
    assert holm([0.025, 0.9, 0.02]) == pytest.approx([0.06, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
