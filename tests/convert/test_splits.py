"""Folds with the same mix of scanners."""

from __future__ import annotations

from collections import Counter

import pytest

from nnunetv2_sa_unet.convert.splits import FOLDS, stratified_splits


@pytest.mark.parametrize(
    "numbers", [{"Utrecht": 20, "Singapore": 20, "GE3T": 20}, {"a": 7, "b": 13, "c": 3}, {"a": 2, "b": 2, "c": 2}]
)
def test_the_mix_of_any_two_folds_differs_by_at_most_one_case(numbers: dict[str, int]) -> None:
    groups = {f"{name}_{index}": name for name, number in numbers.items() for index in range(number)}
    splits = stratified_splits(groups, {case: case for case in groups})
    assert len(splits) == FOLDS
    assert sorted(case for split in splits for case in split["val"]) == sorted(groups)
    for split in splits:
        assert sorted(split["train"] + split["val"]) == sorted(groups)
    mixes = [Counter(groups[case] for case in split["val"]) for split in splits]
    for name in numbers:
        assert max(mix[name] for mix in mixes) - min(mix[name] for mix in mixes) <= 1
    sizes = [mix.total() for mix in mixes]
    assert max(sizes) - min(sizes) <= 1


def test_the_folds_do_not_depend_on_the_order_and_are_no_sorted_runs() -> None:
    groups = {f"{name}_{index:03d}": name for name in ("a", "b") for index in range(10)}
    splits = stratified_splits(groups, {case: case for case in groups})
    assert stratified_splits(dict(reversed(groups.items())), {case: case for case in groups}) == splits
    assert splits[0]["val"] != sorted(groups)[::FOLDS]


def test_all_cases_of_a_subject_are_in_the_same_fold() -> None:
    subjects = {f"sub-{subject}_ses-{session}": f"{subject}" for subject in range(7) for session in range(3)}
    splits = stratified_splits(dict.fromkeys(subjects, ""), subjects)
    seen = [{subjects[case] for case in split["val"]} for split in splits]
    assert sorted(subject for fold in seen for subject in fold) == sorted(set(subjects.values()))
    assert sorted(map(len, seen)) == [1, 1, 1, 2, 2]
    assert all(len(split["val"]) == 3 * len(fold) for split, fold in zip(splits, seen, strict=True))
