"""Score a folder of predictions against a folder of references, in several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from tqdm import tqdm

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_rows
from nnunetv2_sa_unet.images.processes import mapping
from nnunetv2_sa_unet.images.volumes import read_remarked
from nnunetv2_sa_unet.scores.metrics import CaseMetrics, score
from nnunetv2_sa_unet.scores.pairs import Pair

__all__ = [
    "COLUMNS", "METRICS_NAME", "SUMMARY_NAME", "ScoredCase", "score_images", "score_pair", "score_pairs", "voxel_axes",
    "write_metrics",
]  # fmt: skip

#: What ``nnUNetv2_sa_unet evaluate`` writes: a row a case, and means with their intervals. nnU-Net keeps a
#: ``summary.json`` of its own beside its predictions: ours has another name.
METRICS_NAME = "metrics.csv"
SUMMARY_NAME = "metrics_summary.json"
#: The columns of ``METRICS_NAME``.
COLUMNS = ("case", *(field.name for field in fields(CaseMetrics)))


@dataclass(frozen=True)
class ScoredCase:
    """The figures of a case and remarks on how its files were read."""

    case: str
    metrics: CaseMetrics
    remarks: tuple[str, ...]


def voxel_axes(image: Any) -> NDArray[np.float64]:
    """The steps (3, 3) in mm in world coordinates along the array axes (z, y, x) of a SimpleITK image."""
    direction = np.asarray(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    # Column i of direction times spacing is the step along image axis i (x, y, z).
    columns: NDArray[np.float64] = direction * np.asarray(image.GetSpacing(), dtype=np.float64)
    return np.flip(columns.T, axis=0)


def score_pair(pair: Pair) -> ScoredCase:
    """Read and score one case.

    Raises:
        InputError: a file cannot be read to its end, or holds what is no reference or no prediction.
    """
    reference, said_of_reference = _read(pair, pair.reference)
    prediction, said_of_prediction = _read(pair, pair.prediction)
    try:
        metrics, remarks = score_images(reference, prediction)
    except InputError as error:
        path = pair.prediction if str(error).startswith("prediction") else pair.reference
        raise InputError(f"{pair.case}: {path}: {error}") from error
    said = [f"reference: {remark}" for remark in said_of_reference]
    said += [f"prediction: {remark}" for remark in said_of_prediction]
    return ScoredCase(pair.case, metrics, (*remarks, *said))


def score_images(reference: SimpleITK.Image, prediction: SimpleITK.Image) -> tuple[CaseMetrics, tuple[str, ...]]:
    """Score one case whose images lie on one grid; see :func:`.metrics.score` for what is returned and raised."""
    arrays = SimpleITK.GetArrayViewFromImage(reference), SimpleITK.GetArrayViewFromImage(prediction)
    return score(*arrays, voxel_axes(reference))


def score_pairs(pairs: Sequence[Pair], processes: int, progress: bool = False) -> list[ScoredCase]:
    """Score cases, in the order of ``pairs``.

    Args:
        pairs: cases whose headers agree (``pairs.matched_pairs``).
        processes: how many processes share the work; with 1 it is done in this one.
        progress: draw a bar on standard error.

    Raises:
        InputError: one line for every case that cannot be scored, after all cases were tried.
    """
    with mapping(min(processes, len(pairs))) as apply:
        results = list(tqdm(apply(_score_or_problem, pairs), total=len(pairs), unit="case", disable=not progress))
    problems = [str(result) for result in results if isinstance(result, InputError)]
    if problems:
        raise InputError("\n".join(["some cases cannot be scored:", *(f"  {problem}" for problem in problems)]))
    return [result for result in results if isinstance(result, ScoredCase)]


def write_metrics(path: Path, cases: Iterable[ScoredCase]) -> None:
    """Write one row a case with ``COLUMNS``; what has no value is an empty field."""
    write_rows(path, COLUMNS, ((case.case, *astuple(case.metrics)) for case in cases))


def _score_or_problem(pair: Pair) -> ScoredCase | InputError:
    """An exception would end the whole map at the first bad file: hand it back instead."""
    try:
        return score_pair(pair)
    except InputError as error:
        return error


def _read(pair: Pair, path: Path) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    try:
        return read_remarked(path)
    except InputError as error:
        raise InputError(f"{pair.case}: {error}") from error
