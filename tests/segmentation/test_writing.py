"""Whether it is the folder's fault that an image cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.writing import FolderError, write_image, writing


def test_an_image_that_its_format_does_not_hold_is_no_fault_of_the_folder(tmp_path: Path) -> None:
    # PNG has no floating point.
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="PNG supports") as caught:
        write_image(image, tmp_path / "image.png", compressed=False)
    assert not isinstance(caught.value, FolderError)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_place_without_room_is(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3), np.uint8))
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "image.nii", Path("/dev/full/image.nii")):
        with pytest.raises(FolderError, match=f"^{place}: cannot be written: "):
            write_image(image, place, compressed=False)
    with pytest.raises(FolderError, match="No space left"), writing(tmp_path / "image.nii", 1):
        raise OSError(28, "No space left on device")
