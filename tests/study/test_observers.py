"""Which readings are scored against which."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.study.observers import observer_pairs


def read(folder: Path, observer: str, cases: str, ending: str = ".nii.gz") -> None:
    (folder / observer).mkdir(parents=True, exist_ok=True)
    for case in cases:
        (folder / observer / f"{case}{ending}").touch()


def references(cases: str) -> dict[str, Path]:
    return {case: Path("labelsTr", f"{case}.nii.gz") for case in cases}


def test_each_observer_meets_the_reference_and_the_others_once(tmp_path: Path) -> None:
    read(tmp_path, "o3", "abc")
    read(tmp_path, "o4", "abcd")
    pairs = observer_pairs(tmp_path, references("abc"))

    assert list(pairs) == ["o3 against reference", "o4 against reference", "o4 against o3"]
    assert [pair.case for pair in pairs["o4 against o3"]] == ["a", "b", "c"]
    first = pairs["o3 against reference"][0]
    assert (first.reference, first.prediction) == (Path("labelsTr/a.nii.gz"), tmp_path / "o3" / "a.nii.gz")
    # The later one takes the place of the prediction.
    last = pairs["o4 against o3"][0]
    assert (last.reference, last.prediction) == (tmp_path / "o3" / "a.nii.gz", tmp_path / "o4" / "a.nii.gz")


def test_only_cases_that_everybody_has_read_are_compared(tmp_path: Path) -> None:
    read(tmp_path, "o3", "abc")
    read(tmp_path, "o4", "bcd")
    pairs = observer_pairs(tmp_path, references("abcd"))
    assert {tuple(pair.case for pair in some) for some in pairs.values()} == {("b", "c")}


def test_too_few_common_cases_are_counted(tmp_path: Path) -> None:
    read(tmp_path, "o3", "ab")
    read(tmp_path, "o4", "bc")
    with pytest.raises(InputError, match=r"1 of the evaluated cases .* \(files: reference 3, o3 2, o4 2\)"):
        observer_pairs(tmp_path, references("abc"))


def test_folders_without_observers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no observer; expected a folder of labels for each"):
        observer_pairs(tmp_path, references("ab"))
    with pytest.raises(InputError, match="absent: no such folder"):
        observer_pairs(tmp_path / "absent", references("ab"))


def test_a_reading_that_is_stored_twice_is_refused(tmp_path: Path) -> None:
    read(tmp_path, "o3", "ab")
    read(tmp_path, "o3", "b", ending=".nrrd")
    with pytest.raises(InputError, match=r"o3: b\.nii\.gz and b\.nrrd are both b; keep one of them"):
        observer_pairs(tmp_path, references("ab"))


def test_an_observer_does_not_take_the_references_name(tmp_path: Path) -> None:
    read(tmp_path, "reference", "ab")
    with pytest.raises(InputError, match="reference: expected another name for an observer"):
        observer_pairs(tmp_path, references("ab"))
