"""NIfTI headers that leave something out or contradict themselves: refused, or read with a remark, never silently."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.volumes import read_header, read_remarked

HEAD = np.random.default_rng(0).integers(0, 400, (12, 16, 6)).astype(np.int16)
AFFINE = np.diag([2.0, 2.0, 6.5, 1.0])
AFFINE[:3, 3] = -11, -15, -16


def turned(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    made = np.eye(4)
    made[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return made @ AFFINE


def write(path: Path, values: np.ndarray = HEAD, sform: np.ndarray = AFFINE, **fields: Any) -> Path:
    image: Any = nibabel.Nifti1Image(values, AFFINE, dtype=values.dtype)
    image.set_qform(AFFINE, 1)
    image.set_sform(sform, 1)
    content = bytearray(image.to_bytes())
    header: Any = np.ndarray((), dtype=nibabel.nifti1.header_dtype, buffer=content)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_plain_image_is_read_without_remark(tmp_path: Path, ending: str) -> None:
    image, remarks = read_remarked(write(tmp_path / f"a{ending}"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), HEAD.T)
    np.testing.assert_allclose(image.GetSpacing(), (2, 2, 6.5))
    assert remarks == ()


def test_stored_bytes_may_have_the_other_order(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(HEAD.astype(">i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_remarked(tmp_path / "a.nii.gz")[0]), HEAD.T)


@pytest.mark.parametrize(
    ("fields", "slope", "intercept"),
    [
        ({"scl_slope": 0}, 1, 0),
        ({"scl_slope": np.nan, "scl_inter": np.nan}, 1, 0),
        ({"scl_slope": 0.5}, 0.5, 0),
        ({"scl_slope": -2, "scl_inter": 800}, -2, 800),
        ({"scl_slope": 1e6}, 1e6, 0),
    ],
)
def test_scaled_values_are_read_as_the_standard_says(
    tmp_path: Path, fields: dict[str, float], slope: float, intercept: float
) -> None:
    image, _ = read_remarked(write(tmp_path / "a.nii.gz", **fields))
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image), HEAD.T * slope + intercept, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]}, r"header field pixdim is \(0, 0, 0\); expected the edges of a voxel"),
        ({"pixdim": [1, np.nan, 2, 6.5, 0, 0, 0, 0]}, r"header field pixdim is \(nan, 2, 6.5\)"),
        ({"pixdim": [1, np.inf, 2, 6.5, 0, 0, 0, 0]}, r"header field pixdim is \(inf, 2, 6.5\)"),
        ({"pixdim": [1, 4, 4, 13, 0, 0, 0, 0]}, "contradicts itself on the voxel"),
        ({"pixdim": [1, 2, 2, 7, 0, 0, 0, 0]}, "contradicts itself on the voxel"),
        ({"pixdim": [1, 9e4, 9e4, 7e5, 0, 0, 0, 0]}, "voxel of 90000×90000×700000 mm"),
        ({"xyzt_units": 1}, "voxel of 2000×2000×6500 mm; expected edges between"),
        ({"xyzt_units": 3}, "voxel of 0.002×0.002×0.0065 mm"),
        ({"xyzt_units": 5}, "xyzt_units names unit 5"),
        ({"sform_code": 2, "srow_x": [4, 0, 0, -11]}, "contradicts itself on the voxel"),
        ({"qform_code": 0, "srow_x": [0, 0, 0, 0]}, "its sform is no affine transform"),
        ({"qform_code": 0, "srow_x": [np.nan, 0, 0, 0]}, "its sform is no affine transform"),
        ({"qform_code": 0, "srow_x": [2, 0.3, 0, -11]}, "its sform: direction .* is sheared or singular"),
        ({"sform_code": 0, "quatern_b": 5}, "its qform is no rotation"),
        ({"sform_code": 0, "quatern_b": np.nan}, "its qform is no rotation"),
        ({"sform_code": 0, "qoffset_x": np.nan}, "its qform is no rotation"),
        ({"dim": [3, 12, -16, 6, 1, 1, 1, 1]}, "header field dim is"),
        ({"dim": [3, 12, 16, 0, 1, 1, 1, 1]}, "header field dim is"),
        ({"dim": [0, 12, 16, 6, 1, 1, 1, 1]}, "header field dim is"),
        ({"dim": [9, 12, 16, 6, 1, 1, 1, 1]}, "header field dim is"),
        ({"dim": [3, 12, 16, 4, 1, 1, 1, 1]}, "and its header says 12×16×4 voxels"),
        ({"dim": [3, 12, 16, 7, 1, 1, 1, 1]}, "it ends after 2656 of 3040 bytes"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "voxels, more than 5e[+]08"),
        ({"dim": [3, 1000, 16, 6, 1, 1, 1, 1]}, "extent of 2000×32×39 mm; expected at most 1000 mm"),
        ({"dim": [4, 12, 16, 3, 2, 1, 1, 1]}, "4 axes and 1 channels"),
        ({"dim": [2, 12, 16, 6, 1, 1, 1, 1]}, "2 axes and 1 channels"),
        ({"datatype": 0}, "holds data of type 0, which is unknown"),
        ({"datatype": 32}, "holds complex numbers"),
        ({"datatype": 1792}, "holds complex numbers"),
        ({"datatype": 128}, r"holds colours \(RGB\)"),
        ({"datatype": 1536}, "holds numbers of 128 bits"),
        ({"intent_code": 1007}, "holds vectors"),
        ({"vox_offset": 0}, "header field vox_offset is 0; expected 352 or more"),
        ({"vox_offset": np.nan}, "header field vox_offset is nan"),
        ({"vox_offset": 1e6}, "it ends after"),
        ({"scl_slope": np.inf}, "header fields scl_slope inf and scl_inter"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "header fields scl_slope 1 and scl_inter nan"),
        ({"scl_slope": 0, "scl_inter": 5}, "header fields scl_slope 0 and scl_inter 5"),
        ({"sizeof_hdr": 540}, "is NIfTI-2, which ITK does not read"),
        ({"sizeof_hdr": 0}, "not a NIfTI file by its first bytes"),
        ({"magic": b"\0\0\0\0"}, "not a NIfTI file by its first bytes"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_headers_that_make_no_sense_are_refused_in_one_line(
    tmp_path: Path, fields: dict[str, Any], message: str, ending: str
) -> None:
    path = write(tmp_path / f"a{ending}", **fields)
    with pytest.raises(InputError, match=message) as error:
        read_remarked(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_compressed_file_without_gz_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"is compressed: rename it to \.nii\.gz"):
        read_remarked(path)


@pytest.mark.parametrize("code", [2, 4])
def test_forms_that_disagree_on_the_place_are_remarked(tmp_path: Path, code: int) -> None:
    path = write(tmp_path / "a.nii.gz", sform=turned(20), sform_code=code)
    image, remarks = read_remarked(path)
    assert remarks == ("qform and sform disagree by 7.7 mm: the qform was used",)
    assert geometry_differences(image, read_header(path)) == []
    _, remarks = read_remarked(write(tmp_path / "b.nii.gz", sform=turned(20), sform_code=1))
    assert remarks == ("qform and sform disagree by 7.7 mm: the sform was used",)


def test_forms_that_differ_by_rounding_are_not(tmp_path: Path) -> None:
    assert read_remarked(write(tmp_path / "a.nii.gz", sform=turned(0.01), sform_code=2))[1] == ()


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_an_edge_below_zero_is_read_as_itk_reads_it(tmp_path: Path, axis: int, codes: tuple[int, int]) -> None:
    pixdim = np.array([1, 2, 2, 6.5, 0, 0, 0, 0])
    pixdim[axis] *= -1
    path = write(tmp_path / "a.nii.gz", pixdim=pixdim, qform_code=codes[0], sform_code=codes[1])
    image, remarks = read_remarked(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), HEAD.T)
    np.testing.assert_allclose(image.GetSpacing(), (2, 2, 6.5))
    assert geometry_differences(image, read_header(path)) == []
    assert any("is below zero" in remark for remark in remarks)


def test_lengths_in_other_units_are_remarked(tmp_path: Path) -> None:
    pixdim, sform = np.array([1, 2e-3, 2e-3, 6.5e-3, 0, 0, 0, 0]), AFFINE * 1e-3
    path = write(tmp_path / "a.nii.gz", sform=sform, pixdim=pixdim, xyzt_units=1, qform_code=0)
    image, remarks = read_remarked(path)
    np.testing.assert_allclose(image.GetSpacing(), (2, 2, 6.5), rtol=1e-5)
    assert remarks == ("its header gives lengths in metres",)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_of_number_keeps_its_values(tmp_path: Path, dtype: str) -> None:
    values = (HEAD % 120).astype(dtype)
    image, _ = read_remarked(write(tmp_path / "a.nii.gz", values=values))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), values.T)
