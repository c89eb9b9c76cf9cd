"""Folds of a cross-validation with the same mix of scanners in each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["FOLDS", "stratified_splits"]

FOLDS = 5
SEED = 12345
"""That of nnU-Net's own split."""


def stratified_splits(groups: Mapping[str, str]) -> list[dict[str, list[str]]]:
    """Split cases into five folds, each with the same number of cases of every group, and of all cases, within one.

    The same cases give the same folds, in whatever order they come.

    Args:
        groups: by case, what is to be mixed evenly (the scanner); at least five cases.

    Returns:
        The content of nnU-Net's ``splits_final.json``: for each fold ``train`` and ``val``, both sorted.
    """
    random = np.random.default_rng(SEED)
    dealt: list[str] = []
    for group in sorted(set(groups.values())):
        dealt += random.permutation(sorted(case for case in groups if groups[case] == group)).tolist()
    # Like cards, group after group: no fold gets two more of a group than another.
    folds = [sorted(dealt[fold::FOLDS]) for fold in range(FOLDS)]
    return [{"train": sorted(groups.keys() - set(fold)), "val": fold} for fold in folds]
