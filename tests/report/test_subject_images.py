"""Volumes of any orientation are turned so that they are drawn in radiological convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.report.subject_images import read_volumes
from nnunetv2_sa_unet.segmentation.record import Input, Subject


def write(path: Path, array: Any, orientation: str) -> str:
    """Write an array (z, y, x) whose axes x, y, z run as the letters say, with voxels of 1 × 2 × 3 mm."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetDirection(SimpleITK.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(orientation))
    SimpleITK.WriteImage(image, str(path))
    return str(path)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "ASL", "LSA"])
def test_the_patients_left_back_and_top_are_at_the_ends_of_the_axes(tmp_path: Path, orientation: str) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    # The corner of the array that lies to the patient's left, back and top.
    corner = tuple(-1 if letter in "LPS" else 0 for letter in reversed(orientation))
    array[corner] = 1
    image = write(tmp_path / "flair.nii.gz", array, orientation)
    write(tmp_path / "a_wmh.nii.gz", array.astype(np.uint8), orientation)
    subject = Subject(
        subject="a", status="ok", message="", inputs=[Input(path=image, sha256=None)], mask="a_wmh.nii.gz"
    )
    volumes = read_volumes(tmp_path, subject, None)
    assert volumes.remarks == ()
    assert volumes.flair is not None
    for values in (volumes.flair, volumes.labels):
        assert values[-1, -1, -1] == 1
        assert values.sum() == 1
    x, y, z = (size - 1 for size in reversed(volumes.labels.shape))
    stored = nibabel.load(image)
    (index,) = np.argwhere(np.asarray(stored.dataobj) == 1)
    expected = nibabel.affines.apply_affine(stored.affine, index)
    np.testing.assert_allclose((volumes.affine @ (x, y, z, 1))[:3], expected, atol=1e-4)
    assert sorted(volumes.spacing) == pytest.approx([1, 2, 3])
    assert np.linalg.norm(volumes.axes, axis=1) == pytest.approx(volumes.spacing)
