"""What ``segment`` refuses before a model is loaded; the rest is compared with the command in tests/integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet import segment
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation import function

IMAGE = SimpleITK.GetImageFromArray(np.random.default_rng(0).random((4, 8, 8)).astype(np.float32))


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "_loaded", None)


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (IMAGE, {"threshold": 1.2}, "threshold: found 1.2, expected a number above 0 and at most 1"),
        (IMAGE, {"min_volume": 0}, "min_volume: found 0, expected a number above 0"),
        (IMAGE, {"clear_ends": 0.5}, "clear_ends: found 0.5, expected a number above 0 and below 0.5"),
        (IMAGE, {"step_size": 0.01}, "step_size: found 0.01, expected a number from 0.1 to 1"),
        (IMAGE, {"model": "nothing"}, "nothing: no model in the box has this name"),
        (IMAGE, {"spacing": (1, 1, 1)}, "image: has a geometry of its own"),
        (Path("a.nii"), {"orientation": "SPL"}, "a.nii: has a geometry of its own"),
        (np.zeros((4, 8, 8)), {}, "image: an array says nothing of its voxels: give spacing"),
        (np.ones((4, 8, 8)), {"spacing": (3, 1, 1), "orientation": "SPL"}, "image: every voxel is 1"),
    ],
)
def test_one_line_says_what_is_wrong(image: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        segment(image, **options)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
