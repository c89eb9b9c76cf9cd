"""Statistics of a metric over cases: mean, standard deviation and a bootstrap interval of the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["CONFIDENCE", "RESAMPLES", "SEED", "Statistics", "bootstrap_interval", "summarise"]

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
_VALUES_AT_A_TIME = 100_000


@dataclass(frozen=True)
class Statistics:
    """A metric over cases. What cannot be computed from so few cases is None.

    Attributes:
        mean: over the cases that have a value; None without any.
        std: sample standard deviation (n - 1); None for fewer than two.
        interval: the ends of the bootstrap interval of the mean; None for fewer than two.
        cases: how many cases have a value.
        empty: the names of the cases that have none, in the given order.
    """

    mean: float | None
    std: float | None
    interval: tuple[float, float] | None
    cases: int
    empty: tuple[str, ...]


def summarise(values: Mapping[str, float | None]) -> Statistics:
    """Statistics of one metric.

    Args:
        values: the metric by case; None or NaN where a case has no value.
    """
    empty = tuple(case for case, value in values.items() if value is None or math.isnan(value))
    present = np.array([value for case, value in values.items() if case not in empty], dtype=np.float64)
    several = present.size > 1
    return Statistics(
        mean=float(present.mean()) if present.size else None,
        std=float(present.std(ddof=1)) if several else None,
        interval=bootstrap_interval(present) if several else None,
        cases=present.size,
        empty=empty,
    )


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean: cases are drawn with replacement, seeded.

    Args:
        values: at least two finite values, one a case.

    Returns:
        The 2.5th and the 97.5th percentile of the means of the resamples.
    """
    found = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        # All resamples at once would need gigabytes for a few thousand cases.
        batch=max(1, _VALUES_AT_A_TIME // values.size),
        random_state=np.random.default_rng(SEED),
    )
    low, high = found.confidence_interval
    return float(low), float(high)
