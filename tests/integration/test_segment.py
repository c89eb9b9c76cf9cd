"""``segment`` with a trained model: nnU-Net's own masks, and every subject for itself."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.nnunet.orientation import ORIENTATION_KEY
from nnunetv2_sa_unet.regions.assignment import LABELS, REGIONS, SIDES, region_map
from nnunetv2_sa_unet.report.page import SCRIPTS_AND_STYLES
from nnunetv2_sa_unet.segmentation.record_files import read_input, read_segmentation
from nnunetv2_sa_unet.segmentation.region_columns import region_columns

PLANS = "nnUNetSAUNetPaperSmallPlans"
SHAPE = (12, 40, 36)
#: Coarse voxels, so that the small arrays are as large as a head.
SPACING = (4.0, 4.0, 8.0)
FAST = ("-device", "cpu", "--disable_tta")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture
def model(in_nnunet, prepare_trainer, copied):
    """Fold 4, which other tests train too if they come first, as if it were trained on coarse voxels."""
    trained = in_nnunet.results / f"nnUNetTrainerSAUNet__{PLANS}__3d_fullres"
    folder = copied / trained.name
    if not folder.exists():
        if not (trained / "fold_4" / "checkpoint_final.pth").exists():
            prepare_trainer("nnUNetTrainerSAUNet", 4, PLANS).run_training()
        shutil.copytree(trained / "fold_4", folder / "fold_4")
        shutil.copy(trained / "dataset.json", folder)
        plans = json.loads((trained / "plans.json").read_text())
        plans["configurations"]["3d_fullres"]["spacing"] = SPACING[::-1]
        (folder / "plans.json").write_text(json.dumps(plans))
    return folder


def image(seed):
    """A noisy head with bright lesions, tilted in the scanner."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    values = 20 + random.gamma(2, 4, SHAPE)
    values[(((grid - np.array(SHAPE) / 2) / (np.array(SHAPE) * 0.45)) ** 2).sum(-1) < 1] += 100
    for _ in range(6):
        centre = random.uniform(np.array(SHAPE) * 0.3, np.array(SHAPE) * 0.7)
        values[(((grid - centre) / (1.2, 3, 3)) ** 2).sum(-1) < 1] += 90
    made = SimpleITK.GetImageFromArray(np.round(values).astype(np.int16))
    made.SetSpacing(SPACING)
    made.SetOrigin((-12.3, 45.6, -7.8))
    made.SetDirection((1, 0, 0, 0, np.cos(0.1), -np.sin(0.1), 0, np.sin(0.1), np.cos(0.1)))
    return made


def write(path, seed, orientation="LPS"):
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image(seed), orientation), str(path), useCompression=True)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three subjects."""
    for seed in range(3):
        write(tmp_path / "in" / f"s{seed}_0000.nii.gz", seed)
    return tmp_path / "in"


def values(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def rows(output):
    with (output / "volumes.csv").open(newline="") as stream:
        return {row["subject"]: row for row in csv.DictReader(stream)}


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def segment(model, output, *words):
    return main(["segment", *map(str, words), "-o", str(output), "-m", str(model), *FAST])


def test_masks_are_those_of_nnunets_own_command_byte_for_byte(nnunet, model, folder, tmp_path, monkeypatch):
    words = ("-f", "4", "-device", "cpu", "--disable_tta")
    nnunet.run(
        *("nnUNetv2_predict_from_modelfolder", "-i", str(folder), "-o", str(tmp_path / "theirs"), "-m", str(model)),
        *(*words, "--save_probabilities", "-npp", "1", "-nps", "1"),
    )
    # Sums depend on the number of threads, which the command takes from nnUNet_def_n_proc.
    monkeypatch.setattr("nnunetv2.inference.predict_from_raw_data.default_num_processes", 1)
    assert segment(model, tmp_path / "plain", folder, "-f", "4") == 0
    assert segment(model, tmp_path / "more", folder, "-f", "4", "--probabilities") == 0

    found = set()
    for name in ("s0", "s1", "s2"):
        theirs = tmp_path / "theirs" / f"{name}.nii.gz"
        for ours in ("plain", "more"):
            assert (tmp_path / ours / f"{name}_wmh.nii.gz").read_bytes() == theirs.read_bytes()
        expected = np.load(theirs.with_name(f"{name}.npz"))["probabilities"][1]
        np.testing.assert_array_equal(values(tmp_path / "more" / f"{name}_wmh_prob.nii.gz"), expected)
        found |= set(np.unique(values(theirs)))
    # Or else the comparison says little.
    assert {0, 1} <= found
    # The trainer noted how its images are stored, and these are stored likewise.
    assert json.loads((model / "plans.json").read_text())[ORIENTATION_KEY] == {"LPS": 5}
    assert {row.message for row in read_segmentation(tmp_path / "plain").subjects} == {""}


def test_five_of_eight_are_broken_and_three_are_segmented(model, tmp_path, write_series, capsys):
    source = tmp_path / "in"
    write(source / "s00_0000.nii.gz", 0)
    write_series(tmp_path / "scan", SimpleITK.GetArrayFromImage(image(1)), spacing=SPACING)
    whole = (source / "s00_0000.nii.gz").read_bytes()
    (source / "truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    (source / "text.nii.gz").write_text("not an image")
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 8, 3), np.int16), np.eye(4)), source / "four_axes.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), source / "zero.nii.gz")
    nan = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    nan[4, 4, 4] = np.nan
    nibabel.save(nibabel.Nifti1Image(nan, np.eye(4)), source / "nan.nii.gz")
    slices = SimpleITK.GetArrayFromImage(image(0))[:1]
    nibabel.save(nibabel.Nifti1Image(slices.T, np.diag([4, 4, 8, 1])), source / "thin_0000.nii.gz")

    assert segment(model, tmp_path / "out", source, tmp_path / "scan") == 1

    table = rows(tmp_path / "out")
    assert len(table) == 8
    failed = {name: row["message"] for name, row in table.items() if row["status"] == "failed"}
    assert set(failed) == {"truncated", "text", "four_axes", "zero", "nan"}
    for name, words in {
        "truncated": "truncated.nii.gz: cannot be read: ",
        "text": "text.nii.gz: cannot be read: ",
        "four_axes": "four_axes.nii.gz: 4 axes",
        "zero": "zero.nii.gz: every voxel is 0",
        "nan": "nan.nii.gz: 1 voxels hold no number",
    }.items():
        assert words in failed[name]
    assert all(row["volume_ml"] == "" for name, row in table.items() if name in failed)
    assert table["thin"]["status"] == "warning"
    assert table["thin"]["message"].startswith("a single slice, and the model is 3D")
    others = [table[name] for name in ("s00", "scan")]
    assert {(row["status"], row["message"]) for row in others} == {("ok", "")}
    assert any(float(row["volume_ml"]) > 0 and int(row["lesions"]) > 0 for row in others)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count('<section class="subject') == 8
    assert all(f'href="#subject-{name}"' in page for name in table)
    tables = {"methods.md", "volumes.csv", "volumes.json", "report", "report.html"}
    masks = {path.name for path in (tmp_path / "out").iterdir()} - tables
    assert masks == {f"{name}_wmh.nii.gz" for name in table if name not in failed}
    printed = capsys.readouterr().out
    assert "3 of 8 subjects segmented" in printed
    assert "failed 5: four_axes, nan, text, truncated, zero" in printed


SEGMENTER = "nnunetv2_sa_unet.segmentation.model.Segmenter"
KILLED_AT = [
    (f"{SEGMENTER}.predict", 2),
    # A complete file without its name: a map, the record.
    ("nnunetv2_sa_unet.files.os.replace", 2),
    ("nnunetv2_sa_unet.files.os.replace", 13),
    # A row that may not be on the disk.
    ("nnunetv2_sa_unet.segmentation.journal.os.fsync", 4),
    ("nnunetv2_sa_unet.report.writing.render_page", 1),
]
ALSO_KILLED_AT = [
    (f"{SEGMENTER}.prepare", 4),
    (f"{SEGMENTER}.finish", 3),
    # The table, without its name.
    ("nnunetv2_sa_unet.files.os.replace", 14),
    # In the report, between the two files of a subject.
    ("nnunetv2_sa_unet.report.section.viewer_script", 3),
]


@pytest.mark.parametrize("points", [KILLED_AT, pytest.param(ALSO_KILLED_AT, marks=pytest.mark.slow)], ids=["", "more"])
def test_a_kill_at_any_moment_and_the_same_command_give_the_same_files(model, folder, tmp_path, write_series, points):
    write_series(tmp_path / "scan", SimpleITK.GetArrayFromImage(image(3)), spacing=SPACING)
    (folder / "broken.nii.gz").write_bytes(b"")
    runs = [(str(tmp_path / f"out{index}"), *point) for index, point in enumerate([(None, 0), *points])]
    worker = Path(__file__).with_name("kill_worker.py")
    words = ["segment", str(folder), str(tmp_path / "scan"), "-m", str(model), *FAST, "--probabilities"]
    completed = subprocess.run(
        [sys.executable, str(worker), json.dumps(runs), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert completed.returncode == 0, completed.stdout[-4000:]
    # One subject is broken in every run.
    assert json.loads(completed.stdout.splitlines()[-1]) == [1] * len(runs)
    expected = tree(tmp_path / "out0")
    # A mask, two files of maps and two of the report for each subject that could be segmented.
    assert len(expected) == 4 * 5 + 3 + len({*SCRIPTS_AND_STYLES, "report.html", "files.json"})
    for place, *point in runs[1:]:
        assert tree(Path(place)) == expected, point


@pytest.mark.parametrize("step", ["prepare", "predict", "finish"])
def test_a_lack_of_memory_is_the_trouble_of_one_subject(model, folder, tmp_path, monkeypatch, step):
    from nnunetv2_sa_unet.segmentation.model import Segmenter

    original, calls = getattr(Segmenter, step), []

    def greedy(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError("no room for 4 GB\nTried to allocate …")
        return original(self, *arguments)

    monkeypatch.setattr(Segmenter, step, greedy)
    assert segment(model, tmp_path / "out", folder) == 1
    found = [row["message"] for row in rows(tmp_path / "out").values()]
    assert sorted(found) == ["", "", "MemoryError: no room for 4 GB"]
    # It is tried again.
    assert segment(model, tmp_path / "out", folder) == 0


def test_any_trouble_of_an_export_is_that_of_one_subject(model, folder, tmp_path, monkeypatch, capsys):
    from nnunetv2_sa_unet.segmentation import pipeline

    original = pipeline.lesion_load

    def broken(wmh, voxel_mm3):
        if pipeline.lesion_load is broken:
            monkeypatch.setattr(pipeline, "lesion_load", original)
            raise ValueError("operands could not be broadcast")
        return original(wmh, voxel_mm3)

    monkeypatch.setattr(pipeline, "lesion_load", broken)
    assert segment(model, tmp_path / "out", folder, "--no-report", "--probabilities") == 1
    failed = [row for row in rows(tmp_path / "out").values() if row["status"] == "failed"]
    assert [row["message"] for row in failed] == ["ValueError: operands could not be broadcast"]
    assert not list((tmp_path / "out").rglob(f"*{failed[0]['subject']}*"))


@pytest.mark.parametrize(
    "function", ["nnunetv2_sa_unet.files.os.replace", "nnunetv2_sa_unet.segmentation.journal.os.fsync"]
)
def test_a_folder_that_cannot_be_written_ends_the_run_with_a_line(
    model, folder, tmp_path, monkeypatch, capsys, function
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(function, full)
        assert segment(model, tmp_path / "out", folder, "--no-report") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert str(tmp_path / "out") in line
    assert "No space left on device" in line
    assert segment(model, tmp_path / "out", folder, "--no-report") == 0


def test_ctrl_c_leaves_a_table_of_what_is_done(model, folder, tmp_path, monkeypatch, capsys):
    from nnunetv2_sa_unet.segmentation.model import Segmenter

    original, calls = Segmenter.predict, []

    def stopped(self, prepared):
        calls.append(prepared)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, prepared)

    monkeypatch.setattr(Segmenter, "predict", stopped)
    assert segment(model, tmp_path / "out", folder) == 130
    assert list(rows(tmp_path / "out")) == ["s0"]
    assert "stopped after 1 of 3 subjects" in capsys.readouterr().out
    assert set(tree(tmp_path / "out")) == {"s0_wmh.nii.gz", "methods.md", "volumes.csv", "volumes.json"}
    assert segment(model, tmp_path / "out", folder) == 0
    assert list(rows(tmp_path / "out")) == ["s0", "s1", "s2"]


def test_what_is_done_is_kept_and_what_changed_is_done_again(model, folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert segment(model, output, folder) == 0
    first = tree(output)
    changed = {path.name: path.stat().st_mtime_ns for path in output.glob("*.nii.gz")}
    write(folder / "s1_0000.nii.gz", 7)
    (output / "s2_wmh.nii.gz").unlink()
    capsys.readouterr()

    assert segment(model, output, folder) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.endswith("(done before)") for line in lines] == [True, False, False]
    again = {path.name: path.stat().st_mtime_ns for path in output.glob("*.nii.gz")}
    assert [again[name] == changed[name] for name in sorted(changed)] == [True, False, False]
    for name in ("s0_wmh.nii.gz", "s2_wmh.nii.gz"):
        assert (output / name).read_bytes() == first[name]

    # The folder grows; what was broken leaves nothing behind.
    (folder / "s1_0000.nii.gz").write_bytes(b"")
    write(tmp_path / "new" / "s3.nii.gz", 3)
    assert segment(model, output, folder / "s1_0000.nii.gz", tmp_path / "new") == 1
    assert {name: row["status"] for name, row in rows(output).items()} == {
        "s0": "ok",
        "s1": "failed",
        "s2": "ok",
        "s3": "ok",
    }
    assert not (output / "s1_wmh.nii.gz").exists()
    assert segment(model, output, tmp_path / "new") == 0
    assert list(rows(output)) == ["s0", "s2", "s3"]


def test_other_options_need_force_which_starts_over(model, folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert segment(model, output, folder) == 0
    assert segment(model, output, folder / "s0_0000.nii.gz", "--threshold", "0.2") == 1
    refusal = capsys.readouterr().err
    assert "start over with --force" in refusal
    assert "options.threshold: there None, now 0.2" in refusal
    assert "subjects there that are not among the inputs: s1, s2" in refusal
    assert segment(model, output, folder / "s0_0000.nii.gz", "--threshold", "0.2", "--force") == 0
    left = set(tree(output)) - {f"report/{name}" for name in (*SCRIPTS_AND_STYLES, "files.json")}
    of_the_report = {"report.html", "report/slices/s0.jpg", "report/volumes/s0.js"}
    assert left == {"s0_wmh.nii.gz", "methods.md", "volumes.csv", "volumes.json", *of_the_report}
    assert segment(model, tmp_path / "bare", folder / "s0_0000.nii.gz", "--no-report") == 0
    assert set(tree(tmp_path / "bare")) == {"s0_wmh.nii.gz", "methods.md", "volumes.csv", "volumes.json"}


def test_maps_decide_anew_as_a_run_of_the_network_would(model, folder, tmp_path, monkeypatch):
    write(folder / "s2_0000.nii.gz", 2, "PSR")
    stroke = np.zeros(SHAPE, np.uint8)
    stroke[:, :, :18] = 5
    mask = SimpleITK.GetImageFromArray(stroke)
    mask.CopyInformation(image(0))
    (tmp_path / "strokes").mkdir()
    SimpleITK.WriteImage(mask, str(tmp_path / "strokes" / "s0.nii.gz"))
    decisions = [
        ("--threshold", 0.2, "--exclude", tmp_path / "strokes"),
        ("--threshold", 0.45, "--min-volume", 1000),
        ("--exclude", tmp_path / "strokes", "--min-volume", 1000),
        ("--clear-ends", 0.2),
        (),
    ]
    fresh = [tmp_path / f"fresh{index}" for index in range(len(decisions))]
    for output, words in zip(fresh, decisions, strict=True):
        assert segment(model, output, folder, "--no-report", "--probabilities", *words) == 0
    masks = [tree(output)["s0_wmh.nii.gz"] for output in fresh]
    assert len(set(masks)) == len(masks)

    from nnunetv2_sa_unet.segmentation.model import Segmenter

    again = tmp_path / "again"
    assert segment(model, again, folder, "--no-report", "--probabilities") == 0
    maps = {path: path.stat().st_mtime_ns for path in again.rglob("*") if "prob" in path.name}
    monkeypatch.setattr(Segmenter, "predict", None)
    for expected, words in zip(fresh, decisions, strict=True):
        assert segment(model, again, folder, "--no-report", *words) == 0
        assert tree(again) == tree(expected), words
    # A mask that is gone too.
    (again / "s1_wmh.nii.gz").unlink()
    assert segment(model, again, folder, "--no-report") == 0
    assert tree(again) == tree(fresh[-1])
    assert len(maps) == 3
    assert {path: path.stat().st_mtime_ns for path in maps} == maps


def test_options_change_the_wmh_and_nothing_else(model, folder, tmp_path):
    subject = folder / "s0_0000.nii.gz"
    assert segment(model, tmp_path / "plain", subject, "--probabilities") == 0
    plain = values(tmp_path / "plain" / "s0_wmh.nii.gz")
    probability = values(tmp_path / "plain" / "s0_wmh_prob.nii.gz")
    threshold = float(np.quantile(probability, 0.9))

    assert segment(model, tmp_path / "low", subject, "--threshold", threshold) == 0
    low = values(tmp_path / "low" / "s0_wmh.nii.gz")
    np.testing.assert_array_equal(low == 1, probability >= threshold)
    untouched = (low != 1) & (plain != 1)
    np.testing.assert_array_equal(low[untouched], plain[untouched])

    assert segment(model, tmp_path / "ends", subject, "--threshold", threshold, "--clear-ends", 0.2) == 0
    ends, cleared = values(tmp_path / "ends" / "s0_wmh.nii.gz"), int(0.2 * SHAPE[0])
    assert (low[:cleared] == 1).any()
    assert not (ends[:cleared] == 1).any()
    assert not (ends[-cleared:] == 1).any()
    np.testing.assert_array_equal(ends[cleared:-cleared], low[cleared:-cleared])
    (record,) = read_segmentation(tmp_path / "ends").subjects
    assert f"nothing is WMH in the first and the last {cleared} of {SHAPE[0]} axial slices" in record.message
    assert record.decision.clear_ends == 0.2

    stroke = np.zeros(SHAPE, np.uint8)
    stroke[:, :, :18] = 5
    mask = SimpleITK.GetImageFromArray(stroke)
    mask.CopyInformation(image(0))
    (tmp_path / "strokes").mkdir()
    SimpleITK.WriteImage(mask, str(tmp_path / "strokes" / "s0.nii.gz"))
    words = ("--threshold", threshold, "--exclude", tmp_path / "strokes", "--min-volume", 1000)
    assert segment(model, tmp_path / "few", subject, *words) == 0
    few = values(tmp_path / "few" / "s0_wmh.nii.gz")
    assert 0 < (few == 1).sum() < ((low == 1) & (stroke == 0)).sum()
    assert not (few[stroke > 0] == 1).any()
    np.testing.assert_array_equal(few == 2, low == 2)
    (record,) = read_segmentation(tmp_path / "few").subjects
    assert record.volume_ml == pytest.approx((few == 1).sum() * np.prod(SPACING) / 1000, abs=1e-6)
    assert record.lesions_by_size["below_15_mm3"] == 0


def test_a_dicom_series_gives_the_mask_of_the_same_voxels(model, tmp_path, write_series):
    array = SimpleITK.GetArrayFromImage(image(0))
    write_series(tmp_path / "study" / "p1", array, spacing=SPACING)
    series = SimpleITK.GetImageFromArray(array)
    series.SetSpacing(SPACING)
    series.SetOrigin((-10, -20, 30))
    SimpleITK.WriteImage(series, str(tmp_path / "nifti.nii.gz"))
    assert segment(model, tmp_path / "out", tmp_path / "study", tmp_path / "nifti.nii.gz") == 0
    assert (tmp_path / "out" / "p1_wmh.nii.gz").read_bytes() == (tmp_path / "out" / "nifti_wmh.nii.gz").read_bytes()
    dicom = read_segmentation(tmp_path / "out").subjects[1]
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_input(dicom)), array)


def test_dicom_goes_back_as_dicom_also_of_masks_that_are_there(model, tmp_path, write_series, monkeypatch, capsys):
    highdicom = pytest.importorskip("highdicom")
    for name, tags in (("p1", {"t0020_0052": "1.2.3.9"}), ("p2", {})):
        array = SimpleITK.GetArrayFromImage(image(0))
        write_series(tmp_path / "study" / name, array, uid=f"1.2.3.{name[1]}", study=name[1], spacing=SPACING, **tags)
    inputs = (tmp_path / "study", write(tmp_path / "nifti.nii.gz", 1))
    output = tmp_path / "out"
    assert segment(model, output, *inputs) == 0
    before = tree(output)

    def network(*_):
        raise AssertionError("the network is not needed")

    monkeypatch.setattr("nnunetv2_sa_unet.segmentation.model.Segmenter.predict", network)
    capsys.readouterr()
    assert segment(model, output, *inputs, "--dicom-seg") == 0
    assert "--dicom-seg: 1 of 3 subjects are no DICOM series and get no DICOM object" in capsys.readouterr().out
    after = tree(output)
    assert {name for name in after if before.get(name) != after[name]} >= {"p1_wmh.dcm", "volumes.json", "volumes.csv"}
    assert {name for name in after if name.endswith(".dcm")} == {"p1_wmh.dcm"}
    assert [(row["status"], "it gives no FrameOfReferenceUID" in row["message"]) for row in rows(output).values()] == [
        ("ok", False),
        ("ok", False),
        ("warning", True),
    ]
    found = highdicom.seg.segread(output / "p1_wmh.dcm").get_volume(combine_segments=True).array[::-1]
    np.testing.assert_array_equal(found, values(output / "p1_wmh.nii.gz") == 1)

    # Kept by later runs with the option and without, made again where it is damaged, and not said twice that one
    # cannot be made.
    assert segment(model, output, *inputs) == 0
    assert segment(model, output, *inputs, "--dicom-seg") == 0
    assert tree(output) == after
    (output / "p1_wmh.dcm").write_bytes(b"damaged")
    assert segment(model, output, *inputs, "--dicom-seg") == 0
    record = {row.subject: row for row in read_segmentation(output).subjects}
    assert record["p1"].dicom_seg == "p1_wmh.dcm"
    assert highdicom.seg.segread(output / "p1_wmh.dcm").NumberOfFrames == len(array)
    (output / "p1_wmh.dcm").unlink()
    assert segment(model, output, *inputs) == 0
    assert read_segmentation(output).subjects[1].dicom_seg is None


def test_bids_comes_back_as_a_valid_derivative(model, tmp_path):
    study = tmp_path / "study"
    for name in ("sub-1/ses-a/anat/sub-1_ses-a", "sub-2/anat/sub-2"):
        write(study / f"{name}_FLAIR.nii.gz", 1)
        (study / f"{name}_FLAIR.json").write_text("{}")
    (study / "dataset_description.json").write_text(json.dumps({"Name": "test", "BIDSVersion": "1.10.0"}))
    output = study / "derivatives" / "wmh"
    for _ in range(2):
        assert segment(model, output, study, "--probabilities") == 0
    mask = output / "sub-1/ses-a/anat/sub-1_ses-a_desc-wmh_mask.nii.gz"
    assert set(np.unique(values(mask))) <= {0, 1}
    assert json.loads(mask.with_name("sub-1_ses-a_desc-wmh_mask.json").read_text())["Sources"] == [
        "bids:raw:sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz"
    ]
    assert (output / "sub-2/anat/sub-2_label-WMH_desc-wmh_probseg.nii.gz").exists()
    validator = Path(sysconfig.get_path("scripts"), "bids-validator-deno")
    found = subprocess.run([validator, output, "--format", "json"], stdout=subprocess.PIPE, text=True)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert found.returncode == 0


def test_the_words_of_bids_apps_give_the_files_of_segment(model, tmp_path, capsys):
    study, output = tmp_path / "study", tmp_path / "out"
    for seed, name in enumerate(("sub-1/ses-a/anat/sub-1_ses-a", "sub-1/ses-b/anat/sub-1_ses-b", "sub-2/anat/sub-2")):
        write(study / f"{name}_FLAIR.nii.gz", seed)
    (study / "dataset_description.json").write_text(json.dumps({"Name": "test", "BIDSVersion": "1.10.0"}))

    def app(level, *words):
        words = (*words, *(("-m", str(model), *FAST) if level == "participant" else ()))
        return main(["bids-app", str(study), str(output), level, *words])

    assert app("group") == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert app("participant", "--participant-label", "sub-1", "--session-label", "b", "--n-cpus", "1") == 0
    assert set(rows(output)) == {"sub-1_ses-b"}
    assert not (output / "report.html").exists()
    assert app("participant", "--participant_label", "2", "--skip-bids-validation") == 0
    assert app("group") == 1
    assert "not segmented yet 1 of 3: sub-1_ses-a (give the level participant)" in capsys.readouterr().out
    assert app("participant") == 0
    assert app("group") == 0
    page = (output / "report.html").read_text()
    assert all(name in page for name in ("sub-1_ses-a", "sub-1_ses-b", "sub-2"))

    assert segment(model, tmp_path / "same", study) == 0
    assert tree(tmp_path / "same") == tree(output)
    validator = Path(sysconfig.get_path("scripts"), "bids-validator-deno")
    assert subprocess.run([validator, output], stdout=subprocess.DEVNULL).returncode == 0


def test_what_is_no_model_or_lacks_a_fold_is_refused(model, folder, tmp_path, capsys):
    assert segment(tmp_path, tmp_path / "out", folder) == 1
    assert f"{tmp_path / 'plans.json'}: there is no such file" in capsys.readouterr().err
    assert segment(model, tmp_path / "out", folder, "-f", "4", "7") == 1
    assert "fold_7/checkpoint_final.pth: there is no such file" in capsys.readouterr().err
    damaged = tmp_path / "model"
    shutil.copytree(model, damaged)
    checkpoint = damaged / "fold_4" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert segment(damaged, tmp_path / "out", folder, "-f", "4") == 1
    assert "nnU-Net cannot load this model: " in capsys.readouterr().err
    assert segment(model, folder, folder) == 1
    assert "is an input too" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("coarse_registration")
def test_regions_of_a_registered_head_and_none_where_no_atlas_fits(model, atlas_head, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    SimpleITK.WriteImage(SimpleITK.Cast(atlas_head.flair, SimpleITK.sitkInt16), str(tmp_path / "in" / "head.nii.gz"))
    write(tmp_path / "in" / "blob.nii.gz", 0)

    assert segment(model, tmp_path / "out", tmp_path / "in", "-f", "4", "--regions") == 0

    found = rows(tmp_path / "out")
    head, wmh = found["head"], values(tmp_path / "out" / "head_wmh.nii.gz") == 1
    assert (head["registration"], head["status"]) == ("ok", "ok"), head["message"]
    assert float(head["icv_ml"]) == pytest.approx(atlas_head.icv_ml, rel=0.05)
    regions, truth = values(tmp_path / "out" / "head_regions.nii.gz"), region_map(atlas_head.around, wmh, "voxel")
    ml = float(np.prod(atlas_head.flair.GetSpacing())) / 1000
    for region in REGIONS:
        sides = [LABELS[f"{region}_{side}"] for side in SIDES]
        found_ml, true_ml = (np.isin(labels, sides)[atlas_head.labels > 0].sum() * ml for labels in (regions, truth))
        # Deep is the small rest between two borders, and voxels are coarse here.
        assert found_ml == pytest.approx(true_ml, rel=0.5 if region == "deep" else 0.1), region
        assert float(head[f"ml_{region}"]) == pytest.approx(np.isin(regions, sides)[wmh].sum() * ml, abs=1e-3)
    blob = found["blob"]
    assert (blob["registration"], blob["status"]) == ("failed", "warning")
    assert {blob[name] for name in region_columns("voxel")} == {"failed", ""}
    assert not (tmp_path / "out" / "blob_regions.nii.gz").exists()
    assert "in one subject the registration failed" in (tmp_path / "out" / "methods.md").read_text().lower()
