"""What was measured, as CSV and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median, quantiles


@dataclass(frozen=True)
class Row:
    """One network at one task.

    Attributes:
        what: ``forward``, ``train`` or ``predict``.
        network: name.
        dtype: of the computation; empty for ``predict``, where nnU-Net chooses.
        seconds: median of the rounds.
        lower: lower quartile in seconds.
        upper: upper quartile in seconds.
        ratio: of the median to that of the baseline.
        peak_mb: most memory in use, in MB; None if it was not measured.
        parameters: number of parameters.
        gmac: 10⁹ multiplications of the convolutions for one patch, forward.
        rounds: number of rounds.
    """

    what: str
    network: str
    dtype: str
    seconds: float
    lower: float
    upper: float
    ratio: float
    peak_mb: float | None
    parameters: int
    gmac: float
    rounds: int


def make_row(
    what: str,
    network: str,
    dtype: str,
    seconds: Sequence[float],
    baseline: Sequence[float],
    peak_mb: float | None,
    parameters: int,
    multiplications: int,
) -> Row:
    """Sum up the rounds of one network; ``baseline`` are those of the network to compare with."""
    lower, _, upper = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return Row(
        what,
        network,
        dtype,
        median(seconds),
        lower,
        upper,
        median(seconds) / median(baseline),
        peak_mb,
        parameters,
        multiplications / 1e9,
        len(seconds),
    )


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per row, under the names of the attributes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(map(astuple, rows))


def markdown(rows: Sequence[Row], setting: Mapping[str, str]) -> str:
    """Return the setting as a list and the rows as a table."""
    lines = [f"- {name}: {value}" for name, value in setting.items()]
    lines += [
        "",
        "| task | network | dtype | median s | quartiles | ratio | peak MB | parameters | GMAC |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        peak = "–" if row.peak_mb is None else f"{row.peak_mb:.0f}"
        lines.append(
            f"| {row.what} | {row.network} | {row.dtype or '–'} | {row.seconds:.3g} | {row.lower:.3g}–{row.upper:.3g} "
            f"| {row.ratio:.2f} | {peak} | {row.parameters / 1e6:.2f} M | {row.gmac:.1f} |"
        )
    return "\n".join(lines) + "\n"
