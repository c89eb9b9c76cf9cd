"""Files that are cut short or damaged, and geometries."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.volumes import itk_reason, read_header, read_volume


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
