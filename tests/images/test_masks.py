"""Which stored values are WMH."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.masks import predicted_wmh, reference_masks


def test_label_1_of_a_reference_is_wmh_and_label_2_other_pathology() -> None:
    wmh, other, remarks = reference_masks(np.array([0, 1, 2, 0], dtype=np.uint8))
    assert wmh.tolist() == [False, True, False, False]
    assert other.tolist() == [False, False, True, False]
    assert remarks == ()


def test_float_references_are_read_within_half_a_label() -> None:
    values = np.array([0.5, 0.51, 1.49, 1.5, 1.51, 2.49, np.nan])
    wmh, other, _ = reference_masks(values)
    assert wmh.tolist() == [False, True, True, False, False, False, False]
    assert other.tolist() == [False, False, False, False, True, True, False]


def test_further_labels_of_a_reference_are_background_and_draw_a_remark() -> None:
    wmh, other, remarks = reference_masks(np.array([0, 1, 3, -1], dtype=np.int16))
    assert wmh.sum() == 1
    assert not other.any()
    assert remarks == ("reference: -1, 3 counted as background, only 1 is WMH and 2 other pathology",)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_reference_without_label_1_but_with_unknown_values_is_refused(dtype: str) -> None:
    with pytest.raises(InputError, match=r"values 255 and no label 1; expected 1 \(WMH\)"):
        reference_masks(np.array([0, 255]).astype(dtype))


def test_a_reference_of_other_pathology_alone_has_no_wmh() -> None:
    wmh, other, remarks = reference_masks(np.array([0, 2]))
    assert (wmh.any(), other.any(), remarks) == (False, True, ())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize(
    ("values", "expected", "remarks"),
    [
        ([0, 0, 0], [False, False, False], ()),
        ([0, 1, 1], [False, True, True], ()),
        ([0, 1, 2], [False, True, False], ("prediction: only label 1 counted as WMH, 2 left out",)),
        (
            [0, 2, 2],
            [False, False, False],
            ("prediction: only label 1 counted as WMH, 2 left out; label 1 does not occur",),
        ),
        ([0, 255, 0], [False, True, False], ("prediction: a mask of 0 and 255, 255 counted as WMH",)),
        ([1, 255, 0], [True, False, False], ("prediction: only label 1 counted as WMH, 255 left out",)),
    ],
)
def test_predictions_of_whole_numbers_are_labels(
    dtype: str, values: list[int], expected: list[bool], remarks: tuple[str, ...]
) -> None:
    mask, found = predicted_wmh(np.array(values, dtype=dtype))
    assert mask.tolist() == expected
    assert found == remarks


def test_many_labels_are_given_as_a_range() -> None:
    _, remarks = predicted_wmh(np.arange(200, dtype=np.int16))
    assert remarks == ("prediction: only label 1 counted as WMH, 198 values from 2 to 199 left out",)


def test_probabilities_count_from_one_half() -> None:
    mask, remarks = predicted_wmh(np.array([0.0, 0.49, 0.5, 1.0, np.nan], dtype=np.float32))
    assert mask.tolist() == [False, False, True, True, False]
    assert remarks == ()


def test_nan_beside_labels_is_background() -> None:
    mask, remarks = predicted_wmh(np.array([0.0, 1.0, 2.0, np.nan]))
    assert mask.tolist() == [False, True, False, False]
    assert remarks == ("prediction: only label 1 counted as WMH, 2 left out",)


def test_values_that_are_no_probabilities_draw_a_remark() -> None:
    mask, remarks = predicted_wmh(np.array([0.2, 62.5]))
    assert mask.tolist() == [False, True]
    assert remarks == ("prediction: values up to 62.5 are no probabilities; 0.5 and above counted as WMH",)
