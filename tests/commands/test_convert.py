"""``convert wmh-challenge``: from the challenge's folder to nnU-Net's raw format."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.files import held

WORDS = ("-d", "500", "-np", "1")


def convert(source: Path, *words: str) -> int:
    return main(["convert", "wmh-challenge", str(source), *WORDS, *words])


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def made_in(raw: Path) -> list[str]:
    """What lies in ``nnUNet_raw`` besides locks, which stay but are held by nobody."""
    return [path.name for path in raw.iterdir() if path.suffix != ".lock"]


def values(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def test_the_challenges_folder_becomes_a_data_set(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1") == 0
    out = capsys.readouterr().out
    assert "6 training cases: GE3T 2, Singapore 2, Utrecht 2\n" in out
    assert "second readings: o3 6, o4 6\n" in out
    assert "warning: Utrecht: 2 of the challenge's 20 training cases\n" in out
    folder = raw / "Dataset500_WMHChallenge"
    assert sorted(path.name for path in (folder / "imagesTr").iterdir())[:4] == [
        *("GE3T_100_0000.nii.gz", "GE3T_100_0001.nii.gz", "GE3T_101_0000.nii.gz", "GE3T_101_0001.nii.gz")
    ]
    assert len(list((folder / "labelsTs").iterdir())) == 5
    # The FLAIR is the challenge's file to the last byte.
    flair = challenge_tree.case(52) / "pre" / "FLAIR.nii.gz"
    assert (folder / "imagesTr" / "Singapore_052_0000.nii.gz").read_bytes() == flair.read_bytes()
    label = values(folder / "labelsTr" / "Singapore_052.nii.gz")
    assert label.dtype == np.uint8
    assert np.array_equal(label, values(challenge_tree.case(52) / "wmh.nii.gz"))
    assert set(np.unique(label)) == {0, 1, 2}
    reading = values(folder / "observersTr" / "o3" / "Singapore_052.nii.gz")
    assert (reading == 1).sum() > (label == 1).sum()
    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["channel_names"] == {"0": "FLAIR", "1": "T1"}
    assert dataset["labels"] == {"background": 0, "WMH": 1, "ignore": 2}
    assert dataset["numTraining"] == 6
    with (folder / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[6] == {
        "case": "GE1T5_150",
        "split": "test",
        "scanner": "GE1T5",
        "model": "GE Signa HDxt 1.5T",
        "site": "Amsterdam",
        "id": "150",
    }
    splits = json.loads((folder / "splits_final.json").read_text())
    assert sorted(case for split in splits for case in split["val"]) == [row["case"] for row in rows[:6]]


@pytest.mark.parametrize(
    ("other", "labels", "found"),
    [
        ("ignore", {"background": 0, "WMH": 1, "ignore": 2}, {0, 1, 2}),
        ("class", {"background": 0, "WMH": 1, "other": 2}, {0, 1, 2}),
        ("background", {"background": 0, "WMH": 1}, {0, 1}),
    ],
)
def test_other_pathology_is_what_was_asked_for(
    challenge_tree: Any, raw: Path, other: str, labels: dict[str, int], found: set[int]
) -> None:
    assert convert(challenge_tree.root, "--other", other) == 0
    folder = raw / "Dataset500_WMHChallenge"
    assert json.loads((folder / "dataset.json").read_text())["labels"] == labels
    assert set(np.unique(values(folder / "labelsTr" / "Utrecht_000.nii.gz"))) == found
    # The test set is scored as the challenge does, which leaves label 2 out.
    assert set(np.unique(values(folder / "labelsTs" / "Utrecht_001.nii.gz"))) == {0, 1, 2}


def test_without_the_test_cases_and_with_the_original_images(challenge_tree: Any, raw: Path) -> None:
    assert convert(challenge_tree.root, "--no-test", "--original") == 0
    folder = raw / "Dataset500_WMHChallenge"
    assert not (folder / "imagesTs").exists()
    original = challenge_tree.case(0) / "orig" / "FLAIR.nii.gz"
    assert (folder / "imagesTr" / "Utrecht_000_0000.nii.gz").read_bytes() == original.read_bytes()


def test_the_same_again_changes_nothing(challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(challenge_tree.root) == 0
    before = contents(raw)
    # The folder may have been moved.
    challenge_tree.root.rename(challenge_tree.root.parent / "moved")
    assert convert(challenge_tree.root.parent / "moved") == 0
    assert contents(raw) == before
    assert "There already, and nothing was changed" in capsys.readouterr().out


def test_a_data_set_that_another_run_writes_is_left_alone(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(raw / "Dataset500_WMHChallenge", beside=True):
        assert convert(challenge_tree.root) == 1
    assert "Dataset500_WMHChallenge: another run is writing there" in capsys.readouterr().err
    assert made_in(raw) == []


def test_nnunet_turns_every_image_to_ras_and_finds_channels_and_label_on_one_grid(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same head, stored in another order and direction.
    for path in challenge_tree.case(50).glob("*/*.nii.gz"):
        image: Any = nibabel.load(path)
        turned = image.as_reoriented([[2, -1], [0, 1], [1, -1]])
        target = challenge_tree.case(52) / path.relative_to(challenge_tree.case(50))
        nibabel.save(turned, target)
    label: Any = nibabel.load(challenge_tree.case(50) / "wmh.nii.gz")
    nibabel.save(label.as_reoriented([[2, -1], [0, 1], [1, -1]]), challenge_tree.case(52) / "wmh.nii.gz")
    for path in (challenge_tree.root / "additional_annotations").rglob("52/*.nii.gz"):
        nibabel.save(label.as_reoriented([[2, -1], [0, 1], [1, -1]]), path)
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1") == 0
    folder = raw / "Dataset500_WMHChallenge"
    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
    assert json.loads((folder / "conversion.json").read_text())["reader"] == "NibabelIOWithReorient"
    capsys.readouterr()

    reader = determine_reader_writer_from_dataset_json(dataset, verbose=False)()
    seen = {}
    for case in ("Utrecht_000", "Singapore_050", "Singapore_052", "GE3T_100"):
        images = [str(folder / "imagesTr" / f"{case}_000{channel}.nii.gz") for channel in (0, 1)]
        data, properties = reader.read_images(images)
        mask, of_mask = reader.read_seg(str(folder / "labelsTr" / f"{case}.nii.gz"))
        assert of_mask["spacing"] == properties["spacing"]
        affines = [found["nibabel_stuff"]["original_affine"] for found in (properties, of_mask)]
        assert np.array_equal(*affines)
        seen[case] = np.concatenate([data, mask])
    assert capsys.readouterr().out == "", "nnU-Net warns of geometries that differ"
    assert np.array_equal(seen["Singapore_050"], seen["Singapore_052"])


def test_a_data_set_of_an_older_version_is_the_same_and_keeps_its_reader(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(challenge_tree.root) == 0
    assert "older version" not in capsys.readouterr().out
    folder = raw / "Dataset500_WMHChallenge"
    for name, key in (("dataset.json", "overwrite_image_reader_writer"), ("conversion.json", "reader")):
        content = json.loads((folder / name).read_text())
        del content[key]
        (folder / name).write_text(json.dumps(content))
    before = contents(raw)
    assert convert(challenge_tree.root) == 0
    assert contents(raw) == before
    printed = capsys.readouterr().out
    assert "There already, and nothing was changed" in printed
    assert "note: an older version made it: nnU-Net reads its images in the order of their voxels" in printed

    (folder / "labelsTr" / "GE3T_100.nii.gz").unlink()
    (folder / "dataset.json").unlink()
    assert convert(challenge_tree.root) == 0
    assert "overwrite_image_reader_writer" not in json.loads((folder / "dataset.json").read_text())
    assert convert(challenge_tree.root, "--force", "--other", "class") == 0
    assert "overwrite_image_reader_writer" in json.loads((folder / "dataset.json").read_text())


def test_a_file_that_was_lost_is_made_again_and_nothing_else(challenge_tree: Any, raw: Path) -> None:
    assert convert(challenge_tree.root) == 0
    folder = raw / "Dataset500_WMHChallenge"
    (folder / "splits_final.json").write_text("[]")
    lost = folder / "labelsTr" / "GE3T_100.nii.gz"
    content = lost.read_bytes()
    lost.unlink()
    assert convert(challenge_tree.root) == 0
    assert lost.read_bytes() == content
    assert (folder / "splits_final.json").read_text() == "[]"


def test_a_different_data_set_is_kept_unless_forced(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(challenge_tree.root) == 0
    before = contents(raw)
    assert convert(challenge_tree.root, "--other", "class") == 1
    error = capsys.readouterr().err
    assert "Dataset500_WMHChallenge: exists and is not what would be made" in error
    assert "replace it with --force" in error
    assert contents(raw) == before
    assert convert(challenge_tree.root, "--other", "class", "--force") == 0
    assert json.loads((raw / "Dataset500_WMHChallenge" / "dataset.json").read_text())["labels"]["other"] == 2
    assert made_in(raw) == ["Dataset500_WMHChallenge"]


def test_a_folder_of_somebody_else_is_kept(challenge_tree: Any, raw: Path) -> None:
    (raw / "Dataset500_WMHChallenge").mkdir()
    (raw / "Dataset500_WMHChallenge" / "mine.txt").write_text("mine")
    assert convert(challenge_tree.root) == 1
    assert (raw / "Dataset500_WMHChallenge" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["raw", "preprocessed", "results"])
def test_a_number_that_is_taken_is_refused(
    challenge_tree: Any, raw: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw.parent / place / "Dataset500_Other").mkdir()
    assert convert(challenge_tree.root) == 1
    assert "has the same number as Dataset500_WMHChallenge: choose another with -d" in capsys.readouterr().err


def test_images_are_linked_where_a_copy_would_be_the_same(challenge_tree: Any, raw: Path) -> None:
    modes = {path: path.stat().st_mode for path in challenge_tree.root.rglob("*.nii.gz")}
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1", "--link") == 0
    folder = raw / "Dataset500_WMHChallenge" / "imagesTr"
    assert (folder / "Utrecht_000_0000.nii.gz").readlink() == challenge_tree.case(0) / "pre" / "FLAIR.nii.gz"
    # The T1's header differs from the FLAIR's: it is written with the FLAIR's.
    t1 = folder / "Utrecht_000_0001.nii.gz"
    assert not t1.is_symlink()
    directions = [SimpleITK.ReadImage(str(path)).GetDirection() for path in (t1, folder / "Utrecht_000_0000.nii.gz")]
    assert np.allclose(*directions, rtol=0, atol=1e-8)
    assert {path: path.stat().st_mode for path in modes} == modes


def test_links_follow_a_source_that_was_moved(challenge_tree: Any, raw: Path) -> None:
    assert convert(challenge_tree.root, "--link") == 0
    moved = challenge_tree.root.rename(challenge_tree.root.parent / "moved")
    assert convert(moved, "--link") == 0
    assert (raw / "Dataset500_WMHChallenge" / "imagesTr" / "Utrecht_000_0000.nii.gz").is_file()


def damage(challenge_tree: Any) -> list[str]:
    """Damage files in every way, and return the message of each."""
    messages = []

    def rewrite(number: int, name: str, message: str, **changes: Any) -> None:
        path = challenge_tree.case(number) / name
        image = SimpleITK.ReadImage(str(path))
        array = changes.pop("array", lambda values: values)(SimpleITK.GetArrayFromImage(image))
        new = SimpleITK.GetImageFromArray(array)
        if array.shape == image.GetSize()[::-1]:
            new.CopyInformation(image)
        for field, value in changes.items():
            getattr(new, f"Set{field}")(value)
        SimpleITK.WriteImage(new, str(path))
        messages.append(f"{path}: {message}")

    rewrite(1, "pre/FLAIR.nii.gz", "every voxel is 0; expected an image", array=np.zeros_like)
    rewrite(2, "wmh.nii.gz", "labels 3; expected 0 (background), 1 (WMH)", array=lambda v: np.where(v == 2, 3, v))
    rewrite(50, "wmh.nii.gz", "not on the grid of FLAIR.nii.gz: size (36, 44, 11)", array=lambda v: v[1:])
    rewrite(
        51, "pre/T1.nii.gz", "not on the grid of FLAIR.nii.gz: origin (-12.3, 45.6, -7.7)", Origin=(-12.3, 45.6, -7.7)
    )
    rewrite(52, "wmh.nii.gz", "2 axes and 1 channels; expected a 3D image", array=lambda v: v[0])
    rewrite(0, "wmh.nii.gz", "not on the grid of FLAIR.nii.gz: origin (87.7, 45.6, -7.8)", Origin=(87.7, 45.6, -7.8))
    gone = challenge_tree.case(150) / "wmh.nii.gz"
    gone.unlink()
    messages.append(f"{gone}: there is no such file")
    text = challenge_tree.case(103) / "wmh.nii.gz"
    text.write_text("this is no NIfTI file")
    messages.append(f"{text}: cannot be read: ")
    unknown = challenge_tree.root / "training" / "Munich"
    unknown.mkdir()
    messages.append(f"{unknown}: unknown folder; expected Utrecht, Singapore, Amsterdam")
    for number, kept, message in ((100, 0.6, "cannot be read: "), (101, 0, "the file is empty (0 bytes)")):
        path = challenge_tree.case(number) / "pre" / "FLAIR.nii.gz"
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        messages.append(f"{path}: {message}")
    return messages


def test_everything_that_is_wrong_is_named_in_one_report_before_anything_is_written(
    challenge_tree: Any, raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = damage(challenge_tree)
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1") == 1
    error = capsys.readouterr().err
    for message in messages:
        assert message in error
    assert error.count("\n  ") == len(messages)
    assert made_in(raw) == []


@pytest.mark.parametrize("word", ["1000", "Dataset5_x", "Dataset500_a__b", "five"])
def test_a_word_that_names_no_data_set_is_refused(
    challenge_tree: Any, raw: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "wmh-challenge", str(challenge_tree.root), "-d", word]) == 1
    assert f"-d: found {word}, expected a number from 0 to 999 or a name" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_behind(
    challenge_tree: Any, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert convert(challenge_tree.root) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert made_in(raw) == []


def test_a_run_after_a_kill_finishes_the_job(challenge_tree: Any, raw: Path) -> None:
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1") == 0
    finished = raw / "Dataset500_WMHChallenge"
    expected = {name: content for name, (content, _) in contents(finished).items()}
    shutil.rmtree(finished)
    program = [sys.executable, "-m", "nnunetv2_sa_unet.commands.main", "convert", "wmh-challenge"]
    words = [str(challenge_tree.root), *WORDS, "--channels", "FLAIR,T1"]
    staging = raw / ".Dataset500_WMHChallenge.partial"
    process = subprocess.Popen([*program, *words], env=os.environ, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(staging.glob("labelsTr/[!.]*")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    assert not finished.exists()
    kept = next(staging.glob("labelsTr/[!.]*"))
    written = kept.stat().st_mtime_ns
    missing = next(name for name in sorted(expected) if not (staging / name).exists())
    half_written = staging / missing
    half_written.with_name(f".{half_written.name}.abcdefgh{''.join(half_written.suffixes[-2:])}").touch()
    assert convert(challenge_tree.root, "--channels", "FLAIR,T1") == 0
    assert {name: content for name, (content, _) in contents(finished).items()} == expected
    assert (finished / "labelsTr" / kept.name).stat().st_mtime_ns == written
    assert made_in(raw) == [finished.name]


def test_missing_files_of_a_data_set_are_made_again_and_the_users_own_stay(
    challenge_tree: Any, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(challenge_tree.root) == 0
    folder = raw / "Dataset500_WMHChallenge"
    expected = {name: content for name, (content, _) in contents(folder).items()}
    image = next(folder.glob("imagesTr/*"))
    image.unlink()
    own = folder / "imagesTr" / ".notes.nii.gz"
    own.touch()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        assert convert(challenge_tree.root) == 1
    assert f"{folder}: cannot be made" in capsys.readouterr().err
    half_written = image.with_name(f".{image.name}.abcdefgh.nii.gz")
    half_written.touch()
    assert convert(challenge_tree.root) == 0
    assert own.exists()
    own.unlink()
    assert {name: content for name, (content, _) in contents(folder).items()} == expected


def test_what_a_kill_left_of_another_conversion_is_not_used(challenge_tree: Any, raw: Path) -> None:
    staging = raw / ".Dataset500_WMHChallenge.partial"
    (staging / "labelsTr").mkdir(parents=True)
    (staging / "labelsTr" / "Utrecht_000.nii.gz").write_text("of another conversion")
    (staging / "conversion.json").write_text("{}")
    assert convert(challenge_tree.root) == 0
    label = raw / "Dataset500_WMHChallenge" / "labelsTr" / "Utrecht_000.nii.gz"
    assert np.array_equal(values(label), values(challenge_tree.case(0) / "wmh.nii.gz"))


def test_several_processes_make_the_same_data_set(challenge_tree: Any, raw: Path) -> None:
    assert convert(challenge_tree.root) == 0
    alone = {name: content for name, (content, _) in contents(raw).items()}
    shutil.rmtree(raw / "Dataset500_WMHChallenge")
    assert convert(challenge_tree.root, "-np", "2") == 0
    assert {name: content for name, (content, _) in contents(raw).items()} == alone
