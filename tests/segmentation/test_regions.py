"""Regions in the files and the row of a subject, with the registration replaced by a known one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.regions.assignment import LABELS, REGIONS, RegionLoad
from nnunetv2_sa_unet.regions.location import Location
from nnunetv2_sa_unet.segmentation import regions
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.ownership import written_files
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation, write_segmentation
from nnunetv2_sa_unet.segmentation.regions import has_regions, with_regions

SHAPE = (3, 4, 5)


@pytest.fixture
def found(tmp_path: Path) -> FoundSubject:
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(SHAPE))
    mask = SimpleITK.GetImageFromArray((np.arange(60) == 7).astype(np.uint8).reshape(SHAPE))
    for each, name in ((image, "a.nii.gz"), (mask, "a_wmh.nii.gz")):
        SimpleITK.WriteImage(each, str(tmp_path / name))
    return FoundSubject("a", (Input(path=str(tmp_path / "a.nii.gz"), sha256=None),))


@pytest.fixture
def row(tmp_path: Path, found: FoundSubject) -> Subject:
    digest = sha256([tmp_path / "a_wmh.nii.gz"])
    return Subject(
        subject="a", status="ok", message="", inputs=list(found.inputs), mask="a_wmh.nii.gz", mask_sha256=digest,
        volume_ml=3.0, lesions=1, largest_ml=3.0, lesions_by_size={}, ml_by_size={},
    )  # fmt: skip


def known(monkeypatch: pytest.MonkeyPatch, answer: Location | str) -> None:
    monkeypatch.setattr(regions, "locate", lambda flair, wmh, rule: answer)


LOCATION = Location(
    labels=np.full(SHAPE, LABELS["deep_right"], np.uint8),
    load=RegionLoad(
        ml=dict.fromkeys(list(LABELS)[:-1], 0.0) | {"deep_right": 2.0, "deep_left": 1.0},
        lesions=dict.fromkeys(REGIONS, 0) | {"deep": 1},
    ),
    icv_ml=1500.0,
)


def table(folder: Path, row: Subject, rule: str | None) -> dict[str, str]:
    model = Model(folder="/m", dataset="D", trainer="T", plans="P", configuration="c", folds=[0], checkpoint="x",
                  sha256={})  # fmt: skip
    options = Options(regions=rule)  # type: ignore[arg-type]
    record = Segmentation(nnunetv2_sa_unet="1", versions={}, model=model, options=options, subjects=[row])
    write_segmentation(folder, record)
    assert read_segmentation(folder).subjects[0].regions == row.regions
    with (folder / "volumes.csv").open(newline="") as stream:
        return next(csv.DictReader(stream))


def test_a_map_a_record_and_columns(
    tmp_path: Path, found: FoundSubject, row: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, LOCATION)
    assert not has_regions(tmp_path, row, "voxel")
    assert has_regions(tmp_path, row, None)

    made = with_regions(tmp_path, found, row, "voxel")

    assert (made.status, made.message) == ("ok", "")
    path = tmp_path / "a_regions.nii.gz"
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), LOCATION.labels)
    assert path in set(written_files(tmp_path, made))
    assert has_regions(tmp_path, made, "voxel")
    assert not has_regions(tmp_path, made, "confluent")
    values = table(tmp_path, made, "voxel")
    assert (values["ml_deep"], values["ml_left"], values["ml_right"]) == ("3.0", "1.0", "2.0")
    assert (values["lesions_deep"], values["icv_ml"], values["wmh_percent_icv"]) == ("1", "1500.0", "0.2")
    assert values["registration"] == "ok"
    # Another rule, or none, has other columns.
    assert table(tmp_path, made, "confluent")["ml_deep"] == ""
    assert "ml_deep" not in table(tmp_path, made, None)
    # A map that somebody changed is made again.
    path.write_bytes(b"")
    assert not has_regions(tmp_path, made, "voxel")


def test_where_the_registration_failed_there_is_a_warning_and_no_number(
    tmp_path: Path, found: FoundSubject, row: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, LOCATION)
    before = with_regions(tmp_path, found, row, "voxel")
    known(monkeypatch, "nothing like a brain was found")

    made = with_regions(tmp_path, found, before, "confluent")

    assert made.status == "warning"
    assert made.message == "regions: the registration to the atlas failed: nothing like a brain was found"
    assert not (tmp_path / "a_regions.nii.gz").exists()
    values = table(tmp_path, made, "confluent")
    assert {values[name] for name in ("ml_deep", "lesions_deep", "ml_left", "icv_ml", "wmh_percent_icv")} == {""}
    assert (values["registration"], values["volume_ml"]) == ("failed", "3.0")
    assert has_regions(tmp_path, made, "confluent")
    # Where it succeeds later, nothing is left of it.
    known(monkeypatch, LOCATION)
    assert with_regions(tmp_path, found, made, "voxel") == before


def test_in_bids_the_map_has_a_derivatives_name_and_says_what_its_values_mean(
    tmp_path: Path, found: FoundSubject, row: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, LOCATION)
    subject = FoundSubject("sub-1", found.inputs, volume=Path("sub-1/anat/sub-1_FLAIR.nii.gz"))
    made = with_regions(tmp_path, subject, row, "voxel")
    assert made.regions is not None
    assert made.regions.map == "sub-1/anat/sub-1_desc-regions_dseg.nii.gz"
    about = json.loads((tmp_path / "sub-1/anat/sub-1_desc-regions_dseg.json").read_text())
    assert about["LabelMap"]["9"] == "lateral_ventricles"
    assert about["Sources"] == ["bids:raw:sub-1/anat/sub-1_FLAIR.nii.gz"]
    assert (tmp_path / "sub-1/anat/sub-1_desc-regions_dseg.json") in set(written_files(tmp_path, made))
