"""Regions of a head whose truth is known, and images of which nothing is said."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.regions.assignment import LABELS, REGIONS
from nnunetv2_sa_unet.regions.assignment import VENTRICLES as VENTRICLES_LABEL
from nnunetv2_sa_unet.regions.location import Location, locate
from nnunetv2_sa_unet.regions.template import GREY_MATTER, VENTRICLES, WHITE_MATTER

pytestmark = pytest.mark.usefixtures("coarse_registration")


def located(flair: SimpleITK.Image, wmh: np.ndarray | None = None) -> Location | str:
    shape = flair.GetSize()[::-1]
    return locate(flair, np.zeros(shape, bool) if wmh is None else wmh, "voxel")


def like(values: np.ndarray, flair: SimpleITK.Image) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(flair)
    return image


def test_a_head_of_known_truth_stored_in_another_orientation(atlas_head: Any) -> None:
    wmh = np.zeros(atlas_head.labels.shape, bool)
    z, y, x = np.argwhere((atlas_head.labels == WHITE_MATTER) & atlas_head.around.right)[5000]
    wmh[z, y, x] = True
    turned, mask = (SimpleITK.DICOMOrient(image, "RAS") for image in (atlas_head.flair, like(wmh, atlas_head.flair)))

    found = located(turned, SimpleITK.GetArrayFromImage(mask) > 0)

    assert isinstance(found, Location)
    assert found.icv_ml == pytest.approx(atlas_head.icv_ml, rel=0.05)
    assert sum(found.load.ml.values()) == pytest.approx(0.012)
    assert sum(value for name, value in found.load.ml.items() if name.endswith("_right")) == pytest.approx(0.012)
    assert sum(found.load.lesions.values()) == 1
    labels = SimpleITK.GetImageFromArray(found.labels)
    labels.CopyInformation(turned)
    back = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(labels, "LPS"))
    truth = atlas_head.labels == VENTRICLES
    dice = 2 * (truth & (back == VENTRICLES_LABEL)).sum() / (truth.sum() + (back == VENTRICLES_LABEL).sum())
    assert dice > 0.8
    # Sides, where there is any region at all.
    sided = (back > 0) & (back != VENTRICLES_LABEL)
    assert ((back % 2 == 0) == atlas_head.around.right)[sided].mean() > 0.98


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param("noise", "mutual information|brain", marks=pytest.mark.slow),
        ("T1", "^the cortex has 0.7. of the brightness of white matter, as in T1-weighted images"),
        ("bright fluid", "mutual information|ventricles are not darker"),
        pytest.param("left half", ".", marks=pytest.mark.slow),
        pytest.param("upper half", "the image shows", marks=pytest.mark.slow),
        ("empty", "nothing like a brain"),
    ],
)
def test_where_the_atlas_does_not_fit_there_is_no_number(atlas_head: Any, what: str, said: str) -> None:
    flair, random = atlas_head.flair, np.random.default_rng(1)
    values = SimpleITK.GetArrayFromImage(flair)
    image = {
        "noise": lambda: like(random.normal(100, 20, values.shape), flair),
        "T1": lambda: like(np.where(atlas_head.labels == GREY_MATTER, 0.65 * values, values), flair),
        "bright fluid": lambda: like(np.where(atlas_head.labels > 0, 400 - values, 0), flair),
        "left half": lambda: flair[flair.GetSize()[0] // 2 :],
        "upper half": lambda: flair[:, :, flair.GetSize()[2] // 2 :],
        "empty": lambda: like(np.zeros(values.shape), flair),
    }[what]()

    found = located(image)

    assert isinstance(found, str)
    assert re.search(said, found), found


def test_how_an_image_is_stored_does_not_matter(atlas_head: Any) -> None:
    values = SimpleITK.GetArrayFromImage(atlas_head.flair)
    image = SimpleITK.GetImageFromArray((values * (220 / values.max()) + 30).round().astype(np.uint8))
    image.CopyInformation(atlas_head.flair)
    one, other = located(atlas_head.flair), located(image)
    assert isinstance(one, Location)
    assert isinstance(other, Location)
    assert other.icv_ml == pytest.approx(one.icv_ml, rel=0.01)


def test_labels_are_named_by_region_and_side() -> None:
    assert [name for name, label in LABELS.items() if label in (1, 2, 9)] == [
        "periventricular_left",
        "periventricular_right",
        "lateral_ventricles",
    ]
    assert len(LABELS) == 2 * len(REGIONS) + 1
