"""Images are turned to the orientation of the training images, and results back."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.nnunet.orientation import ORIENTATION_KEY, direction_code
from nnunetv2_sa_unet.segmentation.orientation import Grid, ModelOrientation, model_orientation

VALUES = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)


def oblique(seed: int) -> SimpleITK.Image:
    """An image that is turned in the scanner in any way."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    image = SimpleITK.GetImageFromArray(VALUES)
    image.SetSpacing((1.0, 1.5, 2.5))
    image.SetOrigin((-12.3, 45.6, -7.8))
    image.SetDirection(axes.ravel().tolist())
    return image


def storage_orders(image: SimpleITK.Image) -> list[SimpleITK.Image]:
    """The same voxels in the same places in all 48 orders."""
    return [
        SimpleITK.Flip(SimpleITK.PermuteAxes(image, order), flips, False)
        for order in itertools.permutations(range(3))
        for flips in itertools.product((False, True), repeat=3)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_model_sees_the_same_voxels_however_they_are_stored(seed: int) -> None:
    orders = storage_orders(oblique(seed))
    assert len({direction_code(image.GetDirection()) for image in orders}) == 48
    seen = set()
    for image in orders:
        grid = Grid(image, "LPS")
        values = SimpleITK.GetArrayFromImage(image)
        turned = grid.turned(image)
        assert direction_code(turned.GetDirection()) == "LPS"
        assert grid.is_turned == (direction_code(image.GetDirection()) != "LPS")
        np.testing.assert_array_equal(grid.to_model(values), SimpleITK.GetArrayFromImage(turned))
        np.testing.assert_array_equal(grid.to_stored(grid.to_model(values)), values)
        written = grid.image(values)
        assert (written.GetOrigin(), written.GetSpacing(), written.GetDirection()) == (
            image.GetOrigin(),
            image.GetSpacing(),
            image.GetDirection(),
        )
        seen.add(SimpleITK.GetArrayFromImage(turned).tobytes())
    assert len(seen) == 1


def write_validation(folder: Path, fold: str, name: str, code: str) -> None:
    path = folder / f"fold_{fold}" / "validation" / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4), np.uint8))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, code), str(path))


def test_the_orientation_of_a_model_is_what_is_known_best(tmp_path: Path) -> None:
    def found(plans: dict[str, object], reader: str = "SimpleITKIO") -> ModelOrientation:
        return model_orientation(tmp_path, ["0", "1"], plans, reader)

    assert found({}) == ModelOrientation("LPS", "assumed")
    for fold, name, code in (("0", "a", "LAS"), ("1", "b", "RAS"), ("1", "c", "LAS"), ("2", "d", "RAS")):
        write_validation(tmp_path, fold, name, code)
    (tmp_path / "fold_0" / "validation" / "damaged.nii.gz").write_bytes(b"")
    assert found({}) == ModelOrientation("LAS", "validation")
    noted = {ORIENTATION_KEY: {"PSR": 3, "RAS": 5}}
    assert found(noted) == ModelOrientation("RAS", "plans")
    assert found({ORIENTATION_KEY: {"PSR": 3}}, "NibabelIOWithReorient") == ModelOrientation("RAS", "reader")


def test_nibabel_sees_an_image_as_we_do_unless_its_file_contradicts_itself(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (4, 6, 8)).astype(np.int16))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((-5.0, 7.0, 9.0))
    image = SimpleITK.DICOMOrient(image, "PSR")
    SimpleITK.WriteImage(image, str(path))
    grid = Grid(image, "RAS")
    assert grid.is_read_alike(path)

    moved = nibabel.load(path)
    moved.affine[0, 3] += 4
    nibabel.save(nibabel.Nifti1Image(np.asarray(moved.dataobj), moved.affine), path)
    assert not grid.is_read_alike(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(moved.dataobj)[..., None], grid.affine), path)
    assert not grid.is_read_alike(path)
