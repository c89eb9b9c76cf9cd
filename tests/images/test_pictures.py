"""Pictures show the right slice in the right orientation, with every mask outlined."""

import matplotlib.image
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.pictures import draw_panels, make_panel

SHAPE = (6, 12, 10)


def write(path, array, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture
def image(tmp_path):
    brightness = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    return write(tmp_path / "image.nii.gz", brightness)


def mask(path, **values):
    """A mask with one voxel of each value at (z, y, x) = (index, 2, 3)."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, slices in values.items():
        labels[slices, 2, 3] = {"wmh": 1, "other": 2}[value]
    return write(path, labels)


def test_the_slice_with_most_lesion_in_the_reference_is_shown(tmp_path, image):
    reference = np.zeros(SHAPE, np.uint8)
    reference[4, 2:4, 3] = 1
    reference[1, 2, 3] = 1
    reference[0] = 2
    paths = {
        "reference": write(tmp_path / "r.nii.gz", reference),
        "prediction": mask(tmp_path / "p.nii.gz", wmh=[2]),
    }
    panel = make_panel("case", image, paths)
    np.testing.assert_array_equal(panel.image, np.arange(np.prod(SHAPE)).reshape(SHAPE)[4])
    assert (panel.masks["reference"] == 1).sum() == 2
    assert panel.spacing == (2.0, 1.0)


def test_without_reference_lesions_the_prediction_chooses_then_the_middle(tmp_path, image):
    empty, found = mask(tmp_path / "r.nii.gz"), mask(tmp_path / "p.nii.gz", wmh=[5])
    panel = make_panel("case", image, {"reference": empty, "prediction": found})
    assert panel.masks["prediction"].any()
    panel = make_panel("case", image, {"reference": empty, "prediction": empty})
    np.testing.assert_array_equal(panel.image, np.arange(np.prod(SHAPE)).reshape(SHAPE)[3])


def test_right_of_the_patient_is_left_and_front_is_up_for_any_orientation(tmp_path):
    brightness = np.zeros(SHAPE, np.int16)
    brightness[3, -1, -1] = 1
    # Both index axes run to the right and to the front: their ends belong in the upper left corner.
    path = write(tmp_path / "image.nii.gz", brightness, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    panel = make_panel("case", path, {})
    assert panel.image[0, 0] == 1


def test_a_mask_of_another_shape_is_refused_by_name(tmp_path, image):
    other = write(tmp_path / "other.nii.gz", np.zeros((6, 12, 11), np.uint8))
    with pytest.raises(InputError, match=r"other\.nii\.gz: \(6, 12, 11\) voxels"):
        make_panel("case", image, {"reference": other})


def test_both_outlines_are_in_the_picture(tmp_path, image):
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[3, 2:5, 2:5] = 1
    prediction[3, 6:10, 4:8] = 1
    prediction[3, 0:2, 7:9] = 2
    paths = {
        "reference": write(tmp_path / "r.nii.gz", reference),
        "prediction": write(tmp_path / "p.nii.gz", prediction),
    }
    panels = [make_panel(f"case {number}", image, paths) for number in range(5)]
    draw_panels(tmp_path / "picture.png", panels, "heading")
    pixels = matplotlib.image.imread(tmp_path / "picture.png")[..., :3]
    for colour in ((0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)):
        distance = np.abs(pixels - np.array(colour) / 255).max(axis=2)
        # More than the legend: each of five panels has an outline of its own.
        assert (distance < 0.05).sum() > 5 * 30
