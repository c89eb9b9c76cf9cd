"""Second readings of the same cases: what to score against what, to see how far human observers agree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import images_in
from nnunetv2_sa_unet.scores.pairs import Pair

__all__ = ["REFERENCE", "observer_pairs"]

REFERENCE = "reference"
_FEWEST_CASES = 2


def observer_pairs(folder: Path, references: Mapping[str, Path]) -> dict[str, list[Pair]]:
    """Pair every observer with the reference, and every two observers with each other.

    In ``A against B`` observer A takes the place of a prediction and B that of the reference. Only cases that
    everybody has read are paired, so that all figures are of the same ones.

    Args:
        folder: one folder of labels an observer, by the observer's name.
        references: the references by case.

    Returns:
        The pairs by their name: each observer ``against reference``, then each ``against`` those before.

    Raises:
        InputError: there is no observer, or one is called ``reference``; a case is stored twice; fewer than two cases
            were read by all.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with a folder of labels for each observer")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise InputError(f"{folder}: no observer; expected a folder of labels for each, such as {folder / 'o3'}")
    if REFERENCE in names:
        raise InputError(
            f"{folder / REFERENCE}: expected another name for an observer: so the tables call the reference"
        )
    readings = {REFERENCE: dict(references), **{name: _labels(folder / name) for name in names}}
    common = [case for case in references if all(case in labels for labels in readings.values())]
    if len(common) < _FEWEST_CASES:
        found = ", ".join(f"{name} {len(labels)}" for name, labels in readings.items())
        raise InputError(
            f"{folder}: {len(common)} of the evaluated cases were read by every observer, expected at least "
            f"{_FEWEST_CASES} (files: {found}): their names must be those of the references"
        )
    return {
        f"{second} against {first}": [Pair(case, readings[first][case], readings[second][case]) for case in common]
        for first, second in combinations(readings, 2)
    }


def _labels(folder: Path) -> dict[str, Path]:
    images = images_in(folder)
    for case, paths in images.items():
        if len(paths) > 1:
            raise InputError(f"{folder}: {' and '.join(path.name for path in paths)} are both {case}; keep one of them")
    return {case: paths[0] for case, paths in images.items()}
