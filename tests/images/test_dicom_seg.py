"""Masks as DICOM Segmentation objects: read back by others, they are the masks of the NIfTI files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import read_series
from nnunetv2_sa_unet.images.dicom_files import read_dicom_file
from nnunetv2_sa_unet.images.dicom_seg import Algorithm, write_dicom_seg
from nnunetv2_sa_unet.images.dicom_series import find_series

highdicom = pytest.importorskip("highdicom")

FRAME = "1.2.3.9"
ALGORITHM = Algorithm("openflair1", "1.2", "0" * 64, {"folds": "0 1", "threshold": "0.5"})
#: A head that was tilted about two axes: no axis of the image is one of the patient's.
TILTED = np.array([[0.96, -0.28, 0.0], [0.268, 0.92, -0.286], [0.08, 0.275, 0.958]])


def mask_of(shape: tuple[int, ...]) -> np.ndarray:
    """Different in every slice, so that no two can be taken for each other, and empty in the first."""
    mask = np.zeros(shape, bool)
    for index in range(1, len(mask)):
        mask[index, 2 : 3 + index, 1:5] = True
        mask[index, -1, index] = True
    return mask


def write(folder: Path, output: Path, mask: np.ndarray | None = None) -> np.ndarray:
    """Write the object of the one series in a folder; return its mask."""
    (series,) = find_series(folder).series
    shape = SimpleITK.GetArrayFromImage(read_series(series.folder, series.files)).shape
    mask = mask_of(shape) if mask is None else mask
    write_dicom_seg(output, mask, series.folder, series.files, ALGORITHM)
    return mask


def by_position(path: Path, folder: Path) -> np.ndarray:
    """The frames of an object on the grid of the image, each placed by its own position and orientation alone."""
    (series,) = find_series(folder).series
    grid = read_series(series.folder, series.files)
    seg: Any = pydicom.dcmread(path)
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    across, down = np.array(orientation, float).reshape(2, 3)
    down_mm, across_mm = map(float, seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing)
    found = np.full(grid.GetSize()[::-1], 9)
    for frame, item in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.ndindex(*frame.shape):
            place = origin + column * across_mm * across + row * down_mm * down
            index = grid.TransformPhysicalPointToIndex(place.tolist())
            found[index[::-1]] = frame[row, column]
    return found


def oblique(folder: Path, dicom: SimpleNamespace) -> None:
    for index, pixels in enumerate(dicom.head):
        row = TILTED[:, 0] / np.linalg.norm(TILTED[:, 0])
        column = TILTED[:, 1] - (TILTED[:, 1] @ row) * row
        normal = np.cross(row, column / np.linalg.norm(column))
        position = np.array([-10, -20, 30]) + index * 4 * normal
        made = dicom.dataset(
            pixels,
            index,
            FrameOfReferenceUID=FRAME,
            ImagePositionPatient=[f"{value:.8g}" for value in position],
            ImageOrientationPatient=[f"{v:.8g}" for v in (*row, *column / np.linalg.norm(column))],
        )
        dicom.save(made, folder / f"IM{index:04}")


def without_preamble(folder: Path, dicom: SimpleNamespace) -> None:
    for path in dicom.write(folder, FrameOfReferenceUID=FRAME):
        path.write_bytes(path.read_bytes()[132:])


def one_file(folder: Path, dicom: SimpleNamespace) -> None:
    made = dicom.enhanced(dicom.head[[3, 0, 5, 1, 4, 2]], [3, 0, 5, 1, 4, 2])
    made.FrameOfReferenceUID = FRAME
    dicom.save(made, folder / "volume.dcm")


def one_file_that_repeats_its_geometry(folder: Path, dicom: SimpleNamespace) -> None:
    made = dicom.enhanced(dicom.head, range(6))
    made.FrameOfReferenceUID = FRAME
    (shared,) = made.SharedFunctionalGroupsSequence
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
    del made.SharedFunctionalGroupsSequence
    dicom.save(made, folder / "volume.dcm")


def with_phase(folder: Path, dicom: SimpleNamespace) -> None:
    twice = np.repeat(dicom.head, 2, axis=0)
    made = dicom.enhanced(twice, [index // 2 for index in range(12)], part=["MAGNITUDE", "PHASE"] * 6)
    made.FrameOfReferenceUID = FRAME
    dicom.save(made, folder / "volume.dcm")


def two_files(folder: Path, dicom: SimpleNamespace) -> None:
    for name, places in (("low", [0, 1, 2]), ("high", [3, 4, 5])):
        made = dicom.enhanced(dicom.head[places], places)
        made.FrameOfReferenceUID = FRAME
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.77.{len(name)}"
        dicom.save(made, folder / f"{name}.dcm")


def classic(folder: Path, dicom: SimpleNamespace) -> None:
    dicom.write(folder, FrameOfReferenceUID=FRAME, PatientName="Doe^Jane", StudyDate="20260105", PatientSex="F")


@pytest.mark.parametrize(
    "source",
    [classic, oblique, without_preamble, one_file, one_file_that_repeats_its_geometry, with_phase, two_files],
    ids=lambda source: source.__name__,
)
def test_voxels_lie_where_they_lie_in_the_nifti_file(tmp_path: Path, dicom: SimpleNamespace, source: Any) -> None:
    source(tmp_path / "in", dicom)
    mask = write(tmp_path / "in", tmp_path / "seg.dcm")
    np.testing.assert_array_equal(by_position(tmp_path / "seg.dcm", tmp_path / "in"), mask)

    # highdicom's own reader, which sorts the slices by itself.
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    volume = seg.get_volume(combine_segments=True)
    upwards = volume.affine[2, 0] > 0
    np.testing.assert_array_equal(volume.array if upwards else volume.array[::-1], mask)


def test_it_says_what_it_is_and_whose(tmp_path: Path, dicom: SimpleNamespace) -> None:
    classic(tmp_path / "in", dicom)
    write(tmp_path / "in", tmp_path / "seg.dcm")
    seg: Any = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (seg.PatientID, str(seg.PatientName), seg.PatientSex) == ("phantom", "Doe^Jane", "F")
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID, str(seg.StudyDate)) == ("1.2", FRAME, "20260105")
    assert (seg.Modality, seg.SegmentationType, seg.SeriesInstanceUID != "1.2.3") == ("SEG", "BINARY", True)
    segment = seg.get_segment_description(1)
    codes = [segment.segmented_property_category, segment.segmented_property_type, *segment.anatomic_regions]
    assert [(code.scheme_designator, code.value, code.meaning) for code in codes] == [
        ("SCT", "49755003", "Morphologically Abnormal Structure"),
        ("DCM", "110702", "White Matter T2 Hyperintensity"),
        ("SCT", "12738006", "Brain"),
    ]
    assert segment.algorithm_type.value == "AUTOMATIC"
    algorithm = segment.algorithm_identification
    assert (algorithm.name, algorithm.version) == ("openflair1", "1.2")
    assert algorithm.parameters == {"folds": "0 1", "threshold": "0.5"}
    (series,) = seg.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        f"1.2.3.{number}" for number in range(1, 7)
    }
    for item in seg.PerFrameFunctionalGroupsSequence:
        (of,) = item.DerivationImageSequence[0].SourceImageSequence
        number = round((float(item.PlanePositionSequence[0].ImagePositionPatient[2]) - dicom.origin[2]) / 4) + 1
        assert of.ReferencedSOPInstanceUID == f"1.2.3.{number}"


def test_an_empty_mask_is_an_object_with_every_slice(tmp_path: Path, dicom: SimpleNamespace) -> None:
    classic(tmp_path / "in", dicom)
    write(tmp_path / "in", tmp_path / "seg.dcm", np.zeros(dicom.head.shape, bool))
    seg: Any = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (seg.NumberOfFrames, seg.number_of_segments, seg.pixel_array.any()) == (6, 1, False)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"FrameOfReferenceUID": None}, "it gives no FrameOfReferenceUID"),
        ({"StudyInstanceUID": None}, "it gives no StudyInstanceUID"),
        ({"SpecificCharacterSet": "none"}, "no DICOM object can be made of its series: "),
    ],
)
def test_a_series_that_does_not_say_enough_is_refused(
    tmp_path: Path, dicom: SimpleNamespace, tags: dict[str, Any], message: str
) -> None:
    dicom.write(tmp_path / "in", **{"FrameOfReferenceUID": FRAME, **tags})
    with pytest.raises(InputError, match=message) as error:
        write(tmp_path / "in", tmp_path / "seg.dcm")
    assert "\n" not in str(error.value)


def test_values_that_break_the_standard_become_empty(tmp_path: Path, dicom: SimpleNamespace) -> None:
    tags = {"PatientBirthDate": "unknown", "StudyTime": "noon", "PatientSex": "W", "SeriesNumber": None}
    dicom.write(tmp_path / "in", FrameOfReferenceUID=FRAME, **tags)
    write(tmp_path / "in", tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.PatientBirthDate, seg.StudyTime, seg.PatientSex, seg.SeriesNumber) == ("", "", "", 1)


def test_an_object_that_holds_something_else_is_noticed(
    tmp_path: Path, dicom: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    classic(tmp_path / "in", dicom)
    written = highdicom.seg.Segmentation.save_as

    def damaged(seg: Any, path: Path) -> None:
        seg.PixelData = bytes(len(seg.PixelData))
        written(seg, path)

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", damaged)
    with pytest.raises(InputError, match="does not hold the mask"):
        write(tmp_path / "in", tmp_path / "seg.dcm")


def test_objects_are_no_images(tmp_path: Path, dicom: SimpleNamespace) -> None:
    classic(tmp_path / "in", dicom)
    write(tmp_path / "in", tmp_path / "in" / "seg.dcm")
    assert not read_dicom_file(tmp_path / "in" / "seg.dcm").is_image
    tree = find_series(tmp_path / "in")
    assert len(tree.series) == 1
    (other,) = tree.passed_over
    assert (other.path.name, other.reason, other.harmless) == ("seg.dcm", "holds no image (Segmentation Storage)", True)
