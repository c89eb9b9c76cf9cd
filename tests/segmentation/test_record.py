"""The record of a run, its table, and the images it was made from."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.lesion_sizes import lesion_load
from nnunetv2_sa_unet.segmentation.record import Decision, Input, LeftOut, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import (
    JOURNAL_NAME,
    claimed_files,
    has_record,
    read_input,
    read_segmentation,
    start_journal,
    write_journal,
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
            Subject(
                subject="a",
                status="ok",
                message="",
                inputs=[source],
                mask="a_wmh.nii.gz",
                decision=Decision(threshold=0.4),
                made_with={"torch": "2.5"},
                **vars(load),
            ),
            Subject(subject="b", status="failed", message="cut, short", inputs=[Input(path="/b.nii", sha256=None)]),
        ],
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path, segmentation: Segmentation) -> None:
    write_segmentation(tmp_path, segmentation)
    assert read_segmentation(tmp_path) == segmentation


def test_rows_of_an_earlier_version_learn_from_their_header_how_they_were_made(
    tmp_path: Path, segmentation: Segmentation
) -> None:
    write_segmentation(tmp_path, segmentation)
    path = tmp_path / "volumes.json"
    document = json.loads(path.read_text())
    del document["segmentation_version"], document["model"]["orientation"]
    for row in document["subjects"]:
        for name in ("decision", "made_with", "orientation", "alternatives", "alternatives_sha256"):
            del row[name]
    path.write_text(json.dumps(document))
    found = read_segmentation(tmp_path)
    assert found.segmentation_version == 1
    assert found.subjects[0].decision == Decision(threshold=0.4)
    assert found.subjects[0].made_with == {"nnunetv2_sa_unet": "1", "torch": "2.5", "device": "cpu"}
    assert found.subjects[1] == segmentation.subjects[1]


def test_the_journal_of_a_run_goes_before_the_record_without_a_line_that_was_cut(
    tmp_path: Path, segmentation: Segmentation
) -> None:
    header = segmentation.model_copy(update={"subjects": []})
    first, failed = segmentation.subjects
    # A run that was killed before its first record.
    start_journal(tmp_path, header, [Path("a_wmh.nii.gz")])
    write_journal(tmp_path, first)
    with (tmp_path / JOURNAL_NAME).open("ab") as stream:
        stream.write(b'{"subject": "b", "sta')
    assert has_record(tmp_path)
    assert claimed_files(tmp_path) == ["a_wmh.nii.gz"]
    assert read_segmentation(tmp_path) == segmentation.model_copy(update={"subjects": [first]})
    # One that went on with other options.
    write_segmentation(tmp_path, segmentation)
    assert not (tmp_path / JOURNAL_NAME).exists()
    later = header.model_copy(update={"options": Options(threshold=0.2)})
    start_journal(tmp_path, later, [])
    again = failed.model_copy(update={"message": "again"})
    write_journal(tmp_path, again)
    assert read_segmentation(tmp_path) == later.model_copy(update={"subjects": [first, again]})


def test_a_damaged_line_within_the_journal_is_refused(tmp_path: Path, segmentation: Segmentation) -> None:
    start_journal(tmp_path, segmentation, [])
    with (tmp_path / JOURNAL_NAME).open("ab") as stream:
        stream.write(b"\0\0\0\n")
    assert read_segmentation(tmp_path).subjects == []
    write_journal(tmp_path, segmentation.subjects[0])
    with pytest.raises(InputError, match=r"volumes\.jsonl: line 2: .*; expected JSON"):
        read_segmentation(tmp_path)


def test_the_table_does_not_mix_masks_that_were_decided_differently(tmp_path: Path, segmentation: Segmentation) -> None:
    write_segmentation(tmp_path, segmentation.model_copy(update={"options": Options(threshold=0.2)}))
    with (tmp_path / "volumes.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert (row["volume_ml"], row["status"]) == ("", "failed")
    assert row["message"] == "its mask was made with other options; give the last command again"


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
        *("quality", "quality_noise", "quality_ghosting", "quality_border_cm2", "quality_top_share", "quality_fluid"),
        *("status", "message"),
    ]
    assert rows[1] == [
        "a",
        "0.002",
        "1",
        "0.002",
        "1",
        "0",
        "0",
        "0",
        "0.002",
        "0.0",
        "0.0",
        "0.0",
        *[""] * 6,
        "ok",
        "",
    ]
    assert rows[2] == ["b", *[""] * 17, "failed", "cut, short"]


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
    with pytest.raises(InputError, match=r"volumes.json: subjects.1.status: found lost: Input should be 'ok', "):
        read_segmentation(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"volumes.json: content: Invalid JSON"):
        read_segmentation(tmp_path)


def test_files_hold_paths_relative_to_their_folder_and_memory_absolute_ones(
    tmp_path: Path, segmentation: Segmentation
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    failed = Subject(
        subject="c",
        status="failed",
        message=f"{tmp_path}/in/c.nii: is empty",
        inputs=[Input(path=f"{tmp_path}/in/c.nii", sha256=None)],
        exclude=Input(path=f"{tmp_path}/masks/c.nii", sha256=None),
    )
    written = segmentation.model_copy(
        update={
            "options": segmentation.options.model_copy(update={"exclude": f"{tmp_path}/masks"}),
            "subjects": [segmentation.subjects[0], failed],
            "left_out": [LeftOut(path=f"{tmp_path}/in/x.mgz", reason="not read", harmless=False)],
        }
    )
    shorter = failed.model_copy(update={"message": "c.nii: is empty"})
    start_journal(out, written.model_copy(update={"subjects": []}), [])
    write_journal(out, failed)
    assert str(tmp_path) not in (out / JOURNAL_NAME).read_text()
    assert read_segmentation(out).subjects == [shorter]
    write_segmentation(out, written)
    for name in ("volumes.json", "volumes.csv"):
        assert str(tmp_path) not in (out / name).read_text()
    assert read_segmentation(out) == written.model_copy(update={"subjects": [segmentation.subjects[0], shorter]})
    # They may be moved together.
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert read_input(read_segmentation(moved / "out").subjects[0]).GetSize() == (5, 4, 3)


@pytest.mark.parametrize(
    ("key", "value"), [("volume_ml", -0.2), ("volume_ml", "much"), ("lesions", -1), ("ml_by_size", {"small": -1})]
)
def test_values_that_no_run_writes_are_named(segmentation: Segmentation, tmp_path: Path, key: str, value: Any) -> None:
    write_segmentation(tmp_path, segmentation)
    record = json.loads((tmp_path / "volumes.json").read_text())
    record["subjects"][0][key] = value
    (tmp_path / "volumes.json").write_text(json.dumps(record))
    found = value["small"] if isinstance(value, dict) else value
    with pytest.raises(InputError, match=rf"volumes\.json: subjects\.0\.{key}.*: found {found}: Input should be"):
        read_segmentation(tmp_path)
