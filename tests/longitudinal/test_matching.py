"""What became of a lesion, and that nothing depends on which visit came first but the words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nnunetv2_sa_unet.longitudinal.matching import KINDS, match_lesions
from nnunetv2_sa_unet.longitudinal.noise import (
    LESION_MM3,
    LESION_SHARE,
    SOURCE,
    TOTAL_ML,
    TOTAL_SHARE,
    lesion_noise_mm3,
    total_noise_ml,
)

SHAPE = (12, 40, 40)
MIRRORED = {"new": "gone", "gone": "new", "enlarged": "shrunk", "shrunk": "enlarged"}
#: mm³: a box of n voxels has this many times n.
VOXEL = LESION_MM3 / 4


def masks(*lesions: tuple[tuple[int, int, int], int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of rows of voxels: where each begins, and how long it is at either visit."""
    made = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for (z, y, x), *lengths in lesions:
        for mask, length in zip(made, lengths, strict=True):
            mask[z, y, x : x + length] = True
    return made


def test_each_kind_of_change_is_told() -> None:
    lengths = ((0, 9), (9, 30), (20, 21), (30, 9), (9, 0), (0, 4))
    places = ((1, 2), (1, 10), (1, 20), (1, 30), (8, 2), (8, 10))
    first, second = masks(*(((z, y, 2), *both) for (z, y), both in zip(places, lengths, strict=True)))
    changes, kinds = match_lesions(first, second, VOXEL)
    assert {change.kind for change in changes} == set(KINDS)
    assert [KINDS[kinds[z, y, 2] - 1] for z, y in places] == list(KINDS)
    np.testing.assert_array_equal(kinds > 0, first | second)
    by_kind = {change.kind: change for change in changes}
    assert by_kind["new"].first_mm3 == 0
    assert by_kind["enlarged"].change_mm3 == pytest.approx(21 * VOXEL)
    assert sum(change.first_mm3 for change in changes) == pytest.approx(first.sum() * VOXEL)
    assert sum(change.second_mm3 for change in changes) == pytest.approx(second.sum() * VOXEL)
    assert [abs(change.change_mm3) for change in changes] == sorted((abs(c.change_mm3) for c in changes), reverse=True)


def test_swapped_visits_give_the_mirrored_result() -> None:
    random = np.random.default_rng(0)
    first, second = (random.random(SHAPE) > 0.985 for _ in range(2))
    second |= np.roll(first, 1, 2)
    changes, kinds = match_lesions(first, second, 9.0)
    swapped, others = match_lesions(second, first, 9.0)
    assert len(changes) > 10
    mirrored = np.array([0, *(1 + KINDS.index(MIRRORED.get(kind, kind)) for kind in KINDS)])
    np.testing.assert_array_equal(mirrored[kinds], others)
    assert sorted((MIRRORED.get(c.kind, c.kind), c.second_mm3, c.first_mm3, c.second_parts) for c in changes) == sorted(
        (c.kind, c.first_mm3, c.second_mm3, c.first_parts) for c in swapped
    )


def test_what_merged_or_fell_apart_is_one_lesion() -> None:
    first, second = masks(((5, 5, 2), 10, 25), ((5, 5, 15), 10, 0))
    for pair, parts in (((first, second), (2, 1)), ((second, first), (1, 2))):
        (change,), _ = match_lesions(*pair, 30.0)
        assert (change.first_parts, change.second_parts) == parts


def test_a_lesion_a_voxel_beside_is_the_same() -> None:
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[3, 4, 4] = second[4, 5, 5] = True
    (change,), _ = match_lesions(first, second, 30.0)
    assert (change.kind, change.first_parts, change.second_parts) == ("stable", 1, 1)


def test_the_limit_itself_is_noise() -> None:
    for length, kind in ((4, "uncertain"), (5, "new")):
        (change,), _ = match_lesions(*masks(((5, 5, 5), 0, length)), VOXEL)
        assert change.kind == kind


def test_identical_masks_are_stable_and_empty_ones_nothing() -> None:
    mask, _ = masks(((1, 2, 2), 1, 0), ((5, 5, 5), 30, 0))
    changes, _ = match_lesions(mask, mask, 7.2)
    assert [change.kind for change in changes] == ["stable", "stable"]
    changes, kinds = match_lesions(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), 7.2)
    assert (changes, kinds.any()) == ([], False)


def test_noise_grows_with_the_volume() -> None:
    assert lesion_noise_mm3(0) == LESION_MM3
    assert lesion_noise_mm3(1e4) == pytest.approx(LESION_SHARE * 1e4)
    assert total_noise_ml(100) > total_noise_ml(1) > 0


def test_the_limits_are_those_of_the_pages(source_tree: Path) -> None:
    docs = source_tree / "docs"
    page = (docs / "reference" / "longitudinal.md").read_text(encoding="utf-8")
    assert f"| a lesion | {LESION_MM3:g} mm³, or {100 * LESION_SHARE:g} % of its larger volume" in page
    assert f"| a subject's whole volume | {TOTAL_ML:g} ml, or {100 * TOTAL_SHARE:g} % of the larger volume" in page
    measured = (docs / "benchmarks" / "longitudinal.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in measured.splitlines() if re.match(r"\| \d", line)]
    lesions, beyond = (sum(int(row[column]) for row in table) for column in (1, -1))
    pairs = len(re.findall(r"^\| head\d", measured, re.MULTILINE))
    assert f"{lesions - beyond} of {lesions} lesions, and the whole volume in all of {pairs} pairs," in SOURCE
    assert all(int(row[-1]) <= 0.05 * int(row[1]) for row in table)
