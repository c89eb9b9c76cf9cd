"""The slices that are shown, and the picture they make."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nnunetv2_sa_unet.report.mosaic import MOST_SLICES, chosen_slices, content_box, draw_mosaic

SPACING = (6.0, 2.0, 2.0)
AFFINE = np.diag([-2.0, -2.0, 6.0, 1.0])


def test_few_slices_are_all_shown() -> None:
    assert chosen_slices(3, 3 + MOST_SLICES, np.zeros(40)) == list(range(3, 3 + MOST_SLICES))
    assert chosen_slices(0, 1, np.zeros(1)) == [0]


def test_of_many_slices_each_band_shows_the_one_with_most_lesion() -> None:
    load = np.zeros(200)
    load[[31, 33, 38]] = 1, 5, 2
    chosen = chosen_slices(0, 200, load)
    assert len(chosen) == MOST_SLICES
    assert chosen[:5] == [5, 15, 25, 33, 45]


def test_the_box_holds_the_head_and_what_lies_outside_it(make_head: Any) -> None:
    head = make_head()
    scalp = head.flair > 250
    box = content_box(head.flair, head.labels > 0, SPACING)
    assert scalp[box].sum() == scalp.sum()
    assert min(box[1].start, box[2].start) > 0
    head.labels[6, 1, 1] = 1
    assert head.labels[content_box(head.flair, head.labels > 0, SPACING)].sum() == 1


def test_without_an_image_the_whole_volume_is_shown(make_head: Any) -> None:
    labels = make_head().labels
    assert labels[content_box(None, labels > 0, SPACING)].shape == labels.shape


@pytest.mark.parametrize(("spacing", "size"), [((2.0, 2.0), (60, 40)), ((4.0, 2.0), (60, 80))])
def test_the_picture_has_square_pixels_and_a_slice_below_another(
    spacing: tuple[float, float], size: tuple[int, int]
) -> None:
    flair = np.zeros((5, 40, 60))
    flair[3, 30:, :20] = 100
    flair[0, 0, 0] = 1
    affine = np.diag([-spacing[1], -spacing[0], 6.0, 1.0])
    mask = np.zeros(flair.shape, bool)
    mask[3, 32, 4] = True
    box = (slice(0, 5), slice(0, 40), slice(0, 60))
    mosaic = draw_mosaic(flair, {"wmh": mask, "other": ~mask & False}, box, [1, 3], affine)
    assert [tile.number for tile in mosaic.tiles] == [2, 4]
    assert [list(tile.outlines) for tile in mosaic.tiles] == [[], ["wmh"]]
    assert mosaic.picture is not None
    picture = np.asarray(Image.open(io.BytesIO(mosaic.picture)))
    assert picture.shape == (2 * size[1], size[0])
    assert picture[: size[1]].max() < 20
    # As stored: last rows and first columns of the slice.
    assert picture[-3:, :10].min() > 200
    assert picture[-3:, -10:].max() < 60


def test_large_slices_are_made_smaller_and_keep_their_outlines() -> None:
    flair = np.random.default_rng(0).random((1, 700, 500))
    mask = np.zeros(flair.shape, bool)
    mask[0, 600, 400] = True
    mosaic = draw_mosaic(flair, {"wmh": mask}, (slice(0, 1), slice(0, 700), slice(0, 500)), [0], AFFINE)
    assert mosaic.picture is not None
    assert Image.open(io.BytesIO(mosaic.picture)).size == (229, 320)
    assert mosaic.view_box == (1000, 1400)
    assert mosaic.tiles[0].outlines["wmh"].startswith(("M801 1200", "M802 1201", "M801 1202", "M800 1201"))
