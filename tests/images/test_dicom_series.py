"""DICOM trees as hospitals export them: what becomes one volume, what is refused, and what is passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import read_series, read_series_remarked
from nnunetv2_sa_unet.images.dicom_series import find_series


def volume(folder: Path) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    """The only series of a folder as an image, and all remarks on it."""
    (series,) = find_series(folder).series
    assert not series.problem
    image, remarks = read_series_remarked(series.folder, series.files)
    return image, (*series.remarks, *remarks)


def is_the_head(image: SimpleITK.Image, dicom: SimpleNamespace) -> bool:
    return (
        np.array_equal(SimpleITK.GetArrayFromImage(image), dicom.head)
        and np.allclose(image.GetSpacing(), dicom.spacing)
        and np.allclose(image.GetOrigin(), dicom.origin)
        and np.allclose(image.GetDirection(), np.eye(3).ravel())
    )


def test_a_classic_series_is_the_volume_that_it_shows(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.write(tmp_path)
    image, remarks = volume(tmp_path)
    assert is_the_head(image, dicom)
    assert remarks == ()


def test_many_frames_in_one_file_are_put_in_order_by_their_positions(tmp_path: Path, dicom: SimpleNamespace) -> None:
    order = [0, 2, 4, 1, 3, 5]
    for name, stored in (("plain", range(6)), ("interleaved", order), ("reversed", range(5, -1, -1))):
        dicom.save(dicom.enhanced(dicom.head[list(stored)], list(stored)), tmp_path / name / "IM1")
        image, remarks = volume(tmp_path / name)
        assert is_the_head(image, dicom), name
        assert remarks == ()


def test_scaled_frames_have_their_true_values(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.save(dicom.enhanced(dicom.head, range(6), slope=[0.5] * 6), tmp_path / "IM1")
    image, _ = volume(tmp_path)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image), dicom.head * 0.5)


@pytest.mark.parametrize(
    ("kept", "positions", "options", "message"),
    [
        ([0, 1, 2, 4, 5], [0, 1, 2, 4, 5], {}, "slices are missing or unevenly spaced: steps from 4 to 8 mm"),
        (
            [0, 1, 2, 0, 1, 2],
            [0, 1, 2, 0, 1, 2],
            {"echo": [80.0] * 3 + [120.0] * 3},
            "with echo times of 120.0 and 80.0",
        ),
        ([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2], {}, "several slices at one place"),
        (range(6), range(6), {"slope": [1, 1, 1, 2, 2, 2]}, "its frames have several scales"),
        (range(6), range(6), {"part": ["PHASE"] * 6}, "holds the phase of a complex image; expected its magnitude"),
        (range(6), range(6), {"shared": {"PixelSpacing": None}}, "gives no pixel spacing"),
        (range(6), range(6), {"shared": {"ImageOrientationPatient": None}}, "gives no orientation"),
    ],
)
def test_odd_files_of_many_frames_are_refused_with_the_reason(
    tmp_path: Path,
    dicom: SimpleNamespace,
    kept: list[int],
    positions: list[int],
    options: dict[str, Any],
    message: str,
) -> None:
    dicom.save(dicom.enhanced(dicom.head[list(kept)], list(positions), **options), tmp_path / "IM1")
    with pytest.raises(InputError, match=message) as error:
        read_series(tmp_path, ["IM1"])
    assert "\n" not in str(error.value)


def test_the_magnitude_is_taken_out_of_a_file_of_several_parts(tmp_path: Path, dicom: SimpleNamespace) -> None:
    both = np.concatenate([dicom.head, dicom.head // 2])
    parts = ["MAGNITUDE"] * 6 + ["PHASE"] * 6
    dicom.save(dicom.enhanced(both, [*range(6), *range(6)], part=parts), tmp_path / "IM1")
    image, remarks = volume(tmp_path)
    assert is_the_head(image, dicom)
    assert remarks == ("6 slices left out that hold the phase",)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_series_without_preamble_is_read(tmp_path: Path, dicom: SimpleNamespace, implicit: bool) -> None:
    for index, pixels in enumerate(dicom.head):
        bare = Dataset()
        bare.update(dicom.dataset(pixels, index))
        bare.save_as(tmp_path / f"{index}", implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert is_the_head(volume(tmp_path)[0], dicom)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_read_and_their_damage_noticed(tmp_path: Path, dicom: SimpleNamespace, syntax: UID) -> None:
    for index, pixels in enumerate(dicom.head):
        made = dicom.dataset(pixels, index)
        if syntax == RLELossless:
            made.compress(RLELossless, generate_instance_uid=False)
        made.file_meta.TransferSyntaxUID = syntax
        dicom.save(made, tmp_path / f"IM{index}")
    assert is_the_head(volume(tmp_path)[0], dicom)
    path = tmp_path / "IM3"
    path.write_bytes(path.read_bytes()[:-60])
    (series,) = find_series(tmp_path).series
    if not series.problem:
        with pytest.raises(InputError):
            read_series(series.folder, series.files)


def test_a_series_over_several_folders_is_one(tmp_path: Path, dicom: SimpleNamespace) -> None:
    paths = dicom.write(tmp_path / "P1" / "A")
    (tmp_path / "P1" / "B").mkdir()
    for path in paths[3:]:
        path.rename(tmp_path / "P1" / "B" / path.name)
    (series,) = find_series(tmp_path).series
    assert series.folder == tmp_path / "P1"
    assert series.files == ("A/IM0000", "A/IM0001", "A/IM0002", "B/IM0003", "B/IM0004", "B/IM0005")
    image, remarks = volume(tmp_path)
    assert is_the_head(image, dicom)
    assert remarks == ()


def test_a_copy_of_a_series_is_named_and_one_of_other_content_is_another_subject(
    tmp_path: Path, dicom: SimpleNamespace
) -> None:
    dicom.write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    tree = find_series(tmp_path)
    assert [series.folder.name for series in tree.series] == ["a"]
    assert [(each.path.name, each.reason, each.harmless) for each in tree.passed_over] == [
        ("b", f"a copy of the DICOM series in {tmp_path / 'a'}", True)
    ]
    shutil.rmtree(tmp_path / "b")
    dicom.write(tmp_path / "b", dicom.head + 1)
    tree = find_series(tmp_path)
    assert [series.folder.name for series in tree.series] == ["a", "b"]
    assert "is that of another series of other content in" in tree.series[0].remarks[0]


def test_parts_of_a_series_that_overlap_are_refused(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "IM0000").unlink()
    (series,) = find_series(tmp_path).series
    assert series.problem.startswith("the files of its DICOM series lie in several folders and overlap: ")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "holds no image (Basic Text SR Storage)"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "holds no image (Grayscale Softcopy Presentation State Storage)"),
        ("1.2.840.10008.5.1.4.1.1.66", "holds no image (Raw Data Storage)"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "holds no image (Key Object Selection Document Storage)"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "holds no image (Encapsulated PDF Storage)"),
        ("1.3.46.670589.11.0.0.12.1", "holds no image (1.3.46.670589.11.0.0.12.1)"),
    ],
)
def test_objects_without_pixels_are_passed_over(tmp_path: Path, dicom: SimpleNamespace, kind: str, reason: str) -> None:
    dicom.write(tmp_path / "flair")
    pixels = (
        "PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        "SamplesPerPixel", "PhotometricInterpretation",
    )  # fmt: skip
    made = dicom.dataset(dicom.head[0], 90, "1.2.90", SOPClassUID=kind, **dict.fromkeys(pixels))
    dicom.save(made, tmp_path / "flair" / "IM0090")
    dicom.save(made, tmp_path / "report" / "IM1")
    tree = find_series(tmp_path)
    assert [(series.folder.name, series.problem, series.remarks) for series in tree.series] == [("flair", "", ())]
    assert {(each.reason, each.harmless) for each in tree.passed_over} == {(reason, True)}
    assert len(tree.passed_over) == 2


def test_a_single_slice_takes_its_thickness(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.write(tmp_path / "a", dicom.head[:1])
    assert volume(tmp_path / "a")[0].GetSpacing() == dicom.spacing
    dicom.write(tmp_path / "b", dicom.head[:1], SliceThickness=None)
    with pytest.raises(InputError, match="a single slice without thickness"):
        read_series(tmp_path / "b", ["IM0000"])


@pytest.mark.parametrize("lost", ["empty", "zeros", "link", "cut in its header", "cut"])
def test_a_slice_that_is_lost_never_shortens_a_head(tmp_path: Path, dicom: SimpleNamespace, lost: str) -> None:
    path = dicom.write(tmp_path)[-1]
    whole = path.read_bytes()
    if lost == "link":
        path.unlink()
        path.symlink_to("../archive/IM0005")
    else:
        kept = {"empty": b"", "zeros": bytes(len(whole)), "cut": whole[:-100], "cut in its header": whole[:140]}
        path.write_bytes(kept[lost])
    (series,) = find_series(tmp_path).series
    assert path.name in series.problem
    assert str(tmp_path) in series.problem


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": None}, r"gives no pixel spacing \(PixelSpacing\) \(IM0000\)"),
        ({"ImageOrientationPatient": None}, r"gives no orientation \(ImageOrientationPatient\)"),
        ({"ImagePositionPatient": None}, r"gives no position \(ImagePositionPatient\)"),
        ({"PixelSpacing": ["0", "0"]}, r"PixelSpacing\) is \(0, 0\); expected two numbers above 0"),
        ({"PixelSpacing": ["-1", "1"]}, "expected two numbers above 0"),
        ({"PixelSpacing": ["nan", "1"]}, "expected two numbers above 0"),
        ({"PixelSpacing": ["900", "900"]}, "voxel of 900×900×4 mm; expected edges between 0.05 and 50 mm"),
        ({"PixelSpacing": ["0.001", "0.001"]}, "voxel of 0.001×0.001×4 mm"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "expected two cosines at a right angle"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "expected two cosines at a right angle"),
        ({"ImageOrientationPatient": ["nan", 0, 0, 0, 1, 0]}, "is no six numbers"),
        ({"ImagePositionPatient": [1, 2, 3]}, "several slices at one place"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, r"holds MONOCHROME1; expected grey values \(MONOCHROME2\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "holds the phase of a complex image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R"]}, "holds the real part of a complex image"),
        ({"ImageType": ["DERIVED", "PRIMARY", "M", "MOSAIC"]}, "is a mosaic of slices"),
        ({"Columns": 60000, "Rows": 60000}, "holds 384 of 7200000000 bytes of pixels"),
    ],
)
def test_a_geometry_or_content_that_is_none_of_a_head_is_refused(
    tmp_path: Path, dicom: SimpleNamespace, tags: dict[str, Any], message: str
) -> None:
    names = [path.name for path in dicom.write(tmp_path, **tags)]
    with pytest.raises(InputError, match=message) as error:
        read_series(tmp_path, names)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


def one_odd_slice(folder: Path, dicom: SimpleNamespace, **tags: Any) -> list[str]:
    names = [path.name for path in dicom.write(folder)]
    pixels = tags.pop("pixels", dicom.head[2])
    dicom.save(dicom.dataset(pixels, 2, **tags), folder / names[2])
    return names


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"pixels": np.zeros((8, 8), np.uint16)}, "IM0002 has 8 rows and 8 columns; expected 16 and 12"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, r"several orientations \(IM0000, IM0002\)"),
        ({"PixelSpacing": [3, 3]}, r"several pixel spacings: 1.5×2 mm \(IM0000\) and 3×3 mm \(IM0002\)"),
        ({"SOPInstanceUID": "1.2.3.1"}, "IM0000 and IM0002 are the same slice"),
        ({"ImagePositionPatient": [-10, -20, 35]}, "slices are missing or unevenly spaced"),
    ],
)
def test_a_slice_that_does_not_fit_is_named(
    tmp_path: Path, dicom: SimpleNamespace, tags: dict[str, Any], message: str
) -> None:
    names = one_odd_slice(tmp_path, dicom, **tags)
    with pytest.raises(InputError, match=message):
        read_series(tmp_path, names)


def test_slices_of_several_scales_keep_their_values(tmp_path: Path, dicom: SimpleNamespace) -> None:
    names = one_odd_slice(tmp_path, dicom, RescaleSlope="0.25", RescaleIntercept="0.5")
    expected = dicom.head.astype(float)
    expected[2] = expected[2] * 0.25 + 0.5
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read_series(tmp_path, names)), expected)


def test_a_tilted_gantry_is_refused(tmp_path: Path, dicom: SimpleNamespace) -> None:
    for index, pixels in enumerate(dicom.head):
        place = [-10, -20 + index, 30 + index * 4]
        dicom.save(dicom.dataset(pixels, index, ImagePositionPatient=place), tmp_path / f"{index}")
    with pytest.raises(InputError, match="shift by 1 mm along their plane"):
        volume(tmp_path)


@pytest.mark.parametrize(
    ("kept", "tags", "remark"),
    [
        (slice(2, None), {}, "its slices are numbered from 3 to 6: the first may be missing"),
        (slice(0, 4), {"ImagesInAcquisition": 6}, "its header says 6 images in the acquisition, and 4 are there"),
        (
            slice(0, None, 2),
            {"SpacingBetweenSlices": 4},
            "its slices lie 8 mm apart, and its header says 4 mm: some may",
        ),
    ],
)
def test_slices_that_may_be_missing_are_remarked(
    tmp_path: Path, dicom: SimpleNamespace, kept: slice, tags: dict[str, Any], remark: str
) -> None:
    paths = dicom.write(tmp_path, **tags)
    for path in set(paths) - set(paths[kept]):
        path.unlink()
    assert any(said.startswith(remark) for said in volume(tmp_path)[1])


def test_linked_folders_are_followed_once_and_locked_ones_named(
    tmp_path: Path, dicom: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    dicom.write(tmp_path / "real" / "P2")
    (tmp_path / "in" / "P3").mkdir(parents=True)
    (tmp_path / "in" / "P2").symlink_to("../real/P2")
    (tmp_path / "in" / "again").symlink_to("../real/P2")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "scan.nii.gz").write_text("an image by its name")
    scandir = os.scandir

    def refusing(place: Path) -> Any:
        if place.name == "P3":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr("os.scandir", refusing)
    tree = find_series(tmp_path / "in")
    assert [series.folder.name for series in tree.series] == ["P2"]
    assert {(each.path.name, each.harmless): each.reason for each in tree.passed_over} == {
        ("again", True): "a link to a folder that was looked at already",
        ("P3", False): "a folder that cannot be read: Permission denied",
        ("notes.txt", True): "no image by its name",
        ("scan.nii.gz", False): "an image file among DICOM folders: give its folder as an input of its own",
    }


def test_a_series_in_several_files_of_many_slices_is_one(tmp_path: Path, dicom: SimpleNamespace) -> None:
    for part, instance in ((range(4, 6), "1.2.3.8"), (range(4), "1.2.3.9")):
        made = dicom.enhanced(dicom.head[list(part)], list(part))
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
        dicom.save(made, tmp_path / instance)
    image, remarks = volume(tmp_path)
    assert is_the_head(image, dicom)
    assert remarks == ()


def test_files_of_many_slices_at_the_same_places_are_volumes_of_their_own(
    tmp_path: Path, dicom: SimpleNamespace
) -> None:
    for instance in ("1.2.3.8", "1.2.3.9"):
        made = dicom.enhanced(dicom.head, range(6))
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
        dicom.save(made, tmp_path / instance)
    for series in find_series(tmp_path).series:
        assert is_the_head(read_series(series.folder, series.files), dicom)
    assert len(find_series(tmp_path).series) == 2


@pytest.mark.parametrize("many", [True, False])
def test_files_that_lack_only_their_first_bytes_are_read(tmp_path: Path, dicom: SimpleNamespace, many: bool) -> None:
    paths = [dicom.save(dicom.enhanced(dicom.head, range(6)), tmp_path / "IM1")] if many else dicom.write(tmp_path)
    for path in paths:
        path.write_bytes(path.read_bytes()[132:])
    assert is_the_head(volume(tmp_path)[0], dicom)


def test_damage_that_a_decoder_only_mentions_is_noticed(tmp_path: Path, dicom: SimpleNamespace) -> None:
    values = np.random.default_rng(0).integers(0, 400, (2, 64, 64)).astype(np.uint16)
    paths = dicom.write(tmp_path, values)
    for path in paths:
        reader, writer = SimpleITK.ImageFileReader(), SimpleITK.ImageFileWriter()
        reader.SetFileName(str(path))
        path.rename(path.with_suffix(".dcm"))
        reader.SetFileName(str(path.with_suffix(".dcm")))
        image = reader.Execute()
        writer.SetFileName(str(path.with_suffix(".dcm")))
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(image)
    (series,) = find_series(tmp_path).series
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_series(tmp_path, series.files)), values)
    path = paths[1].with_suffix(".dcm")
    content = bytearray(path.read_bytes())
    content[-2000:-1000] = bytes(1000)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"its pixels \(JPEG Lossless.*\) are damaged, or of an encoding"):
        read_series(tmp_path, series.files)


def test_pixels_that_cannot_be_decoded_are_named_by_their_encoding(tmp_path: Path, dicom: SimpleNamespace) -> None:
    for path in dicom.write(tmp_path):
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))
    (series,) = find_series(tmp_path).series
    with pytest.raises(InputError, match=r"its pixels \(1\.2\.840\.10008\.9\.9\.9\) are damaged, or of an encoding"):
        read_series(tmp_path, series.files)


def test_pixels_of_real_numbers_are_told_from_a_file_that_was_cut(tmp_path: Path, dicom: SimpleNamespace) -> None:
    for index, pixels in enumerate(dicom.head):
        made = dicom.dataset(pixels, index, BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=None)
        made.FloatPixelData = pixels.astype("<f4").tobytes()
        dicom.save(made, tmp_path / f"{index}")
    (series,) = find_series(tmp_path).series
    assert "holds real numbers (FloatPixelData)" in series.problem


@pytest.mark.parametrize("word", ["MPR", "PROJECTION IMAGE", "CSA RESAMPLED"])
def test_what_was_made_of_other_images_is_remarked(tmp_path: Path, dicom: SimpleNamespace, word: str) -> None:
    dicom.write(tmp_path, ImageType=["DERIVED", "SECONDARY", word])
    assert volume(tmp_path)[1] == (f"its header calls it {word} (ImageType): made of other images",)


def test_a_localizer_is_no_flair_whatever_its_name(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.write(tmp_path, dicom.head[:3], ImageType=["ORIGINAL", "PRIMARY", "M", "LOCALIZER"])
    (series,) = find_series(tmp_path).series
    assert not series.flair


def test_empty_folders_are_named_and_pipes_not_waited_for(tmp_path: Path, dicom: SimpleNamespace) -> None:
    dicom.write(tmp_path / "P1")
    (tmp_path / "P2").mkdir()
    os.mkfifo(tmp_path / "P1" / "pipe")
    tree = find_series(tmp_path)
    assert {each.path.name: (each.reason[:15], each.harmless) for each in tree.passed_over} == {
        "P2": ("an empty folder", False),
        "pipe": ("a pipe or a dev", False),
    }
