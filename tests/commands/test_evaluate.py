"""``nnUNetv2_sa_unet evaluate`` from its words to its files."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main


def write(path: Path, voxels: dict[tuple[int, int, int], float], dtype: str = "uint8", size: int = 8) -> None:
    array = np.zeros((3, 8, size), dtype=dtype)
    for index, value in voxels.items():
        array[index] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases: found, with other pathology predicted beside; missed; without lesions."""
    references, predictions = tmp_path / "labelsTs", tmp_path / "predictions"
    write(references / "found.nii.gz", {(0, 0, 0): 1, (0, 0, 1): 1})
    write(predictions / "found.nii.gz", {(0, 0, 0): 1, (0, 0, 1): 1, (0, 5, 5): 2})
    write(references / "missed.nii.gz", {(1, 1, 1): 1}, dtype="float32")
    write(predictions / "missed.nii.gz", {})
    write(references / "none.nii.gz", {})
    write(predictions / "none.nii.gz", {(2, 2, 2): 0.7}, dtype="float32")
    return references, predictions


def read(folder: Path) -> tuple[dict[str, dict[str, str]], Any]:
    with (folder / "metrics.csv").open(newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    return rows, json.loads((folder / "metrics_summary.json").read_text())


def evaluate(*words: Path | str) -> int:
    return main(["evaluate", *map(str, words), "-np", "1"])


def test_a_table_of_cases_and_a_summary_are_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(*folders, "-o", tmp_path / "a" / "b") == 0
    rows, summary = read(tmp_path / "a" / "b")
    assert [float(rows[case]["dice"]) for case in ("found", "missed", "none")] == [1, 0, 0]
    assert [rows[case]["h95_mm"] for case in ("found", "missed", "none")] == ["0.0", "", ""]
    assert [rows[case]["avd_percent"] for case in ("found", "missed", "none")] == ["0.0", "100.0", ""]
    assert rows["none"]["prediction_ml"] == "0.003"
    assert summary["cases"] == 3
    assert summary["metrics"]["dice"]["mean"] == pytest.approx(1 / 3)
    assert summary["metrics"]["dice"]["interval"] == [0, 1]
    assert summary["metrics"]["avd_percent"]["mean"] == 50
    assert summary["metrics"]["avd_percent"]["empty"] == ["none"]
    h95 = summary["metrics"]["h95_mm"]
    assert h95 == {"mean": 0, "std": None, "interval": None, "cases": 1, "empty": ["missed", "none"]}
    assert summary["remarks"] == [{"remark": "prediction: only label 1 counted as WMH, 2 left out", "cases": ["found"]}]


def test_the_summary_names_its_folders_from_where_it_lies(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references, predictions = folders
    assert evaluate(references, predictions) == 0
    summary = read(predictions / "evaluation")[1]
    assert (summary["reference_folder"], summary["prediction_folder"]) == ("../../labelsTs", "..")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(references)
    assert evaluate("link", predictions, "-o", "scores") == 0
    summary = read(tmp_path / "scores")[1]
    assert (summary["reference_folder"], summary["prediction_folder"]) == ("../labelsTs", "../predictions")


def test_the_terminal_shows_means_and_names_what_is_empty(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*folders) == 0
    output = capsys.readouterr().out
    lines = {line.split()[0]: line for line in output.splitlines()}
    assert lines["dice"].split() == ["dice", "0.333", "0.577", "0.000", "to", "1.000", "3", "0"]
    assert lines["h95_mm"].split() == ["h95_mm", "0.000", "-", "-", "1", "2:", "missed,", "none"]
    assert "no interval from fewer than two cases" in lines["-:"]
    assert lines["note:"] == "note: prediction: only label 1 counted as WMH, 2 left out (found)"


def test_results_go_below_the_predictions_and_nnunets_summary_stays(folders: tuple[Path, Path]) -> None:
    references, predictions = folders
    (predictions / "summary.json").write_text("nnU-Net's")
    before = {path.name for path in predictions.iterdir()}
    assert evaluate(references, predictions) == 0
    assert {path.name for path in predictions.iterdir()} == before | {"evaluation"}
    assert evaluate(references, predictions, "-o", predictions) == 0
    assert (predictions / "summary.json").read_text() == "nnU-Net's"


def test_a_second_run_writes_the_same_again(folders: tuple[Path, Path]) -> None:
    assert evaluate(*folders) == 0
    first = read(folders[1] / "evaluation")
    assert evaluate(*folders) == 0
    assert read(folders[1] / "evaluation") == first


def test_several_processes_write_the_figures_of_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate(*folders, "-o", tmp_path / "one") == 0
    assert main(["evaluate", *map(str, folders), "-o", str(tmp_path / "two"), "-np", "2"]) == 0
    assert read(tmp_path / "one") == read(tmp_path / "two")


def test_nothing_is_computed_when_files_do_not_match(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    references, predictions = folders
    write(predictions / "found.nii.gz", {}, size=9)
    (predictions / "missed.nii.gz").unlink()
    write(predictions / "extra.nii.gz", {})
    assert evaluate(references, predictions, "-o", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert message.startswith("error: references in ")
    assert "extra: no reference for extra.nii.gz" in message
    assert "found: prediction found.nii.gz is not on the reference's grid: size (9, 8, 3)" in message
    assert "missed: no prediction for missed.nii.gz" in message
    assert not (tmp_path / "out").exists()


def test_an_earlier_result_survives_a_run_that_fails(folders: tuple[Path, Path]) -> None:
    references, predictions = folders
    assert evaluate(references, predictions) == 0
    before = read(predictions / "evaluation")
    write(references / "found.nii.gz", {(0, 0, 0): 255})
    assert evaluate(references, predictions) == 1
    assert read(predictions / "evaluation") == before


def test_a_folder_that_cannot_be_made_is_named(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert evaluate(*folders, "-o", tmp_path / "file") == 1
    assert f"{tmp_path / 'file'}: cannot be written to; choose" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_processes_below_one_is_refused(number: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        main(["evaluate", str(tmp_path), str(tmp_path), f"-np={number}"])
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("side", "values", "message"),
    [
        (
            1,
            np.arange(192, dtype=np.int16),
            "predictions/found.nii.gz: prediction: 191 values from 1 to 191 are no labels",
        ),
        (1, np.linspace(0, 90, 192), "prediction: values from 0.471204 to 90 are neither labels nor probabilities"),
        (1, np.where(np.arange(192) > 3, 0, np.nan), "predictions/found.nii.gz: 4 voxels hold no number (NaN)"),
        (0, np.where(np.arange(192) > 3, 0, np.nan), "labelsTs/found.nii.gz: 4 voxels hold no number (NaN)"),
        (0, np.arange(192, dtype=np.int16), "labelsTs/found.nii.gz: reference: 189 values from 3 to 191"),
    ],
)
def test_what_is_no_mask_is_not_scored(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], side: int, values: np.ndarray, message: str
) -> None:
    image = SimpleITK.GetImageFromArray(values.reshape(3, 8, 8))
    image.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(image, str(folders[side] / "found.nii.gz"))
    assert evaluate(*folders) == 1
    assert message in capsys.readouterr().err
    assert not (folders[1] / "evaluation" / "metrics.csv").exists()


def test_how_a_header_was_read_is_a_note(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = folders[0] / "found.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    # pixdim[1]
    content[80:84] = np.float32(-1).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    prediction = SimpleITK.ReadImage(str(folders[1] / "found.nii.gz"))
    prediction.CopyInformation(SimpleITK.ReadImage(str(path)))
    SimpleITK.WriteImage(prediction, str(folders[1] / "found.nii.gz"))
    assert evaluate(*folders) == 0
    assert "note: reference: pixdim (-1, 1, 3) is below zero: the axis was turned" in capsys.readouterr().out
    rows, _ = read(folders[1] / "evaluation")
    assert rows["found"]["dice"] == "1.0"
