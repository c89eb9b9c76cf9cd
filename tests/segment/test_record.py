"""The record of a run, its table, and the images it was made from."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.lesion_sizes import lesion_load
from nnunetv2_sa_unet.segment.record import (
    Input,
    Model,
    Options,
    Segmentation,
    Subject,
    read_input,
    read_segmentation,
    write_segmentation,
)


@pytest.fixture
def segmentation(tmp_path: Path) -> Segmentation:
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    path = tmp_path / "a.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    wmh = np.zeros((3, 4, 5), bool)
    wmh[1, 2, 2:4] = True
    load = lesion_load(wmh, 1.0)
    source = Input(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return Segmentation(
        nnunetv2_sa_unet="1",
        versions={"torch": "2.5"},
        model=Model(
            folder="/model",
            dataset="Dataset001_A",
            trainer="T",
            plans="P",
            configuration="3d_fullres",
            folds=[0, "all"],
            checkpoint="checkpoint_final.pth",
            sha256={"plans.json": "0"},
        ),
        options=Options(threshold=0.4),
        subjects=[
            Subject(subject="a", status="ok", message="", inputs=[source], mask="a_wmh.nii.gz", **vars(load)),
            Subject(subject="b", status="failed", message="cut, short", inputs=[Input(path="/b.nii", sha256=None)]),
        ],
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path, segmentation: Segmentation) -> None:
    write_segmentation(tmp_path, segmentation)
    assert read_segmentation(tmp_path) == segmentation


def test_the_table_has_a_row_a_subject_and_empty_fields_for_what_failed(
    tmp_path: Path, segmentation: Segmentation
) -> None:
    write_segmentation(tmp_path, segmentation)
    with (tmp_path / "volumes.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == [
        *("subject", "volume_ml", "lesions", "largest_ml"),
        *("lesions_below_15_mm3", "lesions_15_to_500_mm3", "lesions_500_to_4000_mm3", "lesions_from_4000_mm3"),
        *("ml_below_15_mm3", "ml_15_to_500_mm3", "ml_500_to_4000_mm3", "ml_from_4000_mm3"),
        *("status", "message"),
    ]
    assert rows[1] == ["a", "0.002", "1", "0.002", "1", "0", "0", "0", "0.002", "0.0", "0.0", "0.0", "ok", ""]
    assert rows[2] == ["b", *[""] * 11, "failed", "cut, short"]


def test_the_image_of_a_subject_is_read_again(segmentation: Segmentation) -> None:
    values = SimpleITK.GetArrayFromImage(read_input(segmentation.subjects[0]))
    np.testing.assert_array_equal(values.ravel(), np.arange(60))
    with pytest.raises(InputError, match=r"^/b\.nii: there is no such file"):
        read_input(segmentation.subjects[1])


def test_the_image_of_a_series_is_read_again(tmp_path: Path, write_series: Callable[..., list[Path]]) -> None:
    values = np.arange(60).reshape(3, 4, 5)
    files = [path.name for path in write_series(tmp_path, values)]
    series = Input(path=str(tmp_path), sha256="0", series_uid="1.2", files=files)
    subject = Subject(subject="a", status="ok", message="", inputs=[series])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_input(subject)), values)
    (tmp_path / files[1]).unlink()
    with pytest.raises(InputError, match=f"^{tmp_path / files[1]}: cannot be read: "):
        read_input(subject)


def test_a_folder_without_a_record_and_a_record_of_another_kind_are_refused(
    tmp_path: Path, segmentation: Segmentation
) -> None:
    with pytest.raises(InputError, match=r"volumes.json: there is no such file; expected a folder that"):
        read_segmentation(tmp_path)
    write_segmentation(tmp_path, segmentation)
    path = tmp_path / "volumes.json"
    document = json.loads(path.read_text())
    document["subjects"][1]["status"] = "lost"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"volumes.json: subjects.1.status: Input should be 'ok', "):
        read_segmentation(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"volumes.json: content: Invalid JSON"):
        read_segmentation(tmp_path)
