"""Which stored values are WMH."""

from __future__ import annotations

from collections.abc import Callable

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
    values = np.array([0.5, 0.51, 1.49, 1.5, 1.51, 2.49])
    wmh, other, _ = reference_masks(values)
    assert wmh.tolist() == [False, True, True, False, False, False]
    assert other.tolist() == [False, False, False, False, True, True]


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
    _, remarks = predicted_wmh(np.arange(12, dtype=np.int16))
    assert remarks == ("prediction: only label 1 counted as WMH, 10 values from 2 to 11 left out",)


def test_probabilities_count_from_one_half() -> None:
    mask, remarks = predicted_wmh(np.array([0.0, 0.49, 0.5, 1.0, 1.05], dtype=np.float32))
    assert mask.tolist() == [False, False, True, True, True]
    assert remarks == ()


@pytest.mark.parametrize("read", [predicted_wmh, reference_masks])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_background(read: Callable[..., object], value: float) -> None:
    with pytest.raises(InputError, match="2 voxels hold no number"):
        read(np.array([0.0, 1.0, value, value]))


@pytest.mark.parametrize(
    "values", [np.array([0.2, 62.5]), np.array([-3.5, 0.5]), np.arange(400), np.arange(400.0), np.array([-1, 0, 1])]
)
def test_an_image_in_the_place_of_a_prediction_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^prediction: .* not an image$"):
        predicted_wmh(values)


@pytest.mark.parametrize("values", [np.arange(400), np.arange(400.0), np.linspace(0, 90, 400)])
def test_an_image_in_the_place_of_a_reference_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected labels and not an image"):
        reference_masks(values)
