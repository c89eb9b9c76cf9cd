"""``convert bids`` and ``convert to-bids``: from a BIDS data set to nnU-Net's raw format and back."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main

SHAPE = (6, 20, 18)


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(image, str(path))
    return path


def values(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def describe(folder: Path, **more: object) -> None:
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "test", "BIDSVersion": "1.10.0", **more}))


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Five subjects with lesion masks, the first with two sessions; a sixth, uncompressed, without a mask."""
    root = tmp_path / "study"
    random = np.random.default_rng(0)
    scans = [("01", "a"), ("01", "b"), *((f"0{number}", None) for number in range(2, 7))]
    for subject, session in scans:
        name = f"sub-{subject}" + (f"_ses-{session}" if session else "")
        place = "/".join([*name.split("_"), "anat"])
        ending = ".nii" if subject == "06" else ".nii.gz"
        write(root / place / f"{name}_FLAIR{ending}", random.normal(100, 9, SHAPE).astype(np.float32))
        (root / place / f"{name}_FLAIR.json").write_text("{}")
        write(root / place / f"{name}_T1w.nii.gz", random.normal(100, 9, SHAPE).astype(np.float32))
        if subject != "06":
            masks = root / "derivatives" / "manual" / place
            for what in ("label-WMH", "desc-brain"):
                write(masks / f"{name}_{what}_mask.nii.gz", (random.random(SHAPE) > 0.9).astype(np.uint8))
    describe(root)
    describe(root / "derivatives" / "manual", DatasetType="derivative", GeneratedBy=[{"Name": "Manual"}])
    return root


def convert(source: Path, *words: str, unlabelled: bool = True) -> int:
    allowed = ["--unlabelled"] if unlabelled else []
    return main(["convert", "bids", str(source), "-d", "600", "-np", "1", *allowed, *words])


def test_volumes_with_a_mask_are_for_training_and_others_to_be_predicted(
    bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(bids) == 0
    assert "6 training cases with a lesion mask, 1 cases to predict" in capsys.readouterr().out
    folder = raw / "Dataset600_BIDS"
    names = ["sub-01_ses-a", "sub-01_ses-b", "sub-02", "sub-03", "sub-04", "sub-05"]
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in names]
    mask = bids / "derivatives/manual/sub-01/ses-b/anat/sub-01_ses-b_label-WMH_mask.nii.gz"
    assert np.array_equal(values(folder / "labelsTr" / "sub-01_ses-b.nii.gz"), values(mask))
    (volume,) = (folder / "imagesTs").iterdir()
    assert volume.name == "sub-06_0000.nii.gz"
    assert gzip.decompress(volume.read_bytes()) == (bids / "sub-06/anat/sub-06_FLAIR.nii").read_bytes()
    with (folder / "cases.csv").open() as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    assert rows["sub-01_ses-b"] == {
        "case": "sub-01_ses-b",
        "split": "training",
        "subject": "01",
        "session": "b",
        "flair": "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii.gz",
    }
    assert rows["sub-06"]["session"] == ""
    splits = json.loads((folder / "splits_final.json").read_text())
    assert ["sub-01_ses-a", "sub-01_ses-b"] in [split["val"] for split in splits]


def test_a_data_set_without_masks_is_one_to_predict(bids: Path, raw: Path) -> None:
    shutil.rmtree(bids / "derivatives")
    assert convert(bids) == 0
    folder = raw / "Dataset600_BIDS"
    assert len(list((folder / "imagesTs").iterdir())) == 7
    assert not (folder / "labelsTr").exists()
    assert not (folder / "splits_final.json").exists()
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 0


def test_masks_may_lie_elsewhere_and_are_chosen_by_entity(bids: Path, raw: Path) -> None:
    elsewhere = (bids / "derivatives").rename(bids.parent / "masks")
    # Named twice, as a folder may be that lies in the data set's own.
    assert convert(bids, "--derivatives", str(elsewhere / "manual"), str(elsewhere), "--mask", "desc=brain") == 0
    label = values(raw / "Dataset600_BIDS" / "labelsTr" / "sub-02.nii.gz")
    assert np.array_equal(label, values(elsewhere / "manual/sub-02/anat/sub-02_desc-brain_mask.nii.gz"))


def test_uncompressed_volumes_are_written_where_others_are_linked(bids: Path, raw: Path) -> None:
    assert convert(bids, "--link") == 0
    folder = raw / "Dataset600_BIDS"
    assert (folder / "imagesTr" / "sub-02_0000.nii.gz").is_symlink()
    assert not (folder / "imagesTs" / "sub-06_0000.nii.gz").is_symlink()


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ("no description", (), "study: not a BIDS data set: there is no dataset_description.json in it"),
        ("no flair", (), "no FLAIR; expected files such as sub-01/anat/sub-01_FLAIR.nii.gz"),
        ("two masks", (), "sub-02: 2 masks ("),
        ("two formats", (), "sub-02: 2 volumes of that name ("),
        ("nothing", ("--mask", "desc=nobody"), "--mask desc=nobody picks no mask of any FLAIR"),
        ("nothing", ("--mask", "colour=red"), "--mask colour=red picks no mask of any FLAIR"),
        ("other grid", (), "not on the grid of sub-02_FLAIR.nii.gz: size (18, 20, 5), expected (18, 20, 6)"),
    ],
)
def test_what_cannot_be_used_is_named_before_anything_is_written(
    bids: Path, raw: Path, change: str, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = bids / "derivatives/manual/sub-02/anat/sub-02_label-WMH_mask.nii.gz"
    if change == "no description":
        (bids / "dataset_description.json").unlink()
    elif change == "no flair":
        for path in bids.rglob("*_FLAIR.*"):
            path.unlink()
    elif change == "two masks":
        shutil.copy(mask, mask.with_name("sub-02_desc-lesion_mask.nii.gz"))
    elif change == "two formats":
        write(bids / "sub-02/anat/sub-02_FLAIR.nii", np.ones(SHAPE, np.float32))
    elif change == "other grid":
        write(mask, values(mask)[1:])
    assert convert(bids, *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert list(raw.iterdir()) == []


def test_a_mask_that_is_not_found_is_named_unless_volumes_may_be_without(
    bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = bids / "derivatives" / "manual"
    (masks / "sub-03/anat/sub-03_label-WMH_mask.nii.gz").rename(
        masks / "sub-03/anat/sub-03_acq-3D_label-WMH_mask.nii.gz"
    )
    assert convert(bids, unlabelled=False) == 1
    printed = capsys.readouterr()
    for name in ("sub-03", "sub-06"):
        assert f"  {name}: no lesion mask; add one, or make it a case to predict with --unlabelled" in printed.err
    assert printed.err.count("\n  ") == 2
    assert "sub-03_acq-3D_label-WMH_mask.nii.gz: a lesion mask of no FLAIR volume" in printed.out
    assert list(raw.iterdir()) == []
    shutil.rmtree(masks)
    assert convert(bids, unlabelled=False) == 1
    assert "no lesion mask for any of the 7 volumes; name their folder with --derivatives" in capsys.readouterr().err


@pytest.mark.parametrize("parent", ["sub-acute", "ses-b", "label-x", "acq-2023/desc-raw"])
def test_the_folders_above_a_data_set_say_nothing_of_it(bids: Path, raw: Path, parent: str) -> None:
    assert convert(bids) == 0
    expected = {path.name: path.read_bytes() for path in (raw / "Dataset600_BIDS").rglob("*.nii.gz")}
    table = (raw / "Dataset600_BIDS" / "cases.csv").read_text()
    shutil.rmtree(raw / "Dataset600_BIDS")
    below = bids.parent / parent / "study"
    below.parent.mkdir(parents=True)
    assert convert(bids.rename(below)) == 0
    assert (raw / "Dataset600_BIDS" / "cases.csv").read_text() == table
    assert {path.name: path.read_bytes() for path in (raw / "Dataset600_BIDS").rglob("*.nii.gz")} == expected


def test_what_looks_like_flair_and_is_not_used_is_named(
    bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(3).normal(100, 9, SHAPE).astype(np.float32)
    anat = bids / "sub-02" / "anat"
    left_out = {
        write(anat / "sub-02_part-phase_FLAIR.nii.gz", noise): "the phase of a complex image",
        write(anat / "sub-02_part-imag_FLAIR.nii.gz", noise): "the imaginary part of a complex image",
        write(anat / "sub-02_T2flair.nii.gz", noise): "not read as FLAIR, since the last part of its name is T2flair",
        write(anat / "sub-03_FLAIR.nii.gz", noise): "lies in sub-02, but its name says sub-03",
        write(bids / "sub-01/ses-a/anat/sub-01_ses-b_FLAIR.nii.gz", noise): "lies in ses-a, but its name says ses-b",
        write(bids / "tmp" / "sub-02_FLAIR.nii.gz", noise): "does not lie in a folder sub-… of the data set",
    }
    freesurfer = anat / "sub-02_FLAIR.mgz"
    freesurfer.touch()
    left_out[freesurfer] = "FreeSurfer's format is not read"
    # None of the data set's images.
    write(bids / "sourcedata" / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz", noise)
    # The data set is made, and the status tells that more may have been meant to be in it.
    assert convert(bids) == 1
    printed = capsys.readouterr().out
    for path, reason in left_out.items():
        assert f"{'passed over' if 'complex' in reason else 'LEFT OUT'}: {path}: {reason}" in printed
    assert printed.count("passed over: ") + printed.count("LEFT OUT: ") == len(left_out)
    record = json.loads((raw / "Dataset600_BIDS" / "conversion.json").read_text())
    assert {bids / each["path"] for each in record["left_out"]} == set(left_out)
    assert "6 training cases with a lesion mask, 1 cases to predict" in printed


def test_how_a_header_was_read_is_a_note_and_stands_in_the_record(
    bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bids / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz"
    stored = nibabel.load(path)
    shifted = stored.affine.copy()
    shifted[0, 3] += 5
    image = nibabel.Nifti1Image(np.asarray(stored.dataobj), stored.affine)
    image.set_qform(stored.affine, 1)
    image.set_sform(shifted, 2)
    nibabel.save(image, path)
    assert convert(bids) == 0
    remark = f"sub-02: {path}: qform and sform disagree by 5.0 mm: the qform was used"
    assert f"note: {remark}\n" in capsys.readouterr().out
    assert json.loads((raw / "Dataset600_BIDS" / "conversion.json").read_text())["remarks"] == [remark]


def test_a_mask_in_another_format_is_named(bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = bids / "derivatives/manual/sub-02/anat/sub-02_label-WMH_mask.nii.gz"
    mask.rename(mask.with_name("sub-02_label-WMH_mask.mgz"))
    (bids / "derivatives" / "fs").mkdir()
    (bids / "derivatives" / "fs" / "brainmask.mgz").touch()
    assert convert(bids) == 1
    printed = capsys.readouterr().out
    assert f"LEFT OUT: {mask.with_name('sub-02_label-WMH_mask.mgz')}: FreeSurfer's format is not read" in printed
    assert "brainmask" not in printed
    assert "5 training cases with a lesion mask, 2 cases to predict" in printed


def test_scans_are_told_apart_by_whatever_their_names_say(
    bids: Path, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(3).normal(100, 9, SHAPE).astype(np.float32)
    lesion = np.zeros(SHAPE, np.uint8)
    # An entity that BIDS does not know, and echoes that share a mask.
    for coil in ("a", "b"):
        write(bids / "sub-10" / "anat" / f"sub-10_coil-{coil}_FLAIR.nii.gz", noise)
    write(bids / "derivatives/manual/sub-10/anat/sub-10_coil-b_label-WMH_mask.nii.gz", lesion)
    for echo in (1, 2):
        write(bids / "sub-11" / "anat" / f"sub-11_echo-{echo}_FLAIR.nii.gz", noise)
    shared = write(bids / "derivatives/manual/sub-11/anat/sub-11_label-WMH_mask.nii.gz", lesion)
    assert convert(bids) == 0
    labels = {path.name for path in (raw / "Dataset600_BIDS" / "labelsTr").iterdir()}
    assert {"sub-10_coil-b.nii.gz", "sub-11_echo-1.nii.gz", "sub-11_echo-2.nii.gz"} <= labels
    assert "sub-10_coil-a.nii.gz" not in labels
    note = f"note: one mask for several volumes: {shared} for sub-11_echo-1, sub-11_echo-2\n"
    assert note in capsys.readouterr().out


def predict(raw: Path, folder: Path) -> Path:
    """What nnU-Net's output folder holds after it predicted every case: labels 0, 1 and 2."""
    random = np.random.default_rng(1)
    for image in (raw / "Dataset600_BIDS").glob("images*/*.nii.gz"):
        write(folder / image.name.replace("_0000", ""), random.integers(0, 3, SHAPE, dtype=np.uint8))
    (folder / "plans.json").write_text("{}")
    return folder


def back(predictions: Path, output: Path, *words: str) -> int:
    return main(["convert", "to-bids", str(predictions), "-d", "600", "-o", str(output), *words])


def test_predictions_become_a_valid_bids_derivative(
    bids: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(bids) == 0
    predictions = predict(raw, tmp_path / "predictions")
    output = tmp_path / "wmh"
    assert back(predictions, output, "--source", str(bids)) == 0
    assert f"7 masks in {output}" in capsys.readouterr().out
    mask = output / "sub-01/ses-b/anat/sub-01_ses-b_desc-wmh_mask.nii.gz"
    assert np.array_equal(values(mask), values(predictions / "sub-01_ses-b.nii.gz") == 1)
    assert SimpleITK.ReadImage(str(mask)).GetSpacing() == pytest.approx((1, 1, 3))
    sidecar = json.loads(mask.with_name("sub-01_ses-b_desc-wmh_mask.json").read_text())
    assert sidecar["Sources"] == ["bids:raw:sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii.gz"]
    validator = Path(sysconfig.get_path("scripts"), "bids-validator-deno")
    found = subprocess.run([validator, output, "--format", "json"], stdout=subprocess.PIPE, text=True)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []
    assert found.returncode == 0
    # The validator does find errors.
    mask.rename(mask.with_name("sub-99_desc-wmh_mask.nii.gz"))
    assert subprocess.run([validator, output], stdout=subprocess.DEVNULL).returncode != 0


def test_the_same_predictions_again_change_nothing_and_others_need_force(
    bids: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(bids) == 0
    predictions, output = predict(raw, tmp_path / "predictions"), tmp_path / "wmh"
    assert back(predictions, output) == 0
    mask = output / "sub-02/anat/sub-02_desc-wmh_mask.nii.gz"
    before = mask.read_bytes(), mask.stat().st_mtime_ns
    assert back(predictions, output) == 0
    assert (mask.read_bytes(), mask.stat().st_mtime_ns) == before
    write(predictions / "sub-02.nii.gz", np.zeros(SHAPE, np.uint8))
    assert back(predictions, output) == 1
    assert f"{mask}: exists and differs; replace it with --force" in capsys.readouterr().err
    assert mask.read_bytes() == before[0]
    assert back(predictions, output, "--force") == 0
    assert not values(mask).any()


def test_predictions_that_belong_to_no_case_are_named_and_nothing_is_written(
    bids: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(bids) == 0
    predictions, output = predict(raw, tmp_path / "predictions"), tmp_path / "wmh"
    shutil.copy(predictions / "sub-02.nii.gz", predictions / "sub-77.nii.gz")
    cut = predictions / "sub-03.nii.gz"
    cut.write_bytes(cut.read_bytes()[:200])
    assert back(predictions, output) == 1
    error = capsys.readouterr().err
    assert "sub-77.nii.gz: no such case in the data set" in error
    assert f"{cut}: cannot be read" in error
    assert not output.exists()


def save_nifti(path: Path, array: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 3.0, 1.0])), path)


def rgb(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.dtype([(channel, "u1") for channel in "RGB"]))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: np.zeros((*SHAPE[::-1], 2), np.uint8), "4 axes and 1 channels; expected a 3D image of one channel"),
        (lambda: np.zeros(SHAPE[:0:-1], np.uint8), "2 axes and 1 channels; expected a 3D image of one channel"),
        (lambda: rgb(SHAPE[::-1]), "holds colours (RGB)"),
        (lambda: np.zeros((*SHAPE[::-1], 1, 3), np.float32), "channels; expected a 3D image of one channel"),
        (lambda: np.zeros(SHAPE[::-1], np.complex64), "complex"),
        (lambda: np.zeros((5, 5, 5), np.uint8), "not on the grid of {image}: size (5, 5, 5), expected (18, 20, 6)"),
    ],
)
def test_a_prediction_that_is_no_mask_of_its_volume_is_named_and_nothing_is_written(
    bids: Path,
    raw: Path,
    tmp_path: Path,
    made: Callable[[], np.ndarray],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert convert(bids) == 0
    predictions, output = predict(raw, tmp_path / "predictions"), tmp_path / "wmh"
    save_nifti(predictions / "sub-03.nii.gz", made())
    capsys.readouterr()
    assert back(predictions, output) == 1
    first, line = capsys.readouterr().err.splitlines()
    assert first == f"error: {predictions}: nothing was written:"
    assert line.startswith(f"  {predictions / 'sub-03.nii.gz'}: ")
    assert message.format(image=raw / "Dataset600_BIDS" / "imagesTr" / "sub-03_0000.nii.gz") in line
    assert not output.exists()


@pytest.mark.parametrize("flair", ["../../elsewhere/sub-01_FLAIR.nii.gz", "/elsewhere/sub-01_FLAIR.nii.gz"])
def test_a_table_that_leads_elsewhere_is_refused(
    raw: Path, tmp_path: Path, flair: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "Dataset600_BIDS").mkdir()
    (raw / "Dataset600_BIDS" / "cases.csv").write_text(f"case,split,subject,flair\nsub-01,test,01,{flair}\n")
    write(tmp_path / "predictions" / "sub-01.nii.gz", np.zeros(SHAPE, np.uint8))
    assert back(tmp_path / "predictions", tmp_path / "wmh") == 1
    error = capsys.readouterr().err
    assert f"cases.csv: {flair}: leads out of {tmp_path / 'wmh'}" in error
    assert "expected the table of cases" in error
    assert not (tmp_path / "wmh").exists()


def test_a_data_set_that_did_not_come_from_bids_is_refused(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "Dataset600_Other").mkdir()
    assert back(tmp_path, tmp_path / "wmh") == 1
    assert "cases.csv: expected the table of cases with subject and flair" in capsys.readouterr().err
