"""The subjects in files, folders, BIDS data sets and DICOM trees."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below
from nnunetv2_sa_unet.segmentation.inputs import Found, FoundSubject, find_subjects
from nnunetv2_sa_unet.text import printable

Write = Callable[..., list[Path]]
ENDINGS = [b".nii.gz", b".nii", b".mha", b".mgz", b".txt", b""]
VALUES = np.random.default_rng(0).integers(0, 400, (5, 16, 12))


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not opened")
    return folder


def listed(subjects: list[FoundSubject]) -> dict[str, list[str]]:
    return {subject.name: [Path(each.path).name for each in subject.inputs] for subject in subjects}


def test_a_folder_has_a_subject_a_file_for_a_model_of_one_channel(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii.gz", "a_0000.nii.gz", "scan_2019.nii", "c.mha", "notes.txt", ".hidden.nii.gz")
    found = find_subjects([tmp_path], 1).subjects
    assert listed(found) == {
        "a": ["a_0000.nii.gz"],
        "b": ["b.nii.gz"],
        "c": ["c.mha"],
        "scan_2019": ["scan_2019.nii"],
    }
    assert not any(subject.problem for subject in found)
    assert [path.as_posix() for subject in found[:1] for path in (subject.mask, subject.probabilities)] == [
        "a_wmh.nii.gz",
        "a_wmh_prob.nii.gz",
    ]


def test_subjects_that_are_numbered_from_one_are_no_channels(tmp_path: Path) -> None:
    touch(tmp_path, "patient_0001.nii.gz", "patient_0002.nii.gz")
    assert list(listed(find_subjects([tmp_path], 1).subjects)) == ["patient_0001", "patient_0002"]


def test_channels_are_grouped_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0001.nii.gz", "c_0000.nii.gz", "d.nii.gz")
    found = {subject.name: subject for subject in find_subjects([tmp_path], 2).subjects}
    assert listed([found["a"]]) == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"]}
    assert {name: subject.problem for name, subject in found.items()} == {
        "a": "",
        "b": "channels 0001 found; the model needs 2, numbered from 0000",
        "c": "channels 0000 found; the model needs 2, numbered from 0000",
        "d": "d.nii.gz: the model needs 2 channels: expected d_0000, d_0001 …",
    }
    (a, *_) = find_subjects([tmp_path], 1).subjects
    assert a.problem == "channels 0000, 0001 found; the model needs 1, numbered from 0000"


def test_files_and_folders_mix(tmp_path: Path) -> None:
    folder = touch(tmp_path / "folder", "a.nii.gz")
    touch(tmp_path, "b_0000.nii.gz", "b_0001.nii.gz")
    inputs = [tmp_path / "b_0001.nii.gz", folder, tmp_path / "b_0000.nii.gz"]
    assert listed(find_subjects(inputs, 1).subjects) == {"a": ["a.nii.gz"], "b": ["b_0000.nii.gz", "b_0001.nii.gz"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.nii.gz", "x/a_0000.nii.gz"), "several inputs have the name of one subject"),
        (("a.nii.gz", "a.nii"), "several inputs have the name of one subject"),
        (("a_0000.nii.gz", "a_0000.nii"), "a: the same channel twice"),
        (("scan.png",), "scan.png: not an image by its name; expected one of .nii.gz"),
    ],
)
def test_names_that_clash_or_are_none_of_images_are_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_subjects([tmp_path / name for name in names], 1)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: there is no such file or folder$"):
        find_subjects([tmp_path / "absent"], 1)
    with pytest.raises(InputError, match="holds no image and no DICOM series, and is no BIDS data set"):
        find_subjects([tmp_path], 1)


def test_series_that_look_like_flair_are_subjects_named_as_their_folders(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "P1" / "flair", VALUES, uid="1.1.5", study="1.1")
    write_series(tmp_path / "P1" / "t1", VALUES, "T1 mprage", uid="1.1.4", study="1.1")
    write_series(tmp_path / "P2", VALUES, "FLAIR axial", uid="1.2.3", study="1.2")
    write_series(tmp_path / "P2", VALUES, "FLAIR sagittal", uid="1.2.7", study="1.2")
    write_series(tmp_path / "P2", VALUES, "localizer", uid="1.2.1", study="1.2")
    write_series(tmp_path / "P3" / "a", VALUES, "T2", uid="1.3.1", study="1.3")
    write_series(tmp_path / "P3" / "b", VALUES, "T1", uid="1.3.2", study="1.3")
    found = find_subjects([tmp_path], 1).subjects
    assert {subject.name: subject.problem for subject in found} == {
        "P1_flair": "",
        "P2_3": "",
        "P2_7": "",
        "P3": "no FLAIR among its DICOM series: T2, T1",
    }
    assert found[0].inputs[0].series_uid == "1.1.5"
    assert found[0].inputs[0].files == ["5_005.dcm", "5_004.dcm", "5_003.dcm", "5_002.dcm", "5_001.dcm"]


def test_a_single_series_is_a_subject_whatever_it_looks_like(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path / "scan", VALUES, "ep2d_diff")
    (found,) = find_subjects([tmp_path / "scan"], 1).subjects
    assert (found.name, found.problem) == ("scan", "")
    assert found.remark == "series 'ep2d_diff' does not look like FLAIR by its DICOM header"
    with pytest.raises(InputError, match="one DICOM file is one slice; give the folder of its series"):
        find_subjects([paths[0]], 1)
    (found,) = find_subjects([tmp_path / "scan"], 2).subjects
    assert found.problem == "a DICOM series is one channel, and the model needs 2"


def test_damaged_files_of_a_series_are_a_problem_unless_they_may_be_of_another(
    tmp_path: Path, write_series: Write
) -> None:
    path = write_series(tmp_path / "scan", VALUES, uid="1.1")[-1]
    path.write_bytes(path.read_bytes()[:-50])
    (found,) = find_subjects([tmp_path / "scan"], 1).subjects
    cut = f"{tmp_path / 'scan'}: of 5 files of its series 1 DICOM files cannot be read (1_001.dcm: is cut short)"
    assert found.problem == cut
    write_series(tmp_path / "scan", VALUES, "T1", uid="1.2")
    (found,) = find_subjects([tmp_path / "scan"], 1).subjects
    assert found.problem == cut
    path.write_bytes(b"")
    (found,) = find_subjects([tmp_path / "scan"], 1).subjects
    assert (found.problem, found.remark) == (
        "",
        "1 DICOM files cannot be read (1_001.dcm: is empty (0 bytes)); they may belong to another series of the folder",
    )


def test_volumes_of_a_bids_data_set_keep_their_places(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz",
        "sub-2/anat/sub-2_acq-3D_FLAIR.nii",
        "sub-2/anat/sub-2_T1w.nii.gz",
        "derivatives/wmh/sub-2/anat/sub-2_acq-3D_desc-wmh_mask.nii.gz",
    )
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "a", "BIDSVersion": "1.10.0"}))
    found = find_subjects([tmp_path], 1).subjects
    assert [(subject.name, subject.mask.as_posix(), subject.probabilities.name) for subject in found] == [
        (
            "sub-1_ses-a",
            "sub-1/ses-a/anat/sub-1_ses-a_desc-wmh_mask.nii.gz",
            "sub-1_ses-a_label-WMH_desc-wmh_probseg.nii.gz",
        ),
        (
            "sub-2_acq-3D",
            "sub-2/anat/sub-2_acq-3D_desc-wmh_mask.nii.gz",
            "sub-2_acq-3D_label-WMH_desc-wmh_probseg.nii.gz",
        ),
    ]
    with pytest.raises(InputError, match="the model needs 2 channels, but of BIDS data only FLAIR is read"):
        find_subjects([tmp_path], 2)


def named(found: Found) -> dict[str, tuple[str, bool]]:
    return {each.path.name: (each.reason, each.harmless) for each in found.passed_over}


def test_what_is_no_subject_of_a_folder_is_named_and_counts_unless_it_plainly_is_no_image(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.mgz", "c.hdr", "c.img", "d.nii.bz2", "e.nii.gz.part", "notes.txt", "run.json")
    touch(tmp_path, "more/f.nii.gz", "empty/notes.txt", "earlier/volumes.json", "earlier/a_wmh.nii.gz", ".hidden.nii")
    (tmp_path / "g.nii.gz").symlink_to("../annex/g.nii.gz")
    found = find_subjects([tmp_path], 1)
    assert [(subject.name, subject.problem.partition(": ")[2][:32]) for subject in found.subjects] == [
        ("a", ""),
        ("g", "a link to a file that is not the"),
    ]
    assert {name for name, (_, harmless) in named(found).items() if not harmless} == {
        "b.mgz", "c.hdr", "c.img", "d.nii.bz2", "e.nii.gz.part", "more",
    }  # fmt: skip
    assert {name for name, (_, harmless) in named(found).items() if harmless} == {
        "notes.txt", "run.json", "empty", "earlier",
    }  # fmt: skip
    assert not found.is_complete
    for name in ("b.mgz", "c.hdr", "c.img", "d.nii.bz2", "e.nii.gz.part", "more/f.nii.gz"):
        (tmp_path / name).unlink()
    assert find_subjects([tmp_path], 1).is_complete


def test_dicom_beside_images_is_named(tmp_path: Path, write_series: Write) -> None:
    touch(tmp_path, "a.nii.gz")
    write_series(tmp_path / "dicom", VALUES)
    write_series(tmp_path, VALUES[:1])[0].rename(tmp_path / "IM1")
    found = named(find_subjects([tmp_path], 1))
    assert found["dicom"] == ("a folder with images beside images: give it as an input of its own", False)
    assert found["IM1"] == ("a DICOM file beside images: give its folder as an input of its own", False)


def test_what_an_earlier_run_wrote_among_dicom_folders_is_passed_over_without_a_word(
    tmp_path: Path, write_series: Write
) -> None:
    write_series(tmp_path / "P1", VALUES)
    touch(tmp_path, "out/volumes.json", "out/P1_wmh.nii.gz", "out/report/slices/P1.jpg", "other/P2.nii.gz")
    found = find_subjects([tmp_path], 1)
    assert [subject.name for subject in found.subjects] == ["P1"]
    assert [each.path.name for each in found.passed_over] == ["P2.nii.gz"]


def test_series_that_are_not_used_are_named(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "flair", VALUES, uid="1.1.5", study="1.1")
    write_series(tmp_path / "t1", VALUES, "T1 mprage", uid="1.1.4", study="1.1")
    write_series(tmp_path / "phase", VALUES, uid="1.1.6", study="1.1", t0008_0008="ORIGINAL\\PRIMARY\\P")
    found = find_subjects([tmp_path], 1)
    assert [subject.name for subject in found.subjects] == ["flair"]
    assert sorted(named(found).values()) == [
        ("DICOM series 4 'T1 mprage' does not look like FLAIR by its header", True),
        ("DICOM series 6 'Ax T2 FLAIR' holds the phase of a complex image", True),
    ]


def test_numbers_of_series_stay_within_a_name(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "P1", VALUES, uid="1.2.3", t0020_0011="/../../X")
    write_series(tmp_path / "P1", VALUES + 1, uid="1.2.4", t0020_0011="..")
    write_series(tmp_path / "P1", VALUES + 2, uid="1.2.5", t0020_0011="..")
    found = find_subjects([tmp_path], 1).subjects
    assert sorted(subject.name for subject in found) == ["P1_X", "P1_unnumbered_1", "P1_unnumbered_2"]


def test_names_that_no_file_can_take_fail_alone(tmp_path: Path) -> None:
    other = os.fsdecode(b"m\xfcller.nii.gz")
    touch(tmp_path, "a.nii.gz", f"{'b' * 238}.nii.gz", other)
    found = find_subjects([tmp_path], 1).subjects
    assert {subject.name[:9]: subject.problem for subject in found} == {
        "a": "",
        "bbbbbbbbb": "a name of 238 bytes; expected at most 190: rename it",
        r"m\xfcller": rf"{tmp_path}/m\xfcller.nii.gz: its name is no UTF-8: rename it",
    }


def test_a_dicom_folder_of_a_name_that_is_no_utf8_fails_alone(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a", VALUES, uid="1.1.1")
    write_series(tmp_path / "b", VALUES + 1, uid="1.2.1")
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"m\xfcller"))
    found = find_subjects([tmp_path], 1).subjects
    assert [(subject.name, bool(subject.problem)) for subject in found] == [("a", False), (r"m\xfcller", True)]
    assert "its name is no UTF-8" in found[1].problem


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4, unique=True), st.sampled_from(ENDINGS))
def test_files_of_any_name_are_subjects_or_are_named(names: list[bytes], ending: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written = set()
        for name in names:
            path = os.fsencode(place) + b"/" + name.replace(b"/", b"_").replace(b"\0", b"_") + ending
            Path(os.fsdecode(path)).write_bytes(b"x")
            written.add(Path(os.fsdecode(path)))
        shown = {path for path in written if not path.name.startswith(".")}
        try:
            found = find_subjects([folder], 1)
        except InputError as error:
            str(error).encode()
            return
        for subject in found.subjects:
            f"{subject.name}{subject.problem}".encode()
            assert below(folder, subject.mask).parent == folder
        for each in found.passed_over:
            printable(each.path).encode()
        assert len(found.subjects) + len(found.passed_over) == len(shown)
