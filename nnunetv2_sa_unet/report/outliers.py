"""Volumes that lie far from those of the other subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["FEWEST_SUBJECTS", "LIMIT", "SMALLEST_ML", "Spread", "spread_of"]

#: Fewer volumes than this say too little about what is usual.
FEWEST_SUBJECTS = 10
#: Robust z beyond which a volume is an outlier; Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993).
LIMIT = 3.5
#: Added before the logarithm, so that 0 ml has one and 0.01 and 0.02 ml do not differ as 10 and 20 ml do.
SMALLEST_ML = 0.1
#: The median absolute deviation of a normal distribution in standard deviations.
_NORMAL_MAD = 0.6745


@dataclass(frozen=True)
class Spread:
    """Where most volumes of a cohort lie.

    Attributes:
        median_ml: the median volume.
        limits_ml: volumes below the first and above the second are outliers.
        scores: the robust z of each subject.
    """

    median_ml: float
    limits_ml: tuple[float, float]
    scores: Mapping[str, float]

    def outliers(self) -> dict[str, float]:
        """The subjects beyond ``LIMIT``, with their robust z."""
        return {subject: score for subject, score in self.scores.items() if abs(score) > LIMIT}


def spread_of(volumes_ml: Mapping[str, float]) -> Spread | None:
    """The robust z of log(volume + ``SMALLEST_ML``): its distance from the median in median absolute deviations.

    A robust z counts 0.6745 of a deviation as one, so that it is an ordinary z where volumes are log-normal.

    Returns:
        None from fewer than ``FEWEST_SUBJECTS`` subjects, or where more than half have the same volume.
    """
    if len(volumes_ml) < FEWEST_SUBJECTS:
        return None
    logs = {subject: math.log(volume + SMALLEST_ML) for subject, volume in volumes_ml.items()}
    middle = float(np.median(list(logs.values())))
    deviation = float(np.median([abs(value - middle) for value in logs.values()]))
    if deviation == 0:
        return None
    reach = LIMIT * deviation / _NORMAL_MAD
    low, high = (math.exp(middle + side * reach) - SMALLEST_ML for side in (-1, 1))
    scores = {subject: _NORMAL_MAD * (value - middle) / deviation for subject, value in logs.items()}
    return Spread(float(np.median(list(volumes_ml.values()))), (max(low, 0.0), high), scores)
