"""Statistics of a metric over cases."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from nnunetv2_sa_unet.scores.statistics import RESAMPLES, SEED, bootstrap_interval, summarise


def test_mean_and_sample_standard_deviation_leave_out_empty_values_and_name_them() -> None:
    statistics = summarise({"a": 1.0, "b": None, "c": 3.0, "d": math.nan})
    assert statistics.mean == 2
    assert statistics.std == pytest.approx(math.sqrt(2))
    assert statistics.cases == 2
    assert statistics.empty == ("b", "d")


def test_one_case_has_a_mean_but_no_spread_and_no_interval() -> None:
    statistics = summarise({"a": 0.5})
    assert (statistics.mean, statistics.std, statistics.interval, statistics.cases) == (0.5, None, None, 1)


def test_no_case_has_nothing() -> None:
    statistics = summarise({"a": None})
    assert (statistics.mean, statistics.std, statistics.interval) == (None, None, None)
    assert (statistics.cases, statistics.empty) == (0, ("a",))


@pytest.mark.filterwarnings("error")
def test_equal_values_have_an_interval_without_width_and_without_a_warning() -> None:
    assert summarise(dict.fromkeys("abc", 2.0)).interval == (2, 2)


def test_the_interval_of_two_cases_runs_from_one_to_the_other() -> None:
    # A quarter of the resamples holds the lower value alone, a quarter the higher.
    assert bootstrap_interval(np.array([1.0, 5.0])) == (1, 5)


def test_the_interval_is_the_same_at_every_call() -> None:
    values = np.random.default_rng(3).random(20)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_resamples_that_are_drawn_together_are_those_drawn_one_by_one() -> None:
    values = np.random.default_rng(2).random(37)
    random = np.random.default_rng(SEED)
    means = [values[random.integers(values.size, size=values.size)].mean() for _ in range(RESAMPLES)]
    assert bootstrap_interval(values) == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-12)


def test_many_cases_do_not_need_the_memory_of_all_resamples() -> None:
    values = np.random.default_rng(1).random(2_000)
    tracemalloc.start()
    bootstrap_interval(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6, "all resamples at once are 160 MB, and their indices as much"
