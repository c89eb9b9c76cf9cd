"""``nnUNetv2_sa_unet evaluate``: score predictions with the metrics of the WMH challenge."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.commands.arguments import at_least
from nnunetv2_sa_unet.files import make_writable, path_from, write_json

if TYPE_CHECKING:
    from nnunetv2_sa_unet.scores.scoring import ScoredCase
    from nnunetv2_sa_unet.scores.statistics import Statistics

__all__ = ["add_parser", "print_remarks", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``evaluate`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="score predictions with the metrics of the WMH challenge",
        description="Score a folder of predictions against a folder of references with the metrics of the "
        "WMH Segmentation Challenge. Files are matched by name. Label 1 is WMH; what the reference marks as "
        "2 (other pathology) is left out. Writes metrics.csv and metrics_summary.json and prints a table.",
    )
    parser.add_argument("reference", type=Path, metavar="REFERENCE_FOLDER", help="reference masks, one a case")
    parser.add_argument("prediction", type=Path, metavar="PREDICTION_FOLDER", help="masks or probability maps")
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="DIR", help="where to write (PREDICTION_FOLDER/evaluation)"
    )
    parser.add_argument(
        "-np",
        dest="processes",
        type=at_least(1),
        metavar="N",
        help="number of processes (one a core, at most 8)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check all files, score all cases, write both files and print the summary."""
    from nnunetv2_sa_unet.images.processes import default_processes
    from nnunetv2_sa_unet.scores.pairs import matched_pairs
    from nnunetv2_sa_unet.scores.scoring import COLUMNS, METRICS_NAME, SUMMARY_NAME, score_pairs, write_metrics
    from nnunetv2_sa_unet.scores.statistics import summarise

    pairs = matched_pairs(arguments.reference, arguments.prediction)
    output: Path = arguments.output or arguments.prediction / "evaluation"
    make_writable(output)
    cases = score_pairs(pairs, arguments.processes or default_processes(), progress=True)
    summary = {
        column: summarise({case.case: getattr(case.metrics, column) for case in cases}) for column in COLUMNS[1:]
    }
    remarks = _cases_by_remark(cases)
    write_metrics(output / METRICS_NAME, cases)
    write_json(output / SUMMARY_NAME, _as_json(arguments, output, len(cases), summary, remarks))
    print("\n".join(_table(summary)))
    print_remarks(cases)
    print(f"wrote {output / METRICS_NAME} and {output / SUMMARY_NAME}")
    return 0


def print_remarks(cases: Sequence[ScoredCase], whose: str = "") -> None:
    """Print how files were read where that is not plain, with the cases that it holds for."""
    for remark, names in _cases_by_remark(cases).items():
        whom = f"all {len(cases)} cases" if len(names) == len(cases) > 1 else ", ".join(names)
        print(f"note: {whose}{remark} ({whom})")


def _cases_by_remark(cases: Sequence[ScoredCase]) -> dict[str, list[str]]:
    """The names of the cases with each remark."""
    names: dict[str, list[str]] = {}
    for case in cases:
        for remark in case.remarks:
            names.setdefault(remark, []).append(case.case)
    return names


def _as_json(
    arguments: argparse.Namespace,
    output: Path,
    cases: int,
    summary: Mapping[str, Statistics],
    remarks: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    from dataclasses import asdict

    from nnunetv2_sa_unet.scores.statistics import CONFIDENCE, RESAMPLES, SEED

    return {
        "version": __version__,
        "reference_folder": path_from(output.resolve(), arguments.reference.resolve()),
        "prediction_folder": path_from(output.resolve(), arguments.prediction.resolve()),
        "cases": cases,
        "bootstrap": {
            "statistic": "mean",
            "method": "percentile",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
        },
        "metrics": {column: asdict(statistics) for column, statistics in summary.items()},
        "remarks": [{"remark": remark, "cases": names} for remark, names in remarks.items()],
    }


def _table(summary: Mapping[str, Statistics]) -> list[str]:
    """The summary in lines of text: one row a metric, cases without a value counted and named."""
    lines = [f"{'metric':<18} {'mean':>8} {'std':>8}  {'95 % interval':<18} {'cases':>5}  empty"]
    for column, statistics in summary.items():
        empty = f"{len(statistics.empty)}: {', '.join(statistics.empty)}" if statistics.empty else "0"
        lines.append(
            f"{column:<18} {_figure(statistics.mean):>8} {_figure(statistics.std):>8}  "
            f"{_interval(statistics):<18} {statistics.cases:>5}  {empty}"
        )
    if any(statistics.interval is None for statistics in summary.values()):
        lines.append("-: no standard deviation and no interval from fewer than two cases, no mean from none")
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(statistics: Statistics) -> str:
    if statistics.interval is None:
        return "-"
    low, high = statistics.interval
    return f"{low:.3f} to {high:.3f}"
