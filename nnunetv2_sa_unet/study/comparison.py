"""Is the difference of two models more than chance? Paired over cases, corrected for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nnunetv2_sa_unet.scores.statistics import SEED, bootstrap_interval

__all__ = ["PERMUTATIONS", "Difference", "compare", "holm"]

PERMUTATIONS = 9_999
"""Random permutations of a test; where there are no more than these in all, every one is tried."""
_VALUES_AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class Difference:
    """The difference of a model to the baseline in one metric. What so few cases do not give is None.

    Attributes:
        mean: of the model's value minus the baseline's, over the cases where both have one.
        interval: the ends of the 95 % bootstrap interval of that mean; None for fewer than two cases.
        p: of the two-sided paired permutation test; None for fewer than two cases.
        cases: how many cases have both values.
        left_out: the names of the others, in the given order.
    """

    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    cases: int
    left_out: tuple[str, ...]


def compare(model: Mapping[str, float | None], baseline: Mapping[str, float | None]) -> Difference:
    """Compare the means of a metric over the same cases.

    The test swaps the two values of each case at random: if the model did not matter, that would change nothing.

    Args:
        model: the metric by case; None or NaN where a case has no value.
        baseline: the same cases.
    """
    left_out = tuple(case for case in model if not (_has_value(model[case]) and _has_value(baseline[case])))
    both = [case for case in model if case not in left_out]
    ours, theirs = (np.array([values[case] for case in both], dtype=np.float64) for values in (model, baseline))
    several = len(both) > 1
    return Difference(
        mean=float((ours - theirs).mean()) if both else None,
        interval=bootstrap_interval(ours - theirs) if several else None,
        p=_permutation_p(ours, theirs) if several else None,
        cases=len(both),
        left_out=left_out,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number, so that any error among them all is as rare as the level says.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6
    (1979): the i-th smallest of m is multiplied by m - i + 1, and is no smaller than the one before it.

    Args:
        p_values: all of one family.

    Returns:
        The adjusted ones, at most 1, in the same order.
    """
    given = np.asarray(p_values, dtype=np.float64)
    rising = np.argsort(given)
    adjusted = np.empty_like(given)
    adjusted[rising] = np.maximum.accumulate(given[rising] * np.arange(given.size, 0, -1)).clip(max=1)
    return [float(value) for value in adjusted]


def _permutation_p(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    result: Any = stats.permutation_test(
        (ours, theirs),
        _mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, _VALUES_AT_A_TIME // ours.size),
        random_state=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def _mean_difference(ours: NDArray[np.float64], theirs: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    means: NDArray[np.float64] = (ours - theirs).mean(axis=axis)
    return means


def _has_value(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
