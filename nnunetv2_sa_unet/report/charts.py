"""Where the marks of the report's two charts stand; the page's template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnunetv2_sa_unet.report.outliers import SMALLEST_ML, Spread

__all__ = ["Bar", "Distribution", "Dot", "Profile", "Tick", "distribution", "profile"]

_EDGE = 16.0
_VOLUMES_ON_AXIS = (0, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A subject in the distribution."""

    x: float
    y: float
    subject: str
    ml: float
    outlier: bool


@dataclass(frozen=True)
class Distribution:
    """A dot for each subject over its volume, on a logarithmic axis, stacked where dots meet.

    Attributes:
        width: of the drawing.
        baseline: y of the axis.
        radius: of the dots.
        dots: in the order of the subjects.
        ticks: of the axis.
        quartiles: x of the first quartile, the median and the third.
        limits: x of the limits for outliers, None without limits.
    """

    width: float
    baseline: float
    radius: float
    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    quartiles: tuple[float, float, float]
    limits: tuple[float, float] | None


@dataclass(frozen=True)
class Bar:
    """A slice in the profile."""

    x: float
    height: float
    number: int
    ml: float


@dataclass(frozen=True)
class Profile:
    """WMH in each axial slice.

    Attributes:
        width: of the drawing.
        baseline: y of the axis.
        bar_width: of each bar.
        bars: a slice each, from below.
        reference: the points of the reference's line, as SVG has them; "" without one.
        highest_ml: the volume that the full height stands for.
        ticks: slice numbers.
        shown: x of the slices that the mosaic has.
    """

    width: float
    baseline: float
    bar_width: float
    bars: tuple[Bar, ...]
    reference: str
    highest_ml: float
    ticks: tuple[Tick, ...]
    shown: tuple[float, ...]


def distribution(volumes_ml: Mapping[str, float], spread: Spread | None, width: float = 900.0) -> Distribution | None:
    """Lay out the volumes of a cohort; None without any."""
    if not volumes_ml:
        return None
    values = list(volumes_ml.values())
    last = next((index for index, tick in enumerate(_VOLUMES_ON_AXIS) if tick >= max(values)), None)
    ticks = _VOLUMES_ON_AXIS[: max(4, len(_VOLUMES_ON_AXIS) if last is None else last + 1)]
    low, high = _log(0), max(_log(ticks[-1]), _log(max(values)))

    def place(ml: float) -> float:
        return round(_EDGE + (width - 2 * _EDGE) * (_log(ml) - low) / (high - low), 2)

    radius = 6.0 if len(values) <= 150 else 3.0
    outliers = spread.outliers() if spread else {}
    columns: dict[int, int] = {}
    stacked = []
    for subject, ml in volumes_ml.items():
        column = round(place(ml) / (2 * radius + 1))
        level = columns.get(column, 0)
        columns[column] = level + 1
        stacked.append((subject, ml, column, level))
    levels = max(columns.values())
    baseline = max(levels, 4) * (2 * radius + 1) + 6
    dots = tuple(
        Dot(
            # In a stack the dots stand above one another; alone a dot stands where its volume is.
            x=column * (2 * radius + 1) if columns[column] > 1 else place(ml),
            y=baseline - 3 - radius - level * (2 * radius + 1),
            subject=subject,
            ml=ml,
            outlier=subject in outliers,
        )
        for subject, ml, column, level in stacked
    )
    first, median, third = (place(float(value)) for value in np.percentile(values, (25, 50, 75)))
    limits = None
    if spread is not None:
        limits = place(spread.limits_ml[0]), min(place(spread.limits_ml[1]), width)
    return Distribution(
        width=width,
        baseline=baseline,
        radius=radius,
        dots=dots,
        ticks=tuple(Tick(place(tick), f"{tick:g}") for tick in ticks),
        quartiles=(first, median, third),
        limits=limits,
    )


def profile(
    load_ml: Sequence[float], reference_ml: Sequence[float] | None, shown: Sequence[int], width: float = 420.0
) -> Profile:
    """Lay out the WMH of each axial slice.

    Args:
        load_ml: of each slice, from below.
        reference_ml: likewise of the reference.
        shown: numbers, from 1, of the slices in the mosaic.
        width: of the drawing.
    """
    baseline = 90.0
    count = len(load_ml)
    step = (width - 2 * _EDGE) / count
    highest = max(*load_ml, *(reference_ml or ()), 0.0)
    scale = (baseline - 8) / highest if highest else 0.0

    def left(number: int) -> float:
        return round(_EDGE + (number - 1) * step, 2)

    points = []
    for number, ml in enumerate(reference_ml or (), start=1):
        height = round(baseline - ml * scale, 2)
        points += [f"{left(number):g},{height:g}", f"{left(number + 1):g},{height:g}"]
    every = next(gap for gap in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if count / gap <= 12)
    numbers = [number for number in range(1, count + 1) if number % every == 0 or (number == 1 and every > 2)]
    return Profile(
        width=width,
        baseline=baseline,
        bar_width=round(max(step * 0.86, step - 1.5), 2),
        bars=tuple(
            Bar(left(number), round(ml * scale, 2), number, ml) for number, ml in enumerate(load_ml, start=1) if ml
        ),
        reference=" ".join(points),
        highest_ml=highest,
        ticks=tuple(Tick(left(number) + step / 2, str(number)) for number in numbers),
        shown=tuple(round(left(number) + step / 2, 2) for number in shown),
    )


def _log(ml: float) -> float:
    return math.log(ml + SMALLEST_ML)
