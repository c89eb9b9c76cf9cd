"""Subjects that are refused before the network sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from nnunetv2_sa_unet.segmentation import run
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.orientation import Grid
from nnunetv2_sa_unet.segmentation.pipeline import Ready
from nnunetv2_sa_unet.segmentation.preparation import Job, Prepared
from nnunetv2_sa_unet.segmentation.record import Input, Options, Subject
from nnunetv2_sa_unet.segmentation.run import segment_all


@pytest.fixture
def channels(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"a_{channel:04}.nii.gz" for channel in range(2)]
    for path, spacing in zip(paths, (3.0, 3.5), strict=True):
        image = SimpleITK.GetImageFromArray(np.random.default_rng(0).random((4, 8, 8)))
        image.SetSpacing((1, 1, spacing))
        SimpleITK.WriteImage(image, str(path))
    return paths


def refused(folder: Path, found: FoundSubject) -> Subject:
    """The record of a subject that no network is needed for."""
    records: list[Subject] = []
    # Nothing has been loaded into it: a subject that came so far would fail in another way.
    job = Job(object.__new__(Segmenter), Options(), folder / "out", {}, {}, {})
    segment_all(job, [found], lambda record, is_new: records.append(record))
    (record,) = records
    assert (record.subject, record.status, record.mask, record.volume_ml) == (found.name, "failed", None, None)
    return record


def test_channels_on_different_grids_are_refused_with_their_hashes(tmp_path: Path, channels: list[Path]) -> None:
    record = refused(tmp_path, FoundSubject("a", tuple(Input(path=str(path), sha256=None) for path in channels)))
    assert record.message == (
        f"{channels[1]}: not on the grid of a_0000.nii.gz: spacing (1, 1, 3.5), expected (1, 1, 3)"
    )
    assert [each.sha256 for each in record.inputs] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in channels
    ]


def test_what_was_wrong_when_it_was_found_is_the_message(tmp_path: Path, channels: list[Path]) -> None:
    found = FoundSubject("a", (Input(path=str(channels[0]), sha256=None),), "channels 0000\nfound; two are needed")
    assert refused(tmp_path, found).message == "channels 0000 found; two are needed"


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    found = FoundSubject("a", (Input(path=str(tmp_path / "gone.nii"), sha256=None),))
    assert refused(tmp_path, found).message.startswith(f"{tmp_path / 'gone.nii'}: cannot be read: ")


def test_large_volumes_are_prepared_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 8, 8), np.uint8))
    subjects = []
    for index in range(5):
        path = tmp_path / f"s{index}.nii"
        SimpleITK.WriteImage(image, str(path))
        subjects.append(FoundSubject(f"s{index}", (Input(path=str(path), sha256=None),)))
    under_way: set[str] = set()
    most: list[int] = []

    def stub_prepare(job: Job, found: FoundSubject) -> Prepared:
        under_way.add(found.name)
        most.append(len(under_way))
        return Prepared(found, [], None, Ready(Grid(image, "LPS"), None, [], [], {}))

    def stub_export(job: Job, prepared: Prepared, logits: None) -> Subject:
        under_way.remove(prepared.found.name)
        return Subject(subject=prepared.found.name, status="ok", message="", inputs=[])

    monkeypatch.setattr(run, "prepare", stub_prepare)
    monkeypatch.setattr(run, "export", stub_export)
    for limit, expected in ((10**9, 5), (2 * 256, 2), (1, 1)):
        monkeypatch.setattr(run, "_VOXELS_UNDER_WAY", limit)
        most.clear()
        names: list[str] = []
        job = Job(object.__new__(Segmenter), Options(), tmp_path, {}, {}, {})
        segment_all(job, subjects, lambda row, is_new, names=names: names.append(row.subject))
        assert sorted(names) == [subject.name for subject in subjects]
        assert max(most) <= expected


def test_the_next_is_prepared_and_the_last_exported_while_the_network_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a GPU would wait for them."""
    names = [f"s{number}" for number in range(4)]
    begun = {(what, name): Event() for what in ("prepare", "export") for name in names}

    class Network:
        def predict(self, image: torch.Tensor) -> np.ndarray[Any, Any]:
            number = int(image)
            assert number == 3 or begun["prepare", names[number + 1]].wait(20)
            assert number == 0 or begun["export", names[number - 1]].wait(20)
            return np.zeros(1)

    def stub_prepare(job: Job, found: FoundSubject) -> Prepared:
        begun["prepare", found.name].set()
        grid = Grid(SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8), "LPS")
        return Prepared(found, [], None, Ready(grid, None, [], [], {}, torch.tensor(names.index(found.name))))

    def stub_export(job: Job, prepared: Prepared, logits: Any) -> Subject:
        begun["export", prepared.found.name].set()
        return Subject(subject=prepared.found.name, status="ok", message="", inputs=[])

    monkeypatch.setattr(run, "prepare", stub_prepare)
    monkeypatch.setattr(run, "export", stub_export)
    rows: list[Subject] = []
    network: Any = Network()
    job = Job(network, Options(), tmp_path, {}, {}, {})
    segment_all(job, [FoundSubject(name, ()) for name in names], lambda row, is_new: rows.append(row))
    assert [row.status for row in rows] == ["ok"] * 4


@pytest.mark.parametrize("preamble", [True, False])
def test_a_file_of_many_slices_counts_with_all_of_them(tmp_path: Path, preamble: bool) -> None:
    made = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3.4"
    made.Rows, made.Columns, made.NumberOfFrames, made.BitsAllocated = 8, 6, 5, 16
    made.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(5)]
    made.PixelData = bytes(8 * 6 * 5 * 2)
    made.save_as(tmp_path / "IM1")
    if not preamble:
        (tmp_path / "IM1").write_bytes((tmp_path / "IM1").read_bytes()[132:])
    one = Input(path=str(tmp_path), sha256=None, files=["IM1"])
    assert run._voxels(FoundSubject("a", (one,))) == 8 * 6 * 5
    assert run._voxels(FoundSubject("a", (Input(path=str(tmp_path), sha256=None, files=["gone"]),))) == 0


def test_the_hash_of_an_image_covers_the_file_of_its_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.mhd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(60.0).reshape(3, 4, 5)), str(path))
    found = FoundSubject("a", (Input(path=str(path), sha256=None),), "no matter")
    before = refused(tmp_path, found).inputs[0].sha256
    assert before == refused(tmp_path, found).inputs[0].sha256
    (voxels,) = tmp_path.glob("*raw")
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert refused(tmp_path, found).inputs[0].sha256 != before
