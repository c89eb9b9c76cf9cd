"""Regions of voxels and lesions whose distances are written down."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_sa_unet.regions.assignment import LABELS, Surroundings, region_load, region_map
from nnunetv2_sa_unet.regions.distance import distance_mm


def around(**other: object) -> Surroundings:
    """A row of voxels from within a ventricle (index 0) to the outside of the head, and its cortex before that."""
    to_ventricles = np.array([-1, 1, 3, 5, 9, 11, 13, 15, 20, 25], np.float32)
    to_cortex = np.array([30, 25, 22, 20, 16, 14, 10, 4, -1, 3], np.float32)
    flags = {
        "intracranial": np.array([1] * 9 + [0], bool),
        "infratentorial": np.zeros(10, bool),
        "right": np.zeros(10, bool),
    } | other
    row = {name: np.reshape(values, (1, 1, 10)) for name, values in flags.items()}
    return Surroundings(to_ventricles[None, None], to_cortex[None, None], **row)  # type: ignore[arg-type]


def mask(*indices: int) -> np.ndarray:
    wmh = np.zeros((1, 1, 10), bool)
    wmh[0, 0, list(indices)] = True
    return wmh


P, D, J, T = (LABELS[f"{name}_left"] for name in ("periventricular", "deep", "juxtacortical", "infratentorial"))
V = LABELS["lateral_ventricles"]


def test_each_voxel_has_the_region_of_its_own_distances() -> None:
    assert region_map(around(), mask(), "voxel").ravel().tolist() == [V, P, P, P, P, D, D, J, J, 0]


def test_wmh_have_a_region_wherever_they_lie() -> None:
    found = region_map(around(), mask(0, 9), "voxel").ravel().tolist()
    assert found == [P, P, P, P, P, D, D, J, J, J]


def test_infratentorial_goes_before_all_others_and_sides_follow_the_atlas() -> None:
    below = np.array([0, 1, 0, 0, 0, 0, 0, 1, 0, 0], bool)
    right = np.array([0] * 5 + [1] * 5, bool)
    found = region_map(around(infratentorial=below, right=right), mask(), "voxel").ravel().tolist()
    assert found == [V, T, P, P, P, D + 1, D + 1, T + 1, J + 1, 0]


@pytest.mark.parametrize(
    ("wmh", "expected"),
    [
        # It comes within 3 mm of the ventricles, and belongs to them as a whole.
        ((2, 3, 4, 5, 6, 7), P),
        # It does not: what lies within 10 mm counts as deep.
        ((3, 4, 5), D),
        ((3, 4), D),
        # Two of three voxels are near the cortex.
        ((6, 7, 8), J),
    ],
)
def test_a_lesion_has_one_region_by_the_confluent_rule(wmh: tuple[int, ...], expected: int) -> None:
    found = region_map(around(), mask(*wmh), "confluent").ravel()
    assert set(found[list(wmh)].tolist()) == {expected}
    # Around it nothing changes.
    others = [index for index in range(10) if index not in wmh]
    assert found[others].tolist() == region_map(around(), mask(), "voxel").ravel()[others].tolist()


def test_an_infratentorial_lesion_is_not_made_periventricular() -> None:
    below = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    found = region_map(around(infratentorial=below), mask(2, 3, 4), "confluent").ravel()
    assert found[[2, 3, 4]].tolist() == [T, T, T]


def test_volumes_add_up_and_a_lesion_counts_where_most_of_it_lies() -> None:
    wmh = mask(1, 2, 3, 4, 5, 7)
    load = region_load(region_map(around(), wmh, "voxel"), wmh, 500.0)
    assert {name: ml for name, ml in load.ml.items() if ml} == {
        "periventricular_left": 2.0, "deep_left": 0.5, "juxtacortical_left": 0.5,
    }  # fmt: skip
    assert load.lesions == {"periventricular": 1, "deep": 0, "juxtacortical": 1, "infratentorial": 0}
    nothing = region_load(region_map(around(), mask(), "confluent"), mask(), 500.0)
    assert set(nothing.ml.values()) == set(nothing.lesions.values()) == {0}


def test_distances_are_to_the_surface_between_voxels() -> None:
    found = distance_mm(np.array([1, 1, 0, 0], bool).reshape(1, 1, 4), 2.0).ravel()
    assert found.tolist() == [-3.0, -1.0, 1.0, 3.0]
    assert np.isinf(distance_mm(np.zeros((2, 2, 2), bool), 1.0)).all()
