"""Images that look odd for FLAIR of a head, and those that do not."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.images.quality import ImageQuality
from nnunetv2_sa_unet.segmentation.plausibility import oddities, too_thin

THICK = (3.0, 1.0, 1.0)
RANDOM = np.random.default_rng(0)


def volume(shape=(30, 60, 50), spacing=(4.0, 4.0, 5.0), values=None) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(RANDOM.gamma(2, 80, shape) if values is None else values)
    image.SetSpacing(spacing)
    return image


def found(image: SimpleITK.Image, spacing=THICK) -> list[str]:
    return oddities(Path("image.mha"), image, spacing)


def test_plain_images_draw_no_warning() -> None:
    assert found(volume()) == []
    # Splines overshoot at edges.
    overshooting = RANDOM.gamma(2, 80, (30, 60, 50))
    overshooting[::10, ::4] = -900
    assert found(volume(values=overshooting)) == []


def test_real_images_draw_no_warning(shared: Path) -> None:
    paths = [
        *(shared / "data" / "Dataset100_FLAIRWMH" / "imagesTr").glob("*.nii.gz"),
        shared / "data" / "iso1mm" / "om26_0000.nii.gz",
    ]
    assert len(paths) == 10
    for path in paths:
        assert oddities(path, SimpleITK.ReadImage(str(path)), (6.48, 0.9, 0.9)) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (volume((1, 60, 50)), "a single slice, and the model is 3D"),
        (volume(spacing=(4, 4, 2)), "extent 200×240×60 mm; a head's lies between 80 and 400 mm"),
        (volume(spacing=(4, 7, 5)), "extent 200×420×150 mm; a head's lies between 80 and 400 mm"),
        (volume((10, 60, 50), (4, 4, 12)), "voxel 4×4×12 mm; expected edges between 0.2 and 10 mm"),
        (volume(values=RANDOM.normal(size=(30, 60, 50))), "50% of the voxels are below zero; FLAIR as it comes from"),
        (volume(values=RANDOM.normal(-400, 300, (30, 60, 50))), " of the voxels are at -500 or below, as in CT"),
        (volume(values=RANDOM.integers(0, 3, (30, 60, 50))), "only 3 different values, as in a map of labels"),
    ],
)
def test_odd_images_are_told_why(image: SimpleITK.Image, message: str) -> None:
    (only,) = found(image)
    assert message in only


def test_slices_thick_along_another_axis_are_odd_for_a_model_of_thick_slices_alone() -> None:
    image = volume((40, 60, 25), (8, 4, 4))
    assert found(image) == [
        "its slices are thick along another axis than those of the images that the model was trained on"
    ]
    assert found(image, (1.0, 1.0, 1.0)) == []
    assert found(image, (1.0, 1.0)) == []
    assert found(image, (1.0, 1.0, 3.0)) == []


def test_a_single_slice_is_right_for_a_2d_model() -> None:
    assert found(volume((1, 60, 50)), (1.0, 1.0)) == ["extent 200×240×5 mm; a head's lies between 80 and 400 mm"]


def test_a_nifti_header_that_does_not_say_where_is_up_is_odd(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    image = nibabel.Nifti1Image(RANDOM.gamma(2, 80, (50, 60, 30)).astype(np.float32), np.diag([4, 4, 5, 1]))
    for code, expected in ((0, ["orientation unknown: qform and sform codes of the NIfTI header are 0"]), (1, [])):
        image.set_sform(None, code=0)
        image.set_qform(image.affine, code=code)
        nibabel.save(image, path)
        assert oddities(path, SimpleITK.ReadImage(str(path)), THICK) == expected


@pytest.mark.parametrize(
    ("shape", "spacing", "problem"),
    [
        ((1, 60, 50), (1.0, 1.0, 1.0), "is 1 mm thick; a model of 3 mm needs 1.5 mm or more"),
        ((2, 60, 50), (1.0, 1.0, 0.7), "is 1.4 mm thick; a model of 3 mm needs 1.5 mm or more"),
        ((1, 60, 50), (1.0, 1.0, 6.0), None),
        ((30, 60, 1), (0.4, 1.0, 3.0), "is 0.4 mm thick; a model of 1 mm needs 0.5 mm or more"),
    ],
)
def test_an_image_of_which_nothing_is_left_is_refused(
    shape: tuple[int, ...], spacing: tuple[float, ...], problem: str | None
) -> None:
    assert too_thin(volume(shape, spacing), THICK) == problem
    assert too_thin(volume((1, 60, 50)), (1.0, 1.0)) is None


def test_what_spoils_an_image_is_a_warning() -> None:
    quality = ImageQuality(noise=0.2, ghosting=0.1, border_cm2=0.0, top_share=None, fluid=0.9)
    assert oddities(None, volume(), THICK, quality) == [
        "noise of 20% of the brain's brightness (limit 8%)",
        "ghosts beside the head of 10.0% of the brain's brightness (limit 7.0%): motion",
    ]
