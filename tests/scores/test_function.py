"""``score`` gives what ``evaluate`` writes, for whatever holds the masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet import score
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.pairs import Pair
from nnunetv2_sa_unet.scores.scoring import score_pair

SPACING = (1.0, 1.25, 3.0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    paths = tmp_path / "reference.nii.gz", tmp_path / "prediction.nii.gz"
    for path, share in zip(paths, (0.9, 0.8), strict=True):
        image = SimpleITK.GetImageFromArray((random.random((5, 8, 9)) > share).astype(np.uint8))
        image.SetSpacing(SPACING)
        image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
        SimpleITK.WriteImage(image, str(path))
    return paths


def test_all_kinds_of_masks_have_the_figures_of_the_command(files: tuple[Path, Path]) -> None:
    expected = score_pair(Pair("a", *files)).metrics
    assert expected.h95_mm is not None
    assert score(*files) == expected
    held = [SimpleITK.ReadImage(str(path)) for path in files]
    assert score(*held) == expected
    assert score(str(files[0]), held[1]) == expected
    arrays = map(SimpleITK.GetArrayFromImage, held)
    for found in (score(*arrays, spacing=SPACING[::-1]), score(*map(nibabel.load, files))):
        # Sums in other orders of axes.
        assert vars(found) == pytest.approx(vars(expected), rel=1e-6)


def test_how_a_mask_was_read_is_a_warning(files: tuple[Path, Path]) -> None:
    reference, prediction = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in files)
    with pytest.warns(UserWarning, match="a mask of 0 and 255, 255 counted as WMH") as caught:
        found = score(reference, prediction * 255, SPACING)
    assert caught[0].filename == __file__
    assert found == score(reference, prediction, SPACING)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda reference, prediction: (reference, prediction), "give spacing=(z, y, x)"),
        (lambda reference, prediction: (reference, prediction[1:], (3, 1, 1)), "not on the reference's grid: size"),
        (lambda reference, prediction: (reference, "no.nii.gz"), "one is an array and lies nowhere"),
        (lambda reference, prediction: ("no.nii.gz", "no.nii.gz"), "no.nii.gz: there is no such file"),
        (lambda reference, prediction: ("no.nii.gz", "no.nii.gz", (3, 1, 1)), "reference: has a geometry of its own"),
        (lambda reference, prediction: (reference * 3, prediction, (3, 1, 1)), "reference values 3 and no label 1"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(files: tuple[Path, Path], change: Any, words: str) -> None:
    reference, prediction = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in files)
    with pytest.raises(InputError) as caught:
        score(*change(reference, prediction))
    assert words in str(caught.value)


def test_another_place_is_another_grid(files: tuple[Path, Path]) -> None:
    reference, prediction = (SimpleITK.ReadImage(str(path)) for path in files)
    prediction.SetOrigin((0, 0, 1))
    with pytest.raises(InputError, match=r"not on the reference's grid: origin \(0, 0, 1\), expected \(0, 0, 0\)"):
        score(reference, prediction)
