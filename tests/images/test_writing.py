"""Images are on the disk as they should be, or nobody uses them."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.images.writing import read_back, write_image

HEAD = np.random.default_rng(0).integers(0, 400, (8, 60, 50)).astype(np.int16)


def head(values: np.ndarray = HEAD) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((1, 1, 3))
    image.SetOrigin((5.5, -7.25, 1))
    return image


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a quota or a full disk: what goes beyond is not written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_an_image_is_written(tmp_path: Path, ending: str, dtype: str) -> None:
    values = (HEAD / 3).astype(dtype)
    write_image(head(values), tmp_path / f"a{ending}")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_back(tmp_path / f"a{ending}", values)), values)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_an_image_of_which_the_disk_took_a_part_is_refused(tmp_path: Path, ending: str) -> None:
    with files_of_at_most(20_000), pytest.raises(InputError, match=f"^{tmp_path}/a{ending}: "):
        write_image(head(), tmp_path / f"a{ending}")


def test_the_name_that_was_drawn_for_a_file_is_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    message = f"^{path}: was not written to its end .is the disk full.*: cannot be read: Compressed file ended"
    with files_of_at_most(20_000), pytest.raises(InputError, match=message), complete_or_absent(path) as temporary:
        write_image(head(), temporary)
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_a_program_left_half_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    with files_of_at_most(20_000):
        SimpleITK.WriteImage(head(), str(path))
    with pytest.raises(InputError, match=r"was not written to its end \(is the disk full\?\)"):
        read_back(path, HEAD)


def test_other_values_than_were_meant_are_noticed(tmp_path: Path) -> None:
    write_image(head(), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="holds other values than were written"):
        read_back(tmp_path / "a.nii.gz", HEAD + 1)
    read_back(tmp_path / "a.nii.gz", HEAD[:, ::-1])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path}/absent/a.nii.gz: cannot be written: "):
        write_image(head(), tmp_path / "absent" / "a.nii.gz")
