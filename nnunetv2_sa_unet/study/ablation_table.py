"""The table of an ablation study: what the paper reports beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.statistics import Statistics
from nnunetv2_sa_unet.study.formats import Table
from nnunetv2_sa_unet.study.published import PAPER
from nnunetv2_sa_unet.study.result_table import METRICS, UNITS, Row, result_table, scaled

__all__ = ["ablation_table", "rows"]


def ablation_table(summaries: Mapping[str, Path], source: str) -> Table:
    """The networks of the paper's tables 1 and 2 in one table.

    Args:
        summaries: see :func:`rows`.
        source: the data set and folds of the measured figures, in words.

    Raises:
        InputError: see :func:`rows`.
    """
    notes = [
        f"Measured: mean [95 % bootstrap interval over cases]. {UNITS}",
        "Paper: the 110 test cases of the WMH Segmentation Challenge (the paper's tables 1 and 2).",
        f"Measured: the validation cases of the cross-validation on {source}.",
        "These are different cases: compare the rows within a column before you compare two columns.",
    ]
    return result_table("table", "Ablation study", ["Models"], rows(summaries), notes)


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


def _row(variant: str, path: Path) -> Row:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        measured = {m.name: scaled(_statistics(summary["metrics"][m.key]), m.unit) for m in METRICS}
        cases = int(summary["cases"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read as a summary of nnUNetv2_sa_unet evaluate ({error!r}): remove it and run again"
        ) from None
    published = PAPER.get(variant)
    label = published.label if published else variant
    return Row({"variant": variant, "label": label}, [label], published, measured, cases)


def _statistics(stored: Mapping[str, Any]) -> Statistics:
    interval = stored["interval"]
    return Statistics(
        mean=stored["mean"],
        std=stored["std"],
        interval=None if interval is None else (interval[0], interval[1]),
        cases=stored["cases"],
        empty=tuple(stored["empty"]),
    )
