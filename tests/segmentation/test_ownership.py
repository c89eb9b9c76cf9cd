"""What no run of segment wrote is not overwritten, and what one wrote is no input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.report import refuse_page_of_others, write_report
from nnunetv2_sa_unet.segmentation.folder import RunFolder
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Segmentation, Subject

HEADER = Segmentation(
    nnunetv2_sa_unet="0",
    versions={},
    model=Model(
        folder="/model",
        dataset="Dataset001",
        trainer="T",
        plans="P",
        configuration="3d_fullres",
        folds=[0],
        checkpoint="c",
        sha256={},
        orientation="LPS",
    ),
    options=Options(),
    subjects=[],
)


def run(
    folder: Path, *subjects: FoundSubject, maps: bool = False, objects: bool = False, force: bool = False
) -> RunFolder:
    header = HEADER.model_copy(update={"options": Options(probabilities=maps, dicom_seg=objects)})
    return RunFolder(folder, header, subjects, {}, force, lambda _: None)


def row(folder: Path, name: str) -> Subject:
    (folder / f"{name}_wmh.nii.gz").touch()
    return Subject(
        subject=name, status="ok", message="", inputs=[], mask=f"{name}_wmh.nii.gz", decision=Options().decision
    )


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "maps", "volume"),
    [
        ("a_wmh.nii.gz", False, None),
        ("a_wmh_prob.nii.gz", True, None),
        ("alternatives/a.npz", True, None),
        ("volumes.csv", False, None),
        ("anat/sub-1_desc-wmh_mask.nii.gz", False, "anat/sub-1_FLAIR.nii.gz"),
        ("anat/sub-1_desc-wmh_mask.json", False, "anat/sub-1_FLAIR.nii.gz"),
    ],
)
def test_a_file_of_somebody_else_stays(tmp_path: Path, name: str, maps: bool, volume: str | None, force: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("drawn by hand")
    subject = FoundSubject("a", (), volume=Path(volume) if volume else None)
    with pytest.raises(InputError, match=f"no run of segment wrote.*: {name}; move them"):
        run(tmp_path, subject, maps=maps, force=force)
    assert (tmp_path / name).read_text() == "drawn by hand"
    # What is not going to be written is nobody's trouble.
    if maps:
        run(tmp_path, subject)


def test_what_a_killed_run_may_have_written_is_its_own(tmp_path: Path) -> None:
    run(tmp_path, FoundSubject("a", ()))
    # The mask had its name, and the kill came before the row.
    (tmp_path / "a_wmh.nii.gz").touch()
    run(tmp_path, FoundSubject("b", ()))
    run(tmp_path, FoundSubject("a", ()))


def test_a_map_of_somebody_else_stays_where_a_folder_gets_more_maps(tmp_path: Path) -> None:
    first = run(tmp_path, FoundSubject("a", ()), maps=True)
    first.add(row(tmp_path, "a"), True)
    first.finish()
    (tmp_path / "b_wmh_prob.nii.gz").write_text("made elsewhere")
    with pytest.raises(InputError, match=r"no run of segment wrote.*: b_wmh_prob\.nii\.gz; move them"):
        run(tmp_path, FoundSubject("b", ()))


def test_a_dicom_object_of_somebody_else_stays_where_one_would_be_written(tmp_path: Path) -> None:
    series = FoundSubject("a", (Input(path="/series", sha256=None, series_uid="1.2", files=["1.dcm"]),))
    (tmp_path / "a_wmh.dcm").write_text("drawn by hand")
    with pytest.raises(InputError, match=r"no run of segment wrote.*: a_wmh\.dcm; move them"):
        run(tmp_path, series, objects=True)
    run(tmp_path, FoundSubject("a", ()), objects=True)
    run(tmp_path, series)


def test_a_json_file_beside_a_mask_goes_with_it_in_bids_alone(tmp_path: Path) -> None:
    names = ["a_wmh", "sub-1_desc-wmh_mask"]
    first = run(tmp_path, *(FoundSubject(name, ()) for name in names))
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / f"{name}.json").touch()
        first.add(row(tmp_path, "a").model_copy(update={"subject": name, "mask": f"{name}.nii.gz"}), True)
    first.finish()
    run(tmp_path, FoundSubject("b", ()), force=True)
    assert {path.name for path in tmp_path.glob("*[.]json")} == {"a_wmh.json"}


def test_a_mask_that_segment_wrote_is_no_input(tmp_path: Path) -> None:
    first = run(tmp_path, FoundSubject("a", ()))
    first.add(row(tmp_path, "a"), True)
    first.finish()
    (tmp_path.parent / "link").symlink_to(tmp_path)
    mask = Input(path=str(tmp_path.parent / "link" / "a_wmh.nii.gz"), sha256=None)
    with pytest.raises(InputError, match="among the inputs are files that segment wrote there"):
        run(tmp_path, FoundSubject("a_wmh", (mask,)))


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_that_goes_during_a_run_ends_it(tmp_path: Path, made_anew: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    at_work = run(folder, FoundSubject("a", ()), FoundSubject("b", ()))
    at_work.add(row(folder, "a"), True)
    folder.rename(tmp_path / "moved")
    if made_anew:
        folder.mkdir()
    with pytest.raises(InputError, match="was removed or replaced while the run was at work"):
        at_work.finish()
    shutil.rmtree(tmp_path / "moved")


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    first = run(tmp_path, FoundSubject("a", ()))
    first.finish()
    (tmp_path / "report.html").write_text("my page")
    for write in (refuse_page_of_others, write_report):
        with pytest.raises(InputError, match=r"report\.html: was not written by this package"):
            write(tmp_path)
    assert (tmp_path / "report.html").read_text() == "my page"
    (tmp_path / "report.html").unlink()
    write_report(tmp_path)
    write_report(tmp_path)
