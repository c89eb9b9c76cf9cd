"""The record of a run grows with every subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segment.folder import RunFolder
from nnunetv2_sa_unet.segment.inputs import FoundSubject
from nnunetv2_sa_unet.segment.record import Model, Options, Segmentation, Subject, read_segmentation


def header(folder: str = "/models/a", **options: float) -> Segmentation:
    model = Model(
        folder=folder,
        dataset="D",
        trainer="T",
        plans="P",
        configuration="c",
        folds=[0],
        checkpoint="final",
        sha256={"plans.json": "0"},
    )
    return Segmentation(
        nnunetv2_sa_unet="1", versions={"torch": "2"}, model=model, options=Options(**options), subjects=[]
    )


def done(folder: Path, name: str) -> Subject:
    (folder / f"{name}_wmh.nii.gz").write_bytes(b"mask")
    return Subject(
        subject=name, status="ok", message="", inputs=[], mask=f"{name}_wmh.nii.gz", volume_ml=1.5, lesions=3
    )


def failed(name: str) -> Subject:
    return Subject(subject=name, status="failed", message="too short", inputs=[])


class Place:
    """A folder and what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []

    def run(self, *names: str, record: Segmentation | None = None, force: bool = False) -> RunFolder:
        subjects = [FoundSubject(name, ()) for name in names]
        return RunFolder(self.folder, record or header(), subjects, force, self.said.append)

    def recorded(self) -> list[str]:
        return [subject.subject for subject in read_segmentation(self.folder).subjects]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_row_is_on_the_disk_as_soon_as_its_subject_is_done(place: Place) -> None:
    run = place.run("b", "a", "c")
    run.add(done(place.folder, "b"), True)
    assert place.recorded() == ["b"]
    run.add(failed("a"), True)
    assert place.recorded() == ["a", "b"]
    run.add(done(place.folder, "c"), False)
    assert [subject.subject for subject in run.finish().subjects] == place.recorded() == ["a", "b", "c"]
    assert [line.split(" (")[0] for line in place.said] == [
        "[1/3] b: 1.50 ml in 3 lesions",
        "[2/3] a: FAILED: too short",
        "[3/3] c: 1.50 ml in 3 lesions",
    ]
    assert "left)" in place.said[0]
    assert place.said[2].endswith("(done before)")


def test_what_failed_says_nothing_of_the_time_that_is_left(place: Place) -> None:
    run = place.run("a", "b", "c")
    run.add(failed("a"), True)
    assert place.said == ["[1/3] a: FAILED: too short"]
    run.add(done(place.folder, "b"), True)
    assert place.said[1].endswith(" left)")


def test_a_folder_grows_and_forgets_what_failed(place: Place) -> None:
    run = place.run("a", "b")
    run.add(done(place.folder, "a"), True)
    run.add(failed("b"), True)
    run.finish()
    run = place.run("c")
    run.add(done(place.folder, "c"), True)
    # What is told of a run is about its own subjects.
    assert [subject.subject for subject in run.finish().subjects] == ["c"]
    assert place.recorded() == ["a", "c"]


def test_another_place_of_the_same_model_is_no_other_model(place: Place) -> None:
    place.run("a").finish()
    place.run("a", record=header("/models/moved")).finish()
    assert read_segmentation(place.folder).model.folder == "/models/moved"
    with pytest.raises(InputError, match=r"(?s)start over with --force:\n  options.threshold: there None, now 0.3$"):
        place.run("a", record=header(threshold=0.3))


def test_force_removes_what_the_record_names_and_nothing_else(place: Place) -> None:
    run = place.run("a")
    run.add(done(place.folder, "a"), True)
    run.finish()
    (place.folder / "notes.txt").touch()
    run = place.run("b", record=header(threshold=0.3), force=True)
    assert run.earlier == {}
    assert {path.name for path in place.folder.iterdir()} == {"notes.txt", "volumes.csv"}


def test_leftovers_of_a_kill_are_removed(place: Place) -> None:
    (place.folder / ".a_wmh.nii.gz.abcd_123.nii.gz").touch()
    place.run("a")
    assert list(place.folder.iterdir()) == []
