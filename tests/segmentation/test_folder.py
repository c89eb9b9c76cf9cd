"""The record of a run grows with every subject, and a folder for months."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.folder import RunFolder
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.record import Decision, Input, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation, write_segmentation


def header(
    folder: str = "/models/a",
    orientation: str | None = "LPS",
    sha256: str = "0",
    versions: Mapping[str, str] | None = None,
    segmentation_version: int = 1,
    **options: object,
) -> Segmentation:
    model = Model(
        folder=folder,
        dataset="D",
        trainer="T",
        plans="P",
        configuration="c",
        folds=[0],
        checkpoint="final",
        sha256={"plans.json": sha256},
        orientation=orientation,
    )
    return Segmentation(
        nnunetv2_sa_unet="1",
        versions={"torch": "2"} if versions is None else dict(versions),
        model=model,
        options=Options(**options),
        segmentation_version=segmentation_version,
        subjects=[],
    )


def done(folder: Path, name: str, probabilities: bool = False, **decision: float) -> Subject:
    files = {"mask": f"{name}_wmh.nii.gz"} | ({"probabilities": f"{name}_wmh_prob.nii.gz"} if probabilities else {})
    for file in files.values():
        (folder / file).write_bytes(b"image")
    return Subject(
        subject=name,
        status="ok",
        message="",
        inputs=[],
        volume_ml=1.5,
        lesions=3,
        decision=Decision(**decision),
        **files,
    )


def failed(name: str) -> Subject:
    return Subject(subject=name, status="failed", message="too short", inputs=[])


class Place:
    """A folder and what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []

    def run(
        self,
        *names: str,
        record: Segmentation | None = None,
        exclude: Mapping[str, Path] | None = None,
        force: bool = False,
    ) -> RunFolder:
        subjects = [FoundSubject(name, ()) for name in names]
        return RunFolder(self.folder, record or header(), subjects, exclude or {}, force, self.said.append)

    def recorded(self) -> list[str]:
        return [subject.subject for subject in read_segmentation(self.folder).subjects]

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


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
    assert place.files() == {"b_wmh.nii.gz", "c_wmh.nii.gz", "methods.md", "volumes.json", "volumes.csv"}


def test_a_row_that_was_told_elsewhere_is_recorded_and_not_counted(place: Place) -> None:
    run = place.run("a", "b")
    run.add(failed("a"), True, aloud=False)
    run.add(done(place.folder, "b"), True)
    assert place.said == ["[1/1] b: 1.50 ml in 3 lesions"]
    assert place.recorded() == ["a", "b"]


def test_what_is_written_for_a_subject_does_not_grow_with_their_number(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised: list[int] = []
    # Five thousand times the time of a disk.
    monkeypatch.setattr("os.fsync", synchronised.append)
    names = [f"s{number:04}" for number in range(5000)]
    run = place.run(*names)
    row = done(place.folder, "s0000")
    before = written()
    for name in names:
        run.add(row.model_copy(update={"subject": name}), True)
    run.finish()
    # A line of the journal, an item of the record and a row of the table.
    assert written() - before < 5000 * 4000
    # The journal's beginning and its lines; the record, the table and the methods are made when it ends.
    assert len(synchronised) == 1 + 5000 + 3
    assert len(place.recorded()) == 5000


def written() -> int:
    """Bytes that this process has given to the system to write."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        pytest.skip("this system does not count what a process writes")
    return int(dict(line.split(": ") for line in lines)["wchar"])


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


def test_a_killed_run_and_the_next_leave_the_record_of_an_undisturbed_one(tmp_path: Path) -> None:
    for name, kills in (("undisturbed", 0), ("killed", 2)):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        for kill in range(kills):
            run = place.run("a", "b", "c", record=header(folder=f"/models/{kill}"))
            run.add(done(place.folder, "abc"[kill]), True)
            with (place.folder / "volumes.jsonl").open("ab") as stream:
                stream.write(b'{"sub')
        run = place.run("a", "b", "c")
        for subject in "abc":
            run.add(done(place.folder, subject), subject not in run.earlier)
        run.finish()
    for file in ("volumes.json", "volumes.csv"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "undisturbed" / file).read_bytes()
    assert not (tmp_path / "killed" / "volumes.jsonl").exists()


@pytest.fixture
def segmented(place: Place) -> Place:
    """A folder with the mask of one subject."""
    run = place.run("a")
    run.add(done(place.folder, "a"), True)
    run.finish()
    return place


def test_another_place_version_or_device_of_the_same_model_changes_no_mask(segmented: Place) -> None:
    other = header("/models/moved", versions={"torch": "3", "numpy": "2.1.1"}, device="cuda")
    segmented.run("a", record=other).finish()
    assert read_segmentation(segmented.folder).model.folder == "/models/moved"
    (row,) = read_segmentation(segmented.folder).subjects
    assert row.decision == Decision()


@pytest.mark.parametrize(
    ("other", "refusal"),
    [
        (header(sha256="1"), "model.sha256.plans.json: there 0, now 1"),
        (header(orientation="RAS"), "model.orientation: there LPS, now RAS"),
        (header(segmentation_version=2), "segmentation_version: there 1, now 2"),
        (header(step_size=0.7), "options.step_size: there 0.5, now 0.7"),
        (header(mirroring=False), "options.mirroring: there True, now False"),
        (header(probabilities=True), "options.probabilities: there False, now True"),
        (header(threshold=0.3), "options.threshold: there None, now 0.3"),
        (header(min_volume_mm3=5.0), "options.min_volume_mm3: there None, now 5.0"),
    ],
)
def test_what_changes_masks_is_refused(segmented: Place, other: Segmentation, refusal: str) -> None:
    with pytest.raises(InputError, match=f"(?s)or start over with --force.*:\n  {refusal}$"):
        segmented.run("a", record=other)
    assert segmented.recorded() == ["a"]


def test_another_exclusion_is_refused_if_its_voxels_may_differ(place: Place) -> None:
    mask = place.folder / "stroke.nii"
    mask.write_bytes(b"stroke")
    excluded = Input(path="/elsewhere", sha256=hashlib.sha256(b"stroke").hexdigest())
    run = place.run("a", record=header(exclude="/elsewhere"))
    run.add(done(place.folder, "a").model_copy(update={"exclude": excluded}), True)
    run.finish()
    mask.write_bytes(b"larger stroke")
    with pytest.raises(InputError, match=r"options\.exclude: there /elsewhere, now .*/stroke\.nii$"):
        place.run("a", record=header(exclude=str(mask)), exclude={"a": mask})
    mask.write_bytes(b"stroke")
    place.run("a", record=header(exclude=str(mask)), exclude={"a": mask})


def test_maps_allow_another_decision_for_all_subjects_of_a_folder(place: Place) -> None:
    run = place.run("a", "b", record=header(probabilities=True))
    for name in "ab":
        run.add(done(place.folder, name, probabilities=True), True)
    run.finish()
    other = header(threshold=0.3)
    with pytest.raises(InputError, match=r"(?s)threshold: there None, now 0\.3\n  .*not among the inputs: b$"):
        place.run("a", record=other)
    run = place.run("a", "b", record=other)
    # What is there goes on to be written.
    assert run.header.options == Options(threshold=0.3, probabilities=True)
    # Killed after one of them, and given again, or with yet another threshold.
    run.add(done(place.folder, "a", probabilities=True, threshold=0.3), True)
    for threshold in (0.3, 0.2):
        run = place.run("a", "b", record=header(threshold=threshold))
        assert [run.earlier[name].decision for name in "ab"] == [Decision(threshold=0.3), Decision()]
    (place.folder / "b_wmh_prob.nii.gz").unlink()
    with pytest.raises(InputError, match=r"threshold: there None, now 0\.3"):
        place.run("a", "b", record=other)


def test_a_record_of_a_version_that_turned_no_image_goes_on(place: Place) -> None:
    old = header(orientation=None).model_copy(update={"subjects": [done(place.folder, "a")]})
    write_segmentation(place.folder, old)
    run = place.run("a")
    assert run.earlier["a"].orientation is None


def test_force_removes_what_the_record_names_and_nothing_else(place: Place) -> None:
    run = place.run("a")
    run.add(done(place.folder, "a"), True)
    run.finish()
    (place.folder / "notes.txt").touch()
    run = place.run("b", record=header(threshold=0.3), force=True)
    assert run.earlier == {}
    assert place.files() == {"notes.txt", "methods.md", "volumes.csv", "volumes.jsonl"}


@pytest.fixture(params=["../victim.txt", "absolute", "linked/victim.txt"])
def reaching_out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A folder whose record names a file outside of it, which must survive."""
    victim = tmp_path / "victim.txt"
    victim.touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "linked").symlink_to(tmp_path)
    name = str(victim) if request.param == "absolute" else request.param
    row = Subject(subject="a", status="ok", message="", inputs=[], mask="a_wmh.nii.gz", probabilities=name)
    (tmp_path / "out" / "a_wmh.nii.gz").touch()
    write_segmentation(tmp_path / "out", header(probabilities=True).model_copy(update={"subjects": [row]}))
    yield Place(tmp_path / "out")
    assert victim.exists()
    assert (tmp_path / "out" / "a_wmh.nii.gz").exists()


@pytest.mark.parametrize("force", [True, False])
def test_nothing_outside_of_the_folder_is_removed(reaching_out: Place, force: bool) -> None:
    with pytest.raises(InputError, match=r"victim\.txt: leads out of "):
        reaching_out.run("a", record=header(probabilities=True), force=force)


def test_files_that_a_new_row_does_not_name_are_removed(place: Place) -> None:
    run = place.run("a", record=header(probabilities=True))
    run.add(done(place.folder, "a", probabilities=True), True)
    run.finish()
    run = place.run("a", record=header(probabilities=True))
    run.add(failed("a"), True)
    assert place.files() == {"methods.md", "volumes.json", "volumes.csv", "volumes.jsonl"}


def test_leftovers_of_a_kill_are_removed(place: Place) -> None:
    (place.folder / ".a_wmh.nii.gz.abcd_123.nii.gz").touch()
    place.run("a")
    assert place.files() == {"volumes.jsonl"}
