"""Which prediction belongs to which reference, and whether the two lie on the same grid.

Works on file names and headers alone; every problem of every file is named in one error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import IMAGE_ENDINGS, images_and_others
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.volumes import read_header, shape_problem
from nnunetv2_sa_unet.text import printable

__all__ = ["Pair", "check_pairs", "matched_pairs"]


@dataclass(frozen=True)
class Pair:
    """A case: its name, its reference and its prediction."""

    case: str
    reference: Path
    prediction: Path


def matched_pairs(reference_folder: Path, prediction_folder: Path) -> list[Pair]:
    """Pair the images of two folders by case and compare their headers.

    A case may be stored in different formats in the two folders.

    Returns:
        The pairs in alphabetical order of their cases.

    Raises:
        InputError: a folder is absent or has no image; or else one error with a line for every file that may be a case
            in a format that is not read, and for every case that is missing on either side, stored twice, unreadable,
            not a 3D image of one channel, or whose size, spacing, origin or direction differ between the two.
    """
    (references, beside), (predictions, beside_predictions) = map(
        images_and_others, (reference_folder, prediction_folder)
    )
    for folder, images in ((reference_folder, references), (prediction_folder, predictions)):
        if not images:
            raise InputError(f"{folder}: no image; expected files that end in {', '.join(IMAGE_ENDINGS)}")
    problems = [
        f"{printable(other.path)}: {other.reason}" for other in (*beside, *beside_predictions) if not other.harmless
    ]
    pairs: list[Pair] = []
    for case in sorted(references.keys() | predictions.keys()):
        found = references.get(case, []), predictions.get(case, [])
        if len(found[0]) == len(found[1]) == 1:
            pair = Pair(case, found[0][0], found[1][0])
            pairs.append(pair)
            problems += _header_problems(pair)
        elif not found[0]:
            problems.append(f"{case}: no reference for {_names(found[1])}; add it or remove the prediction")
        elif not found[1]:
            problems.append(f"{case}: no prediction for {_names(found[0])}; add it or remove the reference")
        else:
            twice = [paths for paths in found if len(paths) > 1]
            problems += [f"{case}: {_names(paths)} are the same case; keep one of them" for paths in twice]
    if problems:
        raise InputError(
            f"references in {reference_folder} and predictions in {prediction_folder} do not match:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )
    return pairs


def check_pairs(pairs: Iterable[Pair], what: str) -> None:
    """Find out that files are absent or lie on different grids before minutes are spent on them.

    Args:
        pairs: whose files are to be compared.
        what: these are, for the error.

    Raises:
        InputError: one error with a line for every pair that :func:`matched_pairs` would not accept.
    """
    problems: list[str] = []
    for pair in pairs:
        files = (("reference", pair.reference), ("prediction", pair.prediction))
        absent = [f"{pair.case}: no {role}: {path} does not exist" for role, path in files if not path.is_file()]
        problems += absent or _header_problems(pair)
    if problems:
        raise InputError("\n".join([f"{what}: not all cases can be scored:", *(f"  {line}" for line in problems)]))


def _names(paths: Iterable[Path]) -> str:
    return " and ".join(path.name for path in paths)


def _header_problems(pair: Pair) -> list[str]:
    headers, problems = [], []
    for role, path in (("reference", pair.reference), ("prediction", pair.prediction)):
        try:
            header = read_header(path)
        except InputError as error:
            problems.append(f"{pair.case}: {role} {error}")
            continue
        problem = shape_problem(header)
        if problem is not None:
            problems.append(f"{pair.case}: {role} {path.name} has {problem}")
        headers.append(header)
    if problems:
        return problems
    differences = geometry_differences(*headers)
    if not differences:
        return []
    return [
        f"{pair.case}: prediction {pair.prediction.name} is not on the reference's grid: "
        f"{'; '.join(differences)}; resample it, or copy the reference's header if only the header is wrong"
    ]
