"""The files of nnU-Net's cross-validation."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.study.crossvalidation import draw_folds, validation_pairs


@pytest.fixture
def preprocessed(tmp_path: Path) -> Path:
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": [], "val": [*cases]} for cases in ("ca", "b")]))
    (tmp_path / "dataset.json").write_text('{"file_ending": ".nrrd"}')
    return tmp_path


def test_the_cases_of_the_named_folds_are_found_in_alphabetical_order(preprocessed: Path) -> None:
    pairs = validation_pairs(preprocessed, Path("model"), [0, 1])
    assert [pair.case for pair in pairs] == ["a", "b", "c"]
    assert pairs[1].reference == preprocessed / "gt_segmentations" / "b.nrrd"
    assert pairs[1].prediction == Path("model/fold_1/validation/b.nrrd")
    assert [pair.case for pair in validation_pairs(preprocessed, Path("model"), [1])] == ["b"]


def test_a_case_of_two_folds_is_refused(preprocessed: Path) -> None:
    (preprocessed / "splits_final.json").write_text(json.dumps([{"val": ["a"]}, {"val": ["a", "b"]}]))
    with pytest.raises(InputError, match="folds 0 and 1 are both validated on a: name folds that share no case"):
        validation_pairs(preprocessed, Path("model"), [0, 1])


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", "[3]"])
def test_a_split_that_cannot_be_read_is_named(preprocessed: Path, content: str | None) -> None:
    file = preprocessed / "splits_final.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError, match=r"splits_final\.json: cannot be read as nnU-Net's split .*: train a fold"):
        validation_pairs(preprocessed, Path("model"), [0])


def test_a_dataset_without_its_file_ending_is_named(preprocessed: Path) -> None:
    (preprocessed / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"dataset\.json: cannot be read"):
        validation_pairs(preprocessed, Path("model"), [0])


def test_the_folds_are_those_that_nnunets_trainer_makes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for case in "gfedcba":
        (data / f"{case}.b2nd").touch()
        (data / f"{case}_seg.b2nd").touch()
    trainer = SimpleNamespace(
        dataset_class=None,
        fold=0,
        preprocessed_dataset_folder=str(data),
        preprocessed_dataset_folder_base=str(tmp_path),
        folder_with_segs_from_previous_stage=None,
        print_to_log_file=lambda *_: None,
    )
    nnUNetTrainer.do_split(trainer)
    assert draw_folds(data) == json.loads((tmp_path / "splits_final.json").read_text())


@pytest.mark.parametrize("cases", ["", "a", "abcd"])
def test_fewer_cases_than_folds_are_refused(tmp_path: Path, cases: str) -> None:
    for case in cases:
        (tmp_path / f"{case}.b2nd").touch()
    with pytest.raises(InputError, match=f"{len(cases)} cases, but nnU-Net makes 5 folds: add cases, or write"):
        draw_folds(tmp_path)
