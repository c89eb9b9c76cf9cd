"""Whole runs over small heads whose lesions are known; a threshold of brightness stands in for the network."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.longitudinal import run
from nnunetv2_sa_unet.longitudinal.noise import LESION_MM3, LESION_SHARE
from nnunetv2_sa_unet.longitudinal.pairs import VisitPair
from nnunetv2_sa_unet.longitudinal.record import Changes, Pair
from nnunetv2_sa_unet.longitudinal.rigid import Matrix, distance_mm
from nnunetv2_sa_unet.scores.lesion_sizes import without_small
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.preparation import Job
from nnunetv2_sa_unet.segmentation.record import SEGMENTATION_VERSION, Model, Options, Segmentation, Subject

Scan = Callable[..., SimpleITK.Image]
Pose = Callable[..., Matrix]
MODEL = Model(
    folder="/m", dataset="D", trainer="T", plans="P", configuration="3d", folds=[0], checkpoint="c", sha256={"a": "b"}
)  # fmt: skip
#: Middle (mm, LPS) and radius (mm) at either visit.
LESIONS = {
    "stable": ((20, -20, 10), 6.0, 6.0),
    "enlarged": ((-22, -18, 12), 4.0, 8.0),
    "new": ((22, 22, -8), 0.0, 5.0),
    "shrunk": ((-20, 24, -6), 8.0, 4.5),
    "gone": ((-2, -36, -14), 5.0, 0.0),
}
POSE = ((4.0, -5.0, 7.0), (6.0, -4.0, 5.0))
SAID: list[str] = []


def segmented(job: Job, subjects: Sequence[FoundSubject], done: Callable[[Subject, bool], None]) -> None:
    """In the place of ``segment_all``: what is bright, and no speck, is WMH."""
    for found in subjects:
        path = Path(found.inputs[0].path)
        inputs = [found.inputs[0].model_copy(update={"sha256": sha256([path])})]
        earlier = job.earlier.get(found.name)
        if earlier is not None and earlier.mask is not None and earlier.inputs[0].sha256 == inputs[0].sha256:
            done(earlier, False)
            continue
        image = SimpleITK.ReadImage(str(path))
        bright = SimpleITK.GetArrayFromImage(image) > 160
        mask = without_small(bright, float(np.prod(image.GetSpacing())), 100).astype(np.uint8)
        SimpleITK.WriteImage(image_like(mask, image), str(job.folder / found.mask))
        name = found.mask.as_posix()
        row = {"subject": found.name, "status": "ok", "message": "", "volume_ml": 0.0, "lesions": 0, "largest_ml": 0.0}
        hashed = {"mask": name, "mask_sha256": sha256([job.folder / name]), "decision": job.options.decision}
        done(Subject(**row, **hashed, inputs=inputs), True)


@pytest.fixture(autouse=True)
def _bright_is_wmh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "segment_all", segmented)
    SAID.clear()


def compare(
    folder: Path, pairs: Sequence[VisitPair], force: bool = False, page: bool = False, **options: Any
) -> list[Pair]:
    folder.mkdir(exist_ok=True)
    header = Segmentation(
        nnunetv2_sa_unet="1",
        versions={"torch": "2"},
        model=MODEL,
        options=Options(**options),
        segmentation_version=SEGMENTATION_VERSION,
        subjects=[],
    )
    network: Any = object()
    return run.compare_visits(folder, pairs, network, header, force, page, SAID.append)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, scan_head: Scan, pose_of: Pose) -> Path:
    """Two visits of a head, a third scan without change, another head, and a file that was cut short."""
    folder = tmp_path_factory.mktemp("images")
    visits = [[(middle, radii[visit]) for middle, *radii in LESIONS.values()] for visit in (0, 1)]
    made = {
        "first": scan_head(visits[0]),
        "second": scan_head(visits[1], pose_of(*POSE), seed=1),
        "again": scan_head(visits[0], pose_of((-3, 4, -5), (-5, 3, -4)), seed=2),
        "other": scan_head(visits[1], stretch=(1.25, 0.8, 1.15), seed=3) * 1,
    }
    turned = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(made["other"])[::-1, ::-1])
    turned.CopyInformation(made["other"])
    made["other"] = turned
    for name, image in made.items():
        SimpleITK.WriteImage(image, str(folder / f"{name}.nii"))
    (folder / "cut.nii").write_bytes((folder / "first.nii").read_bytes()[:-5000])
    return folder


def pair_of(images: Path, name: str, first: str, second: str) -> VisitPair:
    return VisitPair(name, name, ("first", "second"), (images / f"{first}.nii", images / f"{second}.nii"))


@pytest.fixture(scope="module")
def compared(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a pair, the same pair the other way round, and a head that did not change."""
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "segment_all", segmented)
        pairs = [("a", "first", "second"), ("mirrored", "second", "first"), ("unchanged", "first", "again")]
        rows = compare(folder, [pair_of(images, *names) for names in pairs], page=True)
    assert [row.status for row in rows] == ["ok"] * 3, [row.message for row in rows]
    return folder


def kinds_by_lesion(folder: Path, pair: str) -> dict[str, dict[str, str]]:
    return {row["kind"]: row for row in table(folder / "changes" / f"{pair}_lesions.csv")}


def test_lesions_are_found_to_be_what_they_became(compared: Path) -> None:
    found = kinds_by_lesion(compared, "a")
    assert set(found) == set(LESIONS)
    for kind, (_, *radii) in LESIONS.items():
        for column, radius in zip(("first_mm3", "second_mm3"), radii, strict=True):
            assert float(found[kind][column]) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.25, abs=40)
    (row,) = [row for row in table(compared / "changes.csv") if row["pair"] == "a"]
    assert [row[f"lesions_{kind}"] for kind in LESIONS] == ["1"] * 5
    assert row["lesions_uncertain"] == "0"
    for visit, column in ((1, "first_ml"), (2, "second_ml")):
        truth = sum(4 / 3 * np.pi * lesion[visit] ** 3 for lesion in LESIONS.values()) / 1000
        assert float(row[column]) == pytest.approx(truth, rel=0.1)


def test_the_motion_is_found(compared: Path, pose_of: Pose) -> None:
    record = Changes.model_validate_json((compared / "changes.json").read_bytes())
    motion = record.pairs[0].motion
    assert motion is not None
    assert distance_mm(np.array(motion.matrix), pose_of(*POSE), (0, 0, 0)) < 1.2
    assert motion.disagreement_mm < 2
    assert motion.correlation > 0.9


def test_swapped_visits_give_the_mirrored_result(compared: Path) -> None:
    found, mirrored = kinds_by_lesion(compared, "a"), kinds_by_lesion(compared, "mirrored")
    for kind, other in (("new", "gone"), ("enlarged", "shrunk"), ("stable", "stable")):
        for one, two in ((found[kind], mirrored[other]), (mirrored[kind], found[other])):
            assert float(one["first_mm3"]) == pytest.approx(float(two["second_mm3"]), abs=12)
            assert float(one["second_mm3"]) == pytest.approx(float(two["first_mm3"]), abs=12)
    paths = [compared / "images" / f"{name}_first.nii.gz" for name in ("a", "mirrored")]
    assert len({SimpleITK.ReadImage(str(path)).GetSize() for path in paths}) == 1


def test_a_head_that_did_not_change_is_stable(compared: Path) -> None:
    (row,) = [row for row in table(compared / "changes.csv") if row["pair"] == "unchanged"]
    changed = [row[f"lesions_{kind}"] for kind in ("new", "enlarged", "shrunk", "gone", "uncertain")]
    assert (row["lesions_stable"], changed, row["below_noise"]) == ("4", ["0"] * 5, "yes")


def test_the_record_says_how_it_was_made_and_names_no_folder_above(compared: Path, images: Path) -> None:
    text = (compared / "changes.json").read_text()
    assert str(images.parent) not in text
    record = json.loads(text)
    assert record["model"]["sha256"] == {"a": "b"}
    visit = record["pairs"][0]["visits"][1]
    assert (compared / visit["path"]).resolve() == (images / "second.nii").resolve()
    assert visit["sha256"] == sha256([images / "second.nii"])
    for name, expected in ((visit["image"], visit["image_sha256"]), (visit["mask"], visit["mask_sha256"])):
        assert sha256([compared / name]) == expected


def test_the_methods_say_how_visits_were_compared(compared: Path) -> None:
    text = (compared / "methods.md").read_text(encoding="utf-8")
    assert text.startswith("<!-- Written by nnUNetv2_sa_unet longitudinal from changes.json. CC0 1.0: take the text")
    assert "(WMH) were segmented in six FLAIR images with" in text
    assert "Change was measured in three pairs of visits of three subjects." in text
    assert "known from a table of pairs" in text
    assert f"more than {LESION_MM3:g} mm³ and by more than {100 * LESION_SHARE:.0f} % of the larger" in text
    numbers = re.findall(r"\[(\d)\]", text.partition("## References")[0])
    assert sorted(set(numbers)) == [line[0] for line in text.splitlines() if re.match(r"\d\. ", line)]
    assert not (compared / "masks" / "methods.md").exists()


def test_the_page_shows_both_visits(compared: Path) -> None:
    page = (compared / "changes.html").read_text()
    for name in ("a", "mirrored", "unchanged"):
        assert f'id="pair-{name}"' in page
        for role in ("first", "second"):
            assert f"pictures/{name}_{role}.jpg" in page
            assert (compared / "pictures" / f"{name}_{role}.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert 'class="new"' in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_dicom_series_is_a_visit(
    images: Path, tmp_path: Path, scan_head: Scan, pose_of: Pose, write_series: Callable[..., list[Path]]
) -> None:
    lesions = [(middle, radii[0]) for middle, *radii in LESIONS.values()]
    head = scan_head(lesions, pose_of(*POSE), seed=1)
    write_series(tmp_path / "scan", SimpleITK.GetArrayFromImage(head), spacing=head.GetSpacing())
    for description, uid in (("Ax T2 FLAIR", "1.2.3"), ("Cor T2 FLAIR", "1.2.4")):
        values = SimpleITK.GetArrayFromImage(head)[:4]
        write_series(tmp_path / "two" / uid, values, description, uid, spacing=head.GetSpacing())
    pairs = [
        VisitPair(name, name, ("first", "second"), (images / "first.nii", tmp_path / name)) for name in ("scan", "two")
    ]
    row, failed = compare(tmp_path / "out", pairs)
    assert (row.status, row.message) == ("ok", "")
    assert row.figures is not None
    assert row.figures.below_noise
    (first, second) = row.visits
    # By their headers the two images have no place in common.
    assert row.motion is not None
    assert row.motion.shift_mm > 50
    assert (first.series_uid, first.files) == (None, None)
    assert (second.path, second.series_uid) == ("../scan", "1.2.826.0.1.1")
    assert second.files is not None
    assert second.sha256 == sha256([tmp_path / "scan" / name for name in second.files])
    assert failed.message == "two: found 2 images (1.2.3, 1.2.4 …), expected one: give them one by one"
    SAID.clear()
    compare(tmp_path / "out", pairs[:1])
    assert sum("(done before)" in line for line in SAID) == 3


@pytest.mark.parametrize(("slices", "is_warned"), [(22, False), (14, True)])
def test_much_brain_that_one_visit_leaves_out_is_a_warning(
    images: Path, tmp_path: Path, scan_head: Scan, pose_of: Pose, slices: int, is_warned: bool
) -> None:
    lesions = [(middle, radii[0]) for middle, *radii in LESIONS.values()]
    SimpleITK.WriteImage(scan_head(lesions, pose_of(*POSE), size=(60, 68, slices), seed=1), str(tmp_path / "less.nii"))
    pair = VisitPair("a", "a", ("first", "second"), (images / "first.nii", tmp_path / "less.nii"))
    (row,) = compare(tmp_path / "out", [pair])
    assert row.motion is not None
    assert ("of the brain in the first image are not in the other" in row.message) == is_warned
    assert row.status == ("warning" if is_warned else "ok")
    assert row.motion.unseen[0] > 0.02 > row.motion.unseen[1]


def test_a_run_that_was_stopped_goes_on(images: Path, compared: Path, tmp_path: Path, monkeypatch: Any) -> None:
    pairs = [pair_of(images, "a", "first", "second"), pair_of(images, "unchanged", "first", "again")]

    def stopped(job: Job, subjects: Sequence[FoundSubject], done: Callable[[Subject, bool], None]) -> None:
        segmented(job, subjects[:1], done)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "segment_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "out", pairs)
    assert not (tmp_path / "out" / "changes.csv").exists()
    monkeypatch.setattr(run, "segment_all", segmented)
    monkeypatch.setattr("nnunetv2_sa_unet.longitudinal.registering.register", None)
    SAID.clear()
    assert [row.status for row in compare(tmp_path / "out", pairs)] == ["ok", "ok"]
    assert sum("(done before)" in line for line in SAID) == 3
    undisturbed = tree(compared)
    for name, content in tree(tmp_path / "out").items():
        if name.startswith(("changes/", "images/")):
            assert content == undisturbed[name], name
    assert not [name for name in tree(tmp_path / "out") if name.endswith(".jsonl")]


def test_broken_visits_fail_alone_and_leave_nothing(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    same = tmp_path / "same.nii"
    same.write_bytes((images / "first.nii").read_bytes())
    rows = compare(
        out,
        [
            pair_of(images, "another_head", "first", "other"),
            pair_of(images, "cut", "cut", "second"),
            pair_of(images, "gone", "first", "nowhere"),
            VisitPair("twice", "twice", ("first", "second"), (images / "first.nii", same)),
        ],
    )
    assert [(row.pair, row.status) for row in rows] == [
        (name, "failed") for name in ("another_head", "cut", "gone", "twice")
    ]
    # Each is said once, and not again for the masks that it has not got.
    assert len([line for line in SAID if "FAILED" in line]) == 4
    messages = {row.pair: row.message for row in rows}
    assert "do not fit each other" in messages["another_head"]
    assert messages["cut"].startswith("cut.nii: ")
    assert messages["gone"] == "nowhere.nii: there is no such file or folder"
    assert messages["twice"] == "same.nii: is the same file as first.nii; expected another visit"
    for row in table(out / "changes.csv"):
        assert (row["status"], row["first_ml"], row["lesions_new"], row["below_noise"]) == ("failed", "", "", "")
    assert not list(out.rglob("*.nii.gz"))


def test_a_pair_that_fails_later_keeps_no_figures(images: Path, compared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    moved = tmp_path / "second.nii"
    moved.write_bytes((images / "second.nii").read_bytes())
    pair = VisitPair("a", "a", ("first", "second"), (images / "first.nii", moved))
    assert compare(out, [pair], page=True)[0].status == "ok"
    moved.write_bytes(b"broken")
    assert compare(out, [pair])[0].status == "failed"
    assert not [name for name in tree(out) if name.startswith(("changes/", "images/", "pictures/", "changes.html"))]


def test_files_of_others_stay_and_force_starts_over(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pairs = [pair_of(images, "gone", "first", "nowhere")]
    out.mkdir()
    (out / "changes.csv").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match=r"files are there that no run of longitudinal wrote.*changes\.csv"):
            compare(out, pairs, force=force)
    assert tree(out) == {"changes.csv": b"mine"}
    (out / "changes.csv").unlink()
    compare(out, pairs)
    compare(out, [pair_of(images, "gone2", "first", "nowhere")], force=True)
    assert [row["pair"] for row in table(out / "changes.csv")] == ["gone2"]


def test_other_options_are_refused_before_anything_is_registered(
    images: Path, compared: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    pairs = [pair_of(images, "a", "first", "second")]
    before = tree(compared)
    monkeypatch.setattr(run, "register_pair", None)
    with pytest.raises(InputError, match=r"(?s)masks of another model or other options are there.*min_volume_mm3"):
        compare(compared, pairs, min_volume_mm3=5.0)
    assert tree(compared) == before


def test_a_damaged_record_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "changes.json").write_text('{"pairs": 3}')
    with pytest.raises(InputError, match=r"changes\.json: .*expected the record that nnUNetv2_sa_unet longitudinal"):
        compare(tmp_path, [pair_of(images, "a", "first", "second")])
