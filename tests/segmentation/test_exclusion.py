"""Masks of places where nothing counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.exclusion import exclusion_masks, read_exclusion


def write(path: Path, values: np.ndarray) -> SimpleITK.Image:
    path.parent.mkdir(exist_ok=True)
    image = SimpleITK.GetImageFromArray(values)
    SimpleITK.WriteImage(image, str(path))
    return image


def test_masks_are_for_all_or_for_those_whose_name_they_have(tmp_path: Path) -> None:
    write(tmp_path / "strokes" / "a.nii.gz", np.zeros((2, 3, 4), np.uint8))
    assert exclusion_masks(tmp_path / "strokes" / "a.nii.gz", ["a", "b"]) == dict.fromkeys(
        "ab", tmp_path / "strokes" / "a.nii.gz"
    )
    assert exclusion_masks(tmp_path / "strokes", ["a", "b"]) == {"a": tmp_path / "strokes" / "a.nii.gz"}


def test_folders_that_say_nothing_of_any_subject_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file or folder"):
        exclusion_masks(tmp_path / "strokes", ["a"])
    write(tmp_path / "strokes" / "b.nii.gz", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match=r"no mask is named as a subject, such as a\.nii\.gz"):
        exclusion_masks(tmp_path / "strokes", ["a"])
    write(tmp_path / "strokes" / "b.mha", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match="b has several masks"):
        exclusion_masks(tmp_path / "strokes", ["b"])


def test_a_mask_is_read_on_the_grid_of_the_image(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3, (2, 3, 4)).astype(np.uint8)
    image = write(tmp_path / "mask.nii.gz", values)
    np.testing.assert_array_equal(read_exclusion(tmp_path / "mask.nii.gz", image), values > 0)
    image.SetSpacing((1, 1, 2))
    with pytest.raises(InputError, match=r"mask\.nii\.gz: not on the grid of the image: spacing"):
        read_exclusion(tmp_path / "mask.nii.gz", image)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.zeros((2, 3, 4, 3), np.uint8), "3 axes and 3 channels"),
        (np.zeros((5, 2, 3, 4), np.uint8), "4 axes and 1 channels"),
        (np.zeros((3, 4), np.uint8), "2 axes and 1 channels"),
        # MetaImage has no complex numbers and makes channels of them.
        (np.zeros((2, 3, 4), np.complex64), "(holds complex numbers|3 axes and 2 channels)"),
        (np.full((2, 3, 4), np.nan, np.float32), ".* no number"),
    ],
    ids=["vector", "4D", "2D", "complex", "NaN"],
)
@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_what_is_no_mask_is_refused(tmp_path: Path, values: np.ndarray, problem: str, ending: str) -> None:
    path = tmp_path / f"mask{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values, isVector=values.shape[-1] == 3), str(path))
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4), np.int16))
    with pytest.raises(InputError, match=f"^{path}: {problem}"):
        read_exclusion(path, image)
