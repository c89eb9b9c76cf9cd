"""Folds of a cross-validation with the same mix of scanners in each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["FOLDS", "stratified_splits"]

FOLDS = 5
SEED = 12345
"""That of nnU-Net's own split."""


def stratified_splits(groups: Mapping[str, str], subjects: Mapping[str, str]) -> list[dict[str, list[str]]]:
    """Split cases into five folds, each with the same number of subjects of every group, and of all, within one.

    All cases of a subject are in the same fold, or the validation would see heads that the training saw. The same
    cases give the same folds, in whatever order they come.

    Args:
        groups: by case, what is to be mixed evenly (the scanner).
        subjects: by case, whose it is.

    Returns:
        The content of nnU-Net's ``splits_final.json``: for each fold ``train`` and ``val``, both sorted.
    """
    random = np.random.default_rng(SEED)
    # A subject with cases of several groups counts as one of the first.
    group_of = {subjects[case]: groups[case] for case in sorted(groups, reverse=True)}
    dealt: list[str] = []
    for group in sorted(set(group_of.values())):
        dealt += random.permutation(sorted(subject for subject in group_of if group_of[subject] == group)).tolist()
    # Like cards, group after group: no fold gets two more of a group than another.
    folds = [sorted(case for case in groups if subjects[case] in dealt[fold::FOLDS]) for fold in range(FOLDS)]
    return [{"train": sorted(groups.keys() - set(fold)), "val": fold} for fold in folds]
