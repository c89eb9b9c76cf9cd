"""Images that a program holds become SimpleITK's, and results what came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.spatialimages import SpatialImage

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.in_memory import as_sitk, in_type_of

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def oblique(code: str = "LPS") -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(VALUES)
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((-12.3, 45.6, -7.8))
    cosine, sine = np.cos(0.3), np.sin(0.3)
    image.SetDirection((1, 0, 0, 0, cosine, -sine, 0, sine, cosine))
    return SimpleITK.DICOMOrient(image, code)


@pytest.mark.parametrize("code", ["LPS", "RAS", "PSR", "AIL"])
@pytest.mark.parametrize("scaled", [False, True])
def test_an_image_of_nibabel_is_that_of_its_file(tmp_path: Path, code: str, scaled: bool) -> None:
    path = tmp_path / "image.nii.gz"
    SimpleITK.WriteImage(oblique(code), str(path))
    if scaled:
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj) * 0.1 + 3.7, None, image.header), path)
    expected, found = SimpleITK.ReadImage(str(path)), as_sitk(nibabel.load(path), None, None)
    assert geometry_differences(expected, found) == []
    # As nnU-Net takes them, to the last bit.
    values = [SimpleITK.GetArrayFromImage(image).astype(np.float32) for image in (expected, found)]
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize(("orientation", "code"), [("SPL", "LPS"), ("RAS", "SAR"), ("irp", "PRI")])
def test_an_array_lies_as_it_says(orientation: str, code: str) -> None:
    image = as_sitk(VALUES, (3, 0.75, 0.5), orientation)
    found = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    assert (found, image.GetSpacing()) == (code, (0.5, 0.75, 3))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), VALUES)


def test_an_array_as_nibabel_names_it_is_its_image() -> None:
    made = nibabel.Nifti1Image(VALUES, np.diag([-2, 3, 4, 1]))
    of_array = as_sitk(np.asarray(made.dataobj), (2, 3, 4), "".join(nibabel.aff2axcodes(made.affine)))
    # An array names its axes the other way round, so the same voxels come in another order.
    of_image, of_array = (SimpleITK.DICOMOrient(each, "LPS") for each in (as_sitk(made, None, None), of_array))
    assert of_image.GetSpacing() == of_array.GetSpacing()
    np.testing.assert_array_equal(*map(SimpleITK.GetArrayFromImage, (of_image, of_array)))


@pytest.mark.parametrize("image", [oblique("PSR"), nibabel.Nifti1Image(VALUES, np.diag([-2, 3, 4, 1])), VALUES])
def test_a_result_lies_on_the_grid_of_what_came_in(image: Any) -> None:
    geometry = ((3, 2, 1), "SPL") if isinstance(image, np.ndarray) else (None, None)
    made = as_sitk(image, *geometry)
    found = in_type_of(image, SimpleITK.GetArrayFromImage(made).astype(np.uint8))
    assert isinstance(found, type(image))
    again = as_sitk(found, *geometry)
    assert geometry_differences(made, again) == []
    np.testing.assert_array_equal(*map(SimpleITK.GetArrayFromImage, (made, again)))
    if isinstance(found, nibabel.Nifti1Image):
        assert (found.get_data_dtype(), found.shape) == (np.uint8, image.shape)


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">i2", "uint64", "float16", "float32", "longdouble"])
def test_numbers_of_any_type_are_taken(dtype: str) -> None:
    values = (VALUES % 2).astype(dtype)[:, ::-1]
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(as_sitk(values, (1, 1, 1), "RAS")), values.astype(int))


NAN = np.where(VALUES == 7, np.nan, VALUES)


@pytest.mark.parametrize(
    ("image", "spacing", "orientation", "words"),
    [
        (VALUES, None, None, "an array says nothing of its voxels: give spacing"),
        (VALUES, (1, 1, 1), None, "an array says nothing of its voxels: give spacing"),
        (VALUES, (1, 1, 1), "LPX", "orientation: found 'LPX'; expected three letters"),
        (VALUES, (1, 1, 1), "LRS", "orientation: found 'LRS'; expected three letters"),
        (VALUES, (1, 1, 1), "LPSS", "orientation: found 'LPSS'; expected three letters"),
        (VALUES, (1, 1), "SPL", "spacing: found 2 numbers"),
        (VALUES, (1, 1, 0), "SPL", "image: voxel of 0×1×1 mm"),
        (VALUES[0], (1, 1, 1), "SPL", "image: 2 axes; expected a 3D array"),
        (VALUES[:0], (1, 1, 1), "SPL", "image: size 5×4×0 voxels"),
        (VALUES + 1j, (1, 1, 1), "SPL", "image: holds complex128; expected one real number"),
        (NAN, (1, 1, 1), "SPL", "image: 1 voxels hold no number"),
        (oblique(), (1, 1, 1), None, "image: has a geometry of its own"),
        (nibabel.Nifti1Image(VALUES[None], np.eye(4)), None, None, "image: 4 axes; expected a 3D image"),
        (SpatialImage(VALUES, None), None, None, "image: has no affine"),
        (nibabel.Nifti1Image(VALUES, np.eye(4) + np.eye(4, k=1)), None, None, "image: direction"),
        (SimpleITK.Image(4, 4, SimpleITK.sitkFloat32), None, None, "image: 2 axes and 1 channels"),
    ],
)
def test_what_is_no_image_is_refused_in_a_line(image: Any, spacing: Any, orientation: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        as_sitk(image, spacing, orientation)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_object_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"image: found builtins\.list; expected a path, an image of SimpleITK"):
        as_sitk([[1]], None, None)  # type: ignore[arg-type]
