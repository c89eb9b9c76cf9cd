"""The rough mask of the brain keeps lesions inside and scalp outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.images.brain import brain_mask

SPACING = (6.0, 2.0, 2.0)


@pytest.mark.parametrize("skull", [True, False])
def test_brain_and_ventricles_are_inside_and_scalp_is_outside(make_head: Any, skull: bool) -> None:
    head = make_head()
    flair = head.flair if skull else np.where(head.brain, head.flair, 0)
    found = brain_mask(flair, SPACING)
    assert found is not None
    assert found[head.brain].mean() > 0.97
    scalp = head.flair > 250
    assert found[scalp].mean() < 0.1


def test_fine_voxels_are_worked_on_coarsely_and_the_mask_has_their_grid(make_head: Any) -> None:
    head = make_head()
    fine = np.kron(head.flair[4:10], np.ones((1, 2, 2)))[:, :-1]
    found = brain_mask(fine, (6.0, 1.0, 1.0))
    assert found is not None
    assert found.shape == fine.shape
    coarse = brain_mask(head.flair[4:10], SPACING)
    assert (found[:, ::2, ::2] == coarse).mean() > 0.97


@pytest.mark.parametrize("flair", [np.zeros((5, 20, 20)), np.eye(20)[None] * 9])
def test_where_nothing_is_like_a_brain_there_is_no_mask(flair: Any) -> None:
    assert brain_mask(flair, SPACING) is None


def test_fat_that_is_much_brighter_does_not_hide_the_brain(make_head: Any) -> None:
    head = make_head(1)
    found = brain_mask(np.where(head.flair > 250, 4 * head.flair, head.flair), SPACING)
    assert found is not None
    assert found[head.brain].mean() > 0.97


def test_every_lesion_of_real_patients_lies_inside(shared: Path) -> None:
    data = shared / "data" / "Dataset100_FLAIRWMH"
    for name in ("ms104670", "sv105465"):
        flair = SimpleITK.ReadImage(str(data / "imagesTr" / f"{name}_0000.nii.gz"))
        label = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(data / "labelsTr" / f"{name}.nii.gz")))
        found = brain_mask(SimpleITK.GetArrayFromImage(flair), flair.GetSpacing()[::-1])
        lesions, count = ndimage.label(label == 1, np.ones((3, 3, 3)))
        assert count > 20
        assert min(ndimage.mean(found, lesions, range(1, count + 1))) >= 0.5
