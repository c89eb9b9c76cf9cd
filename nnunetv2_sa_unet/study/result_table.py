"""A table of results: measured means with their intervals, and beside them what others report.

Dice, lesion recall and lesion F1 are fractions, H95 is in mm, and AVD is a fraction of the reference's volume as in the
paper (0.174 is 17.4 %), though ``metrics.csv`` has it in percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnunetv2_sa_unet.scores.statistics import Statistics
from nnunetv2_sa_unet.study.formats import Table
from nnunetv2_sa_unet.study.published import Published

__all__ = ["METRICS", "UNITS", "Metric", "Row", "result_table", "scaled"]


@dataclass(frozen=True)
class Metric:
    """A metric of the tables.

    Attributes:
        name: attribute of ``Published`` and start of the CSV's columns.
        key: column of ``metrics.csv``.
        title: name of the column.
        unit: what one unit of ``metrics.csv`` is in the table.
        digits: behind the point.
    """

    name: str
    key: str
    title: str
    unit: float = 1.0
    digits: int = 3


METRICS = (
    Metric("dice", "dice", "DICE"),
    Metric("h95", "h95_mm", "H95 ↓", digits=2),
    Metric("avd", "avd_percent", "AVD ↓", unit=0.01),
    Metric("recall", "lesion_recall", "recall"),
    Metric("f1", "lesion_f1", "F1"),
)
UNITS = "H95 is in mm, AVD a fraction of the reference's volume (0.174 is 17.4 %); recall and F1 are those of lesions."


@dataclass(frozen=True)
class Row:
    """A row of a table of results.

    Attributes:
        keys: what names the row in the CSV, by column; the same columns in every row of a table.
        labels: its first cells.
        published: what others report; None if nobody does.
        measured: by the metrics' names in the units of the table; None if nothing was measured.
        cases: how many cases were evaluated; 0 if none was.
    """

    keys: Mapping[str, str]
    labels: Sequence[str]
    published: Published | None
    measured: Mapping[str, Statistics] | None
    cases: int


def scaled(statistics: Statistics, unit: float) -> Statistics:
    """The same statistics in another unit."""
    return replace(
        statistics,
        mean=None if statistics.mean is None else statistics.mean * unit,
        std=None if statistics.std is None else statistics.std * unit,
        interval=None
        if statistics.interval is None
        else (statistics.interval[0] * unit, statistics.interval[1] * unit),
    )


def result_table(
    name: str, title: str, head: Sequence[str], rows: Sequence[Row], notes: Sequence[str], by: str = "paper"
) -> Table:
    """Lay out rows.

    Args:
        name: a word that names the table's files.
        title: one line.
        head: the names of the first columns, as many as a row has labels.
        rows: at least one.
        notes: lines that explain the table; those on cases without a value are added.
        by: whose figures the published ones are: ``paper``, or ``others``, which adds a column that names the source.
    """
    beside = {metric.name for metric in METRICS if any(_theirs(row, metric) for row in rows)}
    header = [*head, *(["figures of"] if by == "others" else [])]
    for metric in METRICS:
        header += [f"{metric.title}: {by}", "measured"] if metric.name in beside else [metric.title]
    lines = []
    for row in rows:
        line = [*row.labels, *([row.published.source if row.published else "–"] if by == "others" else [])]
        for metric in METRICS:
            line += [_theirs(row, metric) or "–"] if metric.name in beside else []
            line.append(_ours(row, metric))
        lines.append([*line, str(row.cases) if row.measured else "–"])
    return Table(
        name, title, [*header, "cases"], lines, [*notes, *_without_value(rows)], [_record(r, by) for r in rows]
    )


def _theirs(row: Row, metric: Metric) -> str | None:
    figure: str | None = getattr(row.published, metric.name) if row.published else None
    return figure


def _ours(row: Row, metric: Metric) -> str:
    if row.measured is None or (mean := row.measured[metric.name].mean) is None:
        return "–"
    interval = row.measured[metric.name].interval
    ends = "" if interval is None else f" [{interval[0]:.{metric.digits}f}, {interval[1]:.{metric.digits}f}]"
    return f"{mean:.{metric.digits}f}{ends}"


def _record(row: Row, by: str) -> dict[str, Any]:
    record: dict[str, Any] = {**row.keys, "cases": row.cases or None}
    if by == "others":
        record["figures_of"] = row.published.source if row.published else None
    for metric in METRICS:
        ours = row.measured[metric.name] if row.measured else None
        low, high = (ours.interval if ours else None) or (None, None)
        values = (_theirs(row, metric), ours and ours.mean, low, high, ours and ours.cases)
        kinds = (by, "measured", "low", "high", "cases")
        record |= {f"{metric.name}_{kind}": value for kind, value in zip(kinds, values, strict=True)}
    return record


def _without_value(rows: Iterable[Row]) -> list[str]:
    return [
        f"{', '.join(row.labels)}: {len(empty)} of {row.cases} cases have no {metric.title.removesuffix(' ↓')} and are "
        f"left out of its mean: {', '.join(empty)}."
        for row in rows
        if row.measured
        for metric in METRICS
        if (empty := row.measured[metric.name].empty)
    ]
