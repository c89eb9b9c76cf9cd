"""What spoils an image is told from an image that is not spoiled, by figures whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.quality import LIMITS, ImageQuality, measure
from nnunetv2_sa_unet.nnunet.transforms import MotionGhostingTransform


def make_head(fluid: float = 0.2) -> SimpleITK.Image:
    """A head of layers that are known: skin, bone, fluid, grey and white matter, ventricles, and Rician noise.

    Args:
        fluid: brightness, white matter being 1.
    """
    grid = np.stack(np.meshgrid(*(np.arange(size) - size / 2 for size in (30, 110, 96)), indexing="ij"), -1)
    # From 0 in the centre to 1 at the skin, whose half axes are 85, 95 and 78 mm; the top of the head is in the image.
    radius = np.sqrt((((grid + np.array([3, 0, 0])) * (5, 2, 2) / (85, 95, 78)) ** 2).sum(-1))
    values = np.select(
        [radius < 0.7, radius < 0.78, radius < 0.83, radius < 0.92, radius < 1], [1, 1.2, fluid, 0.1, 1.9]
    )
    side = np.abs(grid[..., 2] * 2)
    ventricles = ((side - 11) / 6) ** 2 + (grid[..., 1] * 2 / 30) ** 2 + (grid[..., 0] * 5 / 22) ** 2 < 1
    values = np.where(ventricles, fluid, values)
    real, imaginary = np.random.default_rng(0).normal(0, 0.03, (2, *values.shape))
    image = SimpleITK.GetImageFromArray((800 * np.hypot(values + real, imaginary)).astype(np.float32))
    image.SetSpacing((2, 2, 5))
    return image


@pytest.fixture(scope="module")
def head() -> SimpleITK.Image:
    return make_head()


def level(image: SimpleITK.Image) -> float:
    values = SimpleITK.GetArrayViewFromImage(image)
    return float(np.median(values[values.shape[0] // 2, 40:70, 20:30]))


def measured(image: SimpleITK.Image) -> ImageQuality:
    found = measure(image)
    assert found is not None
    return found


def names(image: SimpleITK.Image) -> list[str]:
    return [finding.name for finding in measured(image).findings()]


def test_a_head_in_which_nothing_is_wrong_has_no_flag(head: SimpleITK.Image) -> None:
    found = measured(head)
    assert found.findings() == []
    assert all(value is not None for value in vars(found).values())


def test_real_volumes_have_no_flag(shared: Path) -> None:
    paths = [
        *(shared / "data" / "Dataset100_FLAIRWMH" / "imagesTr").glob("*.nii.gz"),
        shared / "data" / "iso1mm" / "om26_0000.nii.gz",
    ]
    assert len(paths) == 10
    assert [names(SimpleITK.ReadImage(str(path))) for path in paths] == [[]] * 10


def ghosts(image: SimpleITK.Image) -> SimpleITK.Image:
    values = torch.from_numpy(SimpleITK.GetArrayFromImage(image).astype(np.float32))[None]
    spoiled = MotionGhostingTransform((2,), (0.6, 0.6))(image=values)["image"][0].numpy()
    return image_like(np.abs(spoiled), image)


def noise(image: SimpleITK.Image) -> SimpleITK.Image:
    values = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    real, imaginary = np.random.default_rng(1).normal(0, 0.12 * level(image), (2, *values.shape))
    return image_like(np.hypot(values + real, imaginary).astype(np.float32), image)


def without_back(image: SimpleITK.Image) -> SimpleITK.Image:
    return image[:, :85, :]


def without_top(image: SimpleITK.Image) -> SimpleITK.Image:
    return image[:, :, :-9]


@pytest.mark.parametrize(
    ("spoil", "name"),
    [(ghosts, "ghosting"), (noise, "noise"), (without_back, "border_cm2"), (without_top, "top_share")],
)
def test_what_was_spoiled_is_flagged_and_nothing_else(
    head: SimpleITK.Image, spoil: Callable[[SimpleITK.Image], SimpleITK.Image], name: str
) -> None:
    assert names(spoil(head)) == [name]


@pytest.mark.parametrize(("fluid", "flags"), [(0.1, []), (0.4, []), (2.5, ["fluid"]), (3.5, ["fluid"])])
def test_bright_fluid_is_flagged(fluid: float, flags: list[str]) -> None:
    assert names(make_head(fluid)) == flags


def test_noise_and_ghosts_are_those_that_were_made(head: SimpleITK.Image) -> None:
    assert measured(head).noise == pytest.approx(0.03, rel=0.1)
    assert measured(noise(head)).noise == pytest.approx(np.hypot(0.12, 0.03), rel=0.1)
    # Every second line × s makes a copy of (1 - s) / 2.
    before, after = measured(head).ghosting, measured(ghosts(head)).ghosting
    assert before is not None
    assert after is not None
    assert abs(before) < 0.01
    assert 0.05 < after < 0.4


@pytest.mark.parametrize("code", ["RAS", "PSR", "LIP"])
def test_figures_do_not_depend_on_how_the_image_is_stored(head: SimpleITK.Image, code: str) -> None:
    turned = SimpleITK.DICOMOrient(head, code)
    for first, second in zip(vars(measured(head)).values(), vars(measured(turned)).values(), strict=True):
        assert second == pytest.approx(first, abs=1e-6)


def test_air_that_was_set_to_zero_says_nothing_of_ghosts(head: SimpleITK.Image) -> None:
    values = SimpleITK.GetArrayFromImage(head)
    masked = np.where(values > 0.3 * level(head), values, 0)
    assert measured(image_like(masked, head)).ghosting is None


def test_a_few_slices_say_nothing_of_contrast_and_top(head: SimpleITK.Image) -> None:
    found = measured(head[:, :, 12:20])
    assert (found.top_share, found.fluid) == (None, None)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((12, 20, 20)),
        -np.ones((12, 20, 20)),
        np.random.default_rng(0).normal(0, 1, (12, 20, 20)),
        np.arange(1, 5).reshape(1, 2, 2),
        np.pad([[[1.0]]], 6),
        np.random.default_rng(0).integers(0, 3, (1, 200, 3)),
    ],
    ids=["zeros", "negative", "noise", "four voxels", "a point", "a strip"],
)
def test_what_is_no_head_is_measured_or_not_and_never_an_error(values: np.ndarray) -> None:
    found = measure(SimpleITK.GetImageFromArray(values.astype(np.float32)))
    assert found is None or all(value is None or np.isfinite(value) for value in vars(found).values())


def test_every_figure_has_a_limit() -> None:
    assert set(LIMITS) == set(vars(ImageQuality()))
