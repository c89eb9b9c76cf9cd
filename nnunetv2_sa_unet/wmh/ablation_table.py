"""The table of an ablation study: what the paper reports beside what was measured.

The paper's figures are those of "3D SA-UNet: 3D Spatial Attention UNet with 3D Atrous Spatial Pyramid Pooling for
White Matter Hyperintensities Segmentation", table 1 (the ablations) and table 2 (the rivals), both on the 110 test
cases of the WMH Segmentation Challenge. AVD is a fraction there and here (0.174 is 17.4 %).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent

__all__ = ["PAPER", "Measured", "PaperRow", "Row", "as_markdown", "rows", "write_csv", "write_markdown"]


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables: its label, Dice, AVD as a fraction, lesion F1."""

    label: str
    dice: float
    avd: float
    f1: float


#: The paper's rows by the trainer of the network, in the paper's order: table 1, then the rivals of table 2.
PAPER = {
    "nnUNetTrainerSAUNet_backbone333BN": PaperRow("Backbone with (3,3,3) & (2,2,2)", 0.66, 0.356, 0.46),
    "nnUNetTrainerSAUNet_backboneBN": PaperRow("Backbone with (3,3,1) & (2,2,1)", 0.75, 0.225, 0.68),
    "nnUNetTrainerSAUNet_backboneGN": PaperRow("Backbone* with GN", 0.78, 0.172, 0.71),
    "nnUNetTrainerSAUNet_noSAM": PaperRow("Backbone* with GN+3D ASPP", 0.77, 0.170, 0.71),
    "nnUNetTrainerSAUNet_noASPP": PaperRow("Backbone* with GN+3D SAM", 0.78, 0.182, 0.75),
    "nnUNetTrainerSAUNet": PaperRow("3D SA-UNet", 0.79, 0.174, 0.76),
    "nnUNetTrainerUNet3D": PaperRow("3D U-Net", 0.71, 0.289, 0.53),
    "nnUNetTrainerAttentionUNet": PaperRow("Attention UNet", 0.74, 0.206, 0.57),
}

# Column of the table: key of metrics_summary.json, attribute of PaperRow, what one unit of the measured value is.
_FIGURES = {"DICE": ("dice", "dice", 1.0), "AVD ↓": ("avd_percent", "avd", 0.01), "F1": ("lesion_f1", "f1", 1.0)}
_NOTE = """\
Measured: mean [95 % bootstrap interval over cases]. AVD is a fraction of the reference's volume, F1 that of lesions.
Paper: the 110 test cases of the WMH Segmentation Challenge (the paper's tables 1 and 2).
Measured: the validation cases of the cross-validation on {source}.
These are different cases: compare the rows within a column before you compare two columns."""


@dataclass(frozen=True)
class Measured:
    """A measured mean and its interval; None where there are too few cases for it."""

    mean: float | None
    interval: tuple[float, float] | None
    cases: int


@dataclass(frozen=True)
class Row:
    """A network of the table.

    Attributes:
        variant: the trainer's name.
        paper: what the paper says; None if it does not list this network.
        measured: by column (``DICE``, ``AVD ↓``, ``F1``).
        cases: how many cases were evaluated.
    """

    variant: str
    paper: PaperRow | None
    measured: Mapping[str, Measured]
    cases: int

    @property
    def label(self) -> str:
        """The paper's label, or the trainer's name."""
        return self.paper.label if self.paper else self.variant


def rows(summaries: Mapping[str, Path]) -> list[Row]:
    """Read what ``nnUNetv2_sa_unet evaluate`` measured.

    Args:
        summaries: ``metrics_summary.json`` by the trainer's name.

    Returns:
        The networks of the paper in its order, then the others in theirs.

    Raises:
        InputError: a file cannot be read, or lacks a metric.
    """
    order = [*(name for name in PAPER if name in summaries), *(name for name in summaries if name not in PAPER)]
    return [_row(name, summaries[name]) for name in order]


def as_markdown(table: Sequence[Row], source: str) -> str:
    """The table in Markdown with aligned columns, and below it where its figures come from.

    Args:
        table: see :func:`rows`.
        source: the data set and folds of the measured figures, in words.
    """
    pairs = [name for column in _FIGURES for name in (f"{column}: paper", "measured")]
    lines = [["Models", *pairs, "cases"]]
    lines += [
        [row.label, *(cell for column in _FIGURES for cell in _cells(row, column)), str(row.cases)] for row in table
    ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([*text, "", _NOTE.format(source=source), *_without_value(table)]) + "\n"


def write_markdown(path: Path, table: Sequence[Row], source: str) -> None:
    """Write :func:`as_markdown` to a file."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(as_markdown(table, source), encoding="utf-8")


def write_csv(path: Path, table: Iterable[Row]) -> None:
    """Write one row a network, a column a number; what has no value is an empty field."""
    names = [name for _, name, _ in _FIGURES.values()]
    with complete_or_absent(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        kinds = ("paper", "measured", "low", "high", "cases")
        writer.writerow(["variant", "label", "cases", *(f"{name}_{kind}" for name in names for kind in kinds)])
        for row in table:
            figures: list[Any] = []
            for column, (_, name, _) in _FIGURES.items():
                measured = row.measured[column]
                paper = getattr(row.paper, name) if row.paper else None
                figures += [paper, measured.mean, *(measured.interval or (None, None)), measured.cases]
            writer.writerow([row.variant, row.label, row.cases, *figures])


def _row(variant: str, path: Path) -> Row:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        measured = {column: _measured(summary["metrics"][key], unit) for column, (key, _, unit) in _FIGURES.items()}
        return Row(variant, PAPER.get(variant), measured, int(summary["cases"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read as a summary of nnUNetv2_sa_unet evaluate ({error!r}): remove it and run again"
        ) from None


def _measured(statistics: Mapping[str, Any], unit: float) -> Measured:
    mean, interval = statistics["mean"], statistics["interval"]
    return Measured(
        None if mean is None else mean * unit,
        None if interval is None else (interval[0] * unit, interval[1] * unit),
        statistics["cases"],
    )


def _cells(row: Row, column: str) -> tuple[str, str]:
    _, name, _ = _FIGURES[column]
    measured = row.measured[column]
    # As many digits as the paper prints: three for AVD, two for the others.
    paper = "–" if row.paper is None else f"{getattr(row.paper, name):.{3 if name == 'avd' else 2}f}"
    mean = "–" if measured.mean is None else f"{measured.mean:.3f}"
    interval = "" if measured.interval is None else " [{:.3f}, {:.3f}]".format(*measured.interval)
    return paper, mean + interval


def _without_value(table: Iterable[Row]) -> list[str]:
    return [
        f"{row.label}: {row.cases - row.measured[column].cases} of {row.cases} cases have no "
        f"{column.removesuffix(' ↓')} and are left out of its mean."
        for row in table
        for column in _FIGURES
        if row.measured[column].cases < row.cases
    ]
