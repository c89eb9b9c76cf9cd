"""Files that are cut short or damaged, and geometries."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.volumes import constant_problem, itk_reason, read_header, read_volume


def noise(path: Path) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(8, 20, 20)).astype(np.float32))
    SimpleITK.WriteImage(image, str(path))
    return image


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_volume_is_read_as_it_was_written(tmp_path: Path, ending: str) -> None:
    written = noise(tmp_path / f"volume{ending}")
    read = read_volume(tmp_path / f"volume{ending}")
    assert np.array_equal(SimpleITK.GetArrayViewFromImage(read), SimpleITK.GetArrayViewFromImage(written))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.7])
def test_a_volume_that_was_cut_short_is_refused_by_name(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / f"volume{ending}"
    noise(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=f"^{path}: ") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_a_complete_archive_of_half_a_volume_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    noise(path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))
    with pytest.raises(InputError, match="it ends after 6576 of 13152 bytes"):
        read_volume(path)


@pytest.mark.parametrize("place", [0.5, -6])
def test_damaged_bytes_are_noticed(tmp_path: Path, place: float) -> None:
    path = tmp_path / "volume.nii.gz"
    noise(path)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place) if place > 0 else int(place)] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: cannot be read: "):
        read_volume(path)


def test_an_absent_file_and_one_of_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"volume\.nii\.gz: there is no such file"):
        read_volume(tmp_path / "volume.nii.gz")
    (tmp_path / "volume.nii").write_text("not a volume")
    with pytest.raises(InputError, match=r"volume\.nii: cannot be read"):
        read_volume(tmp_path / "volume.nii")


def test_geometries_are_compared_field_by_field_within_a_tolerance() -> None:
    first, second = (SimpleITK.Image(4, 5, 6, SimpleITK.sitkUInt8) for _ in range(2))
    second.SetOrigin((0.0005, 0, 0))
    assert geometry_differences(first, second) == []
    second.SetOrigin((0.002, 0, 0))
    second.SetSpacing((1, 1, 3))
    assert geometry_differences(first, second) == [
        "spacing (1, 1, 3), expected (1, 1, 1)",
        "origin (0.002, 0, 0), expected (0, 0, 0)",
    ]
    assert geometry_differences(first, SimpleITK.Image(4, 5, 7, SimpleITK.sitkUInt8)) == [
        "size (4, 5, 7), expected (4, 5, 6)"
    ]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd", ".gipl"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_no_number_are_refused(tmp_path: Path, ending: str, value: float) -> None:
    path = tmp_path / f"volume{ending}"
    values = SimpleITK.GetArrayFromImage(noise(path))
    values[1, 2, 3] = value
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    with pytest.raises(InputError, match=r"1 voxels hold no number \(NaN\) or are infinite"):
        read_volume(path)


def test_a_header_has_the_geometry_of_the_image_where_its_spacing_is_below_zero(tmp_path: Path) -> None:
    path = tmp_path / "volume.mha"
    noise(path)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = -1 1 2"))
    header = read_header(path)
    assert geometry_differences(read_volume(path), header) == []
    assert header.GetSpacing() == (1, 1, 2)


def test_names_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"m\xfcller.nii.gz")
    noise(tmp_path / "volume.nii.gz").GetSize()
    (tmp_path / "volume.nii.gz").rename(path)
    for read in (read_volume, read_header):
        with pytest.raises(InputError, match=r"m\\xfcller\.nii\.gz: cannot be read: its name is no UTF-8: rename it"):
            read(path)


def test_a_message_of_several_lines_is_read_for_its_reason() -> None:
    message = """Exception thrown in SimpleITK ImageFileReader_Execute: /work/src/sitkImageReaderBase.cxx:97:
/tmp/ITK/itkImageBase.hxx:77:
ITK ERROR: Image(0x55ae): Zero-valued spacing is not supported and may result in undefined behavior.
Refusing to change spacing from [1, 1, 1] to [2, 2, 0]
"""
    assert itk_reason(RuntimeError(message)) == (
        "Zero-valued spacing is not supported and may result in undefined behavior.: "
        "Refusing to change spacing from [1, 1, 1] to [2, 2, 0]"
    )
    assert itk_reason(RuntimeError("")) == "unknown reason"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (gzip.decompress, "is not compressed: rename it to .nii"),
        (gzip.compress, "is compressed twice: unpack it once"),
        (lambda content: content + b"more", "other bytes follow its compressed ones"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "stands for a file that is not there"),
        (lambda content: b"../.git/annex/objects/aa/MD5E-s1--b.nii.gz", "stands for a file that is not there"),
        (lambda content: b"<!DOCTYPE html>", "not a NIfTI file by its first bytes, and not compressed with gzip"),
        (lambda content: gzip.compress(b""), "it ends after 0 bytes, within its header"),
    ],
)
def test_what_is_not_compressed_as_its_name_says_is_named(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "a.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10)), str(path))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message) as error:
        read_volume(path)
    assert str(error.value).startswith(f"{path}: ")


def test_compressed_data_may_have_several_parts_and_zeros_at_their_end(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]) + bytes(512))
    assert np.array_equal(SimpleITK.GetArrayFromImage(read_volume(path)), values)


def test_endings_that_itk_does_not_read_are_named(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10))
    for written, name in (("a.mha", "a.MHA"), ("b.nii", "b.Nii"), ("c.nii.gz", "c.NII.GZ")):
        SimpleITK.WriteImage(image, str(tmp_path / written))
        (tmp_path / written).rename(tmp_path / name)
    for name in ("a.MHA", "b.Nii"):
        with pytest.raises(InputError, match=rf"the ending \{name[1:]} is not read: rename it to \{name[1:].lower()}"):
            read_volume(tmp_path / name)
    read_volume(tmp_path / "c.NII.GZ")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="is a pipe or a device; expected a file"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("scale", "problem"), [(1e20, "scale them down"), (1e-9, "scale them up"), (1, None)])
def test_values_that_a_network_would_see_as_one_are_told(scale: float, problem: str | None) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(8.0).reshape(2, 2, 2) * scale)
    found = constant_problem(image)
    assert found is None if problem is None else problem in str(found)
