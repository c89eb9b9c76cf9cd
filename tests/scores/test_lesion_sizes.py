"""Lesions counted, measured and dropped by size."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_sa_unet.scores.lesion_sizes import SIZE_CLASSES, lesion_load, without_small


@pytest.fixture
def mask() -> np.ndarray:
    """Lesions of 1, 4, 5 and 200 voxels; that of 4 hangs together by a corner."""
    mask = np.zeros((10, 40, 40), bool)
    mask[0, 0, 0] = True
    mask[2, 0, 0:2] = mask[3, 1, 2:4] = True
    mask[5, 0, 0:5] = True
    mask[7:9, 10:20, 10:20] = True
    return mask


def test_lesions_are_counted_and_measured_by_size(mask: np.ndarray) -> None:
    load = lesion_load(mask, voxel_mm3=3.0)
    assert (load.volume_ml, load.lesions, load.largest_ml) == (0.63, 4, 0.6)
    assert load.lesions_by_size == {
        "below_15_mm3": 2,
        "15_to_500_mm3": 1,
        "500_to_4000_mm3": 1,
        "from_4000_mm3": 0,
    }
    assert load.ml_by_size == {
        "below_15_mm3": 0.015,
        "15_to_500_mm3": 0.015,
        "500_to_4000_mm3": 0.6,
        "from_4000_mm3": 0.0,
    }


def test_a_spacing_that_was_stored_in_32_bit_moves_no_lesion_to_another_class(mask: np.ndarray) -> None:
    assert lesion_load(mask, voxel_mm3=2.9999998).lesions_by_size == lesion_load(mask, voxel_mm3=3.0).lesions_by_size
    assert without_small(mask, 2.9999998, 15).sum() == 205


def test_a_mask_without_lesions_has_zeros() -> None:
    load = lesion_load(np.zeros((3, 4, 5), bool), 1.0)
    assert (load.volume_ml, load.lesions, load.largest_ml) == (0, 0, 0)
    assert load.lesions_by_size == {size.name: 0 for size in SIZE_CLASSES}


def test_small_lesions_are_dropped_and_the_others_stay_as_they_are(mask: np.ndarray) -> None:
    kept = without_small(mask, 3.0, 15)
    assert kept.sum() == 205
    assert not (kept & ~mask).any()
    assert not without_small(np.zeros((3, 4, 5), bool), 1.0, 1).any()
