"""NRRD, MetaImage and GIPL: what ITK makes up where a header leaves it out, and damage that it does not notice."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.text_headers import files_of
from nnunetv2_sa_unet.images.volumes import read_header, read_remarked

HEAD = np.random.default_rng(0).integers(0, 400, (6, 16, 12)).astype(np.int16)
ENDINGS = [".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".gipl.gz"]


def write(folder: Path, ending: str, compressed: bool) -> Path:
    image = SimpleITK.GetImageFromArray(HEAD)
    image.SetSpacing((2, 2, 6.5))
    SimpleITK.WriteImage(image, str(folder / f"a{ending}"), useCompression=compressed)
    return folder / f"a{ending}"


def voxels(path: Path) -> Path:
    """The file that holds the voxels of a header."""
    return next((other for other in sorted(path.parent.iterdir()) if "raw" in other.name), path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_whole_image_is_read(tmp_path: Path, ending: str, compressed: bool) -> None:
    image, remarks = read_remarked(write(tmp_path, ending, compressed))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), HEAD)
    assert remarks == (("orientation unknown: GIPL gives none",) if "gipl" in ending else ())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_an_image_that_was_cut_short_is_refused(tmp_path: Path, ending: str, compressed: bool, kept: float) -> None:
    path = write(tmp_path, ending, compressed)
    content = voxels(path).read_bytes()
    voxels(path).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=f"^{path}: ") as error:
        read_remarked(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", ".gipl.gz"])
@pytest.mark.parametrize("place", [0.8, -2])
def test_damaged_compressed_voxels_are_noticed(tmp_path: Path, ending: str, place: float) -> None:
    path = write(tmp_path, ending, True)
    content = bytearray(voxels(path).read_bytes())
    content[int(place) if place < 0 else int(len(content) * place)] ^= 0x55
    voxels(path).write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: "):
        read_remarked(path)


@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
def test_voxels_that_are_not_there_are_named(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, ending, False)
    voxels(path).unlink()
    with pytest.raises(InputError, match=r"names a\.raw for its voxels, and there is no such file"):
        read_remarked(path)


@pytest.mark.parametrize(
    ("ending", "pattern", "replacement", "message"),
    [
        (".nrrd", r"space directions:.*\n", "", "no spacing in its header"),
        (".nrrd", r"\(2,0,0\) \(0,2,0\) \(0,0,6.5\)", "none none none", "expected 9 numbers"),
        (".nrrd", r"\(2,0,0\)", "(0,0,0)", "voxel of 0×2×6.5 mm"),
        (".nrrd", r"\(2,0,0\)", "(nan,nan,nan)", "expected numbers"),
        (".nrrd", r"\(2,0,0\)", "(2,0.6,0)", "is sheared or singular"),
        (".nrrd", r"\(2,0,0\)", "(2000,0,0)", "voxel of 2000×2×6.5 mm"),
        (".nrrd", r"space origin: \(0,0,0\)", "space origin: (nan,0,0)", "expected numbers"),
        (".nrrd", "encoding", 'space units: "cm" "cm" "cm"\nencoding', "space units: cm; expected mm"),
        (".nrrd", "sizes: 12 16 6", "sizes: 12 16 3", "holds 2304 bytes of voxels, and its header says 1152"),
        (".nrrd", "sizes: 12 16 6", "sizes: 12 16 -6", "size 12×16×-6 voxels; expected 1 or more"),
        (".nrrd", "sizes: 12 16 6", "sizes: 40000 40000 40000", "voxels, more than 5e"),
        (".nrrd", "type: short", "type: block", "type: block; expected"),
        (".mha", r"ElementSpacing.*\n", "", "no ElementSpacing in its header"),
        (".mha", "ElementSpacing = 2", "ElementSpacing = 0", "voxel of 0×2×6.5 mm"),
        (".mha", "ElementSpacing = 2", "ElementSpacing = nan", "expected numbers"),
        (".mha", "ElementSpacing = 2", "ElementSpacing = two", "ElementSpacing: two 2 6.5; expected 3 numbers"),
        (".mha", "TransformMatrix = 1 0 0", "TransformMatrix = 1 0.3 0", "is sheared or singular"),
        (".mha", "TransformMatrix = 1 0 0", "TransformMatrix = 0 1 0", "is sheared or singular"),
        (".mha", "TransformMatrix = 1 0 0", "TransformMatrix = nan 0 0", "expected numbers"),
        (".mha", "Offset = 0", "Offset = nan", "expected numbers"),
        (".mha", "DimSize = 12 16 6", "DimSize = 12 16 5", "holds 2304 bytes of voxels, and its header says 1920"),
        (".mha", "DimSize = 12 16 6", "DimSize = 320000 32000 20000", "voxels, more than 5e"),
        (".mha", "MET_SHORT", "MET_CHAR_ARRAY", "expected a type of whole or real numbers"),
        (".mha", "ElementDataFile = LOCAL", "ElementDataFile = LIST", "its voxels stand in several files"),
        (".mha", "DimSize", "Dimensions", "not a MetaImage file by its header"),
        (".mha", "ElementType", "ElementNumberOfChannels = 3\nElementType", "3 axes and 3 channels"),
    ],
)
def test_a_header_that_leaves_out_or_distorts_the_geometry_is_refused(
    tmp_path: Path, ending: str, pattern: str, replacement: str, message: str
) -> None:
    path = write(tmp_path, ending, False)
    content = re.sub(pattern.encode(), replacement.encode(), path.read_bytes(), count=1)
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_remarked(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("ending", "pattern"), [(".mha", r"TransformMatrix.*\n")])
def test_an_orientation_that_is_left_out_is_remarked(tmp_path: Path, ending: str, pattern: str) -> None:
    path = write(tmp_path, ending, False)
    path.write_bytes(re.sub(pattern.encode(), b"", path.read_bytes()))
    assert read_remarked(path)[1][0].startswith("orientation unknown")
    assert read_header(path).GetSpacing() == (2, 2, 6.5)


def test_a_gipl_file_says_its_spacing(tmp_path: Path) -> None:
    path = write(tmp_path, ".gipl", False)
    content = bytearray(path.read_bytes())
    content[10:14] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"voxel of 0×2×6\.5 mm"):
        read_remarked(path)


@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
@pytest.mark.parametrize("absolute", [True, False])
def test_voxels_may_lie_in_another_folder(tmp_path: Path, ending: str, absolute: bool) -> None:
    path = write(tmp_path, ending, False)
    (tmp_path / "sub").mkdir()
    moved = voxels(path).rename(tmp_path / "sub" / "a.raw")
    path.write_text(path.read_text().replace("a.raw", str(moved) if absolute else "sub/a.raw"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(read_remarked(path)[0]), HEAD)
    assert files_of(path) == [path, moved]


def test_files_of_an_image_are_those_that_hold_it(tmp_path: Path) -> None:
    for ending in (".nrrd", ".mha", ".gipl"):
        assert files_of(write(tmp_path, ending, False)) == [tmp_path / f"a{ending}"]
    path = tmp_path / "b.mhd"
    path.write_text("nothing")
    assert files_of(path) == [path]


@pytest.mark.parametrize(("ending", "name"), [(".nhdr", "LIST"), (".mhd", "LIST"), (".mhd", "a%03d.raw 1 6 1")])
def test_voxels_in_several_files_are_refused(tmp_path: Path, ending: str, name: str) -> None:
    path = write(tmp_path, ending, False)
    path.write_text(path.read_text().replace("a.raw", name))
    with pytest.raises(InputError, match="its voxels stand in several files"):
        read_remarked(path)
