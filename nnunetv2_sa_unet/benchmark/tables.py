"""What was measured, as CSV, Markdown and a bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median, quantiles

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnunetv2_sa_unet.files import complete_or_absent, write_rows

__all__ = ["Row", "draw", "make_row", "markdown", "write_csv"]

_INCHES_PER_BAR, _INCHES_WIDE = 0.32, 7
_DOTS_PER_INCH = 150
_BLUE = "#0072B2"  # of Okabe and Ito


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
    write_rows(path, [field.name for field in fields(Row)], map(astuple, rows))


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


def draw(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw the medians as bars, with their quartiles and ratios, one panel per task."""
    tasks = list(dict.fromkeys(row.what for row in rows))
    counts = [sum(row.what == task for row in rows) for task in tasks]
    figure = Figure(figsize=(_INCHES_WIDE, _INCHES_PER_BAR * sum(counts) + 0.9 * len(tasks)), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(len(tasks), squeeze=False, height_ratios=counts)[:, 0]
    for panel, task in zip(panels, tasks, strict=True):
        bars = [row for row in rows if row.what == task]
        names = [f"{row.network} {row.dtype}".strip() for row in bars]
        spread = [[row.seconds - row.lower for row in bars], [row.upper - row.seconds for row in bars]]
        panel.barh(names, [row.seconds for row in bars], xerr=spread, color=_BLUE, ecolor="black", height=0.7)
        panel.invert_yaxis()
        panel.margins(x=0.12)
        panel.set_title(f"{task}: seconds (× baseline)", fontsize="small", loc="left")
        panel.spines[["top", "right"]].set_visible(False)
        for place, row in enumerate(bars):
            panel.text(row.upper, place, f"  {row.seconds:.3g} (× {row.ratio:.2f})", va="center", fontsize="x-small")
    FigureCanvasAgg(figure)
    with complete_or_absent(path) as temporary:
        figure.savefig(temporary, dpi=_DOTS_PER_INCH)
