"""No visit is favoured: the space half-way is the same from both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.longitudinal.halfway import halfway
from nnunetv2_sa_unet.longitudinal.rigid import Matrix, inverse

Scan = Callable[..., SimpleITK.Image]
Pose = Callable[..., Matrix]
LESION = (((20.0, -10.0, 10.0), 8.0),)


def values(image: SimpleITK.Image) -> np.ndarray:
    array: np.ndarray = SimpleITK.GetArrayFromImage(image)
    return array


def test_images_that_lie_alike_stay_as_they_are(scan_head: Scan) -> None:
    image = scan_head(LESION)
    for made in halfway(image, image, np.eye(4)):
        np.testing.assert_array_equal(values(made), values(image))
        assert not geometry_differences(image, made)
        assert made.GetPixelID() == image.GetPixelID()


def test_swapped_visits_give_swapped_images(scan_head: Scan, pose_of: Pose) -> None:
    way = pose_of((4, -6, 8), (5, -3, 7))
    first, second = scan_head(LESION), scan_head(LESION, way, seed=1)
    images, swapped = halfway(first, second, way), halfway(second, first, inverse(way))
    for made, other in zip(images, swapped[::-1], strict=True):
        assert not geometry_differences(made, other)
        assert np.abs(values(made).astype(int) - values(other)).max() <= 1


def blob(place: Matrix, spacing: Sequence[float] = (2, 2, 3), size: Sequence[int] = (60, 68, 36)) -> SimpleITK.Image:
    """Something smooth at (20, -10, 10) mm of a head in some place, so that sampling it loses nothing."""
    origin = -(np.array(size) - 1) / 2 * spacing
    points = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1) * spacing + origin
    back = inverse(place)
    offsets = points @ back[:3, :3].T + back[:3, 3] - (20, -10, 10)
    bright = 1 + 1000 * np.exp(-(offsets**2).sum(-1) / (2 * 6**2))
    image = SimpleITK.GetImageFromArray(bright.transpose(2, 1, 0).astype(np.float32))
    image.SetSpacing([float(edge) for edge in spacing])
    image.SetOrigin(origin.tolist())
    return image


@pytest.mark.parametrize(
    ("turn", "shift"), [((4, -6, 8), (5, -3, 7)), ((0, 0, 0), (0, 0, 1.5)), ((20, -10, 8), (5, -3, 7))]
)
def test_a_place_of_the_head_is_the_same_in_both(pose_of: Pose, turn: Sequence[float], shift: Sequence[float]) -> None:
    way = pose_of(turn, shift)
    images = halfway(blob(pose_of()), blob(way), way)
    weights = [np.clip(values(image) - 2, 0, None) for image in images]
    middles = [ndimage.center_of_mass(each) * np.array(images[0].GetSpacing()[::-1]) for each in weights]
    assert np.linalg.norm(middles[0] - middles[1]) < 0.01
    assert weights[0].sum() == pytest.approx(weights[1].sum(), rel=0.001)


def test_the_coarser_voxel_of_each_axis_counts(scan_head: Scan) -> None:
    fine = scan_head(LESION, spacing=(2, 2, 2), size=(60, 68, 54))
    coarse = scan_head(LESION, spacing=(2.5, 2, 6), size=(48, 68, 18))
    for made in halfway(fine, coarse, np.eye(4)):
        assert made.GetSpacing() == (2.5, 2, 6)
    from_fine, from_coarse = (values(image).astype(float) for image in halfway(fine, coarse, np.eye(4)))
    # What was smoothed to the other's slices shows as much contrast as they do.
    assert from_fine.max() <= 220 + 10
    assert np.abs(from_fine - from_coarse).mean() < 8


def test_what_one_visit_does_not_show_is_blank_in_both(scan_head: Scan) -> None:
    whole = scan_head(LESION)
    cut = whole[:, :, :24]
    for made in halfway(whole, cut, np.eye(4)):
        assert made.GetSize() == cut.GetSize()


def test_images_of_other_places_are_refused(scan_head: Scan, pose_of: Pose) -> None:
    image = scan_head()
    with pytest.raises(InputError, match="show no place in common"):
        halfway(image, image, pose_of(shift=(0, 0, 500)))


def test_values_stay_within_the_range_of_the_image(scan_head: Scan, pose_of: Pose) -> None:
    image = scan_head(LESION)
    for made in halfway(image, image, pose_of((0, 0, 3), (1, 1, 1))):
        assert values(made).min() >= min(0, values(image).min())
        assert values(made).max() <= values(image).max()
