"""The folder tree of the WMH challenge."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_sa_unet.convert.challenge import SCANNERS, find_cases, incomplete_scanners
from nnunetv2_sa_unet.errors import InputError

TRAINING = ["GE3T_100", "GE3T_101", "Singapore_050", "Singapore_052", "Utrecht_000", "Utrecht_002"]
TEST = ["GE1T5_150", "GE3T_103", "PhilipsVU_160", "Singapore_051", "Utrecht_001"]


def test_every_case_carries_its_scanner_and_id(challenge_tree: Any) -> None:
    cases, problems = find_cases(challenge_tree.root, ("FLAIR", "T1"), "pre", None)
    assert problems == []
    assert [case.name for case in cases] == TRAINING + TEST
    assert [case.training for case in cases] == [True] * 6 + [False] * 5
    philips = cases[8]
    folder = challenge_tree.root / "test" / "Amsterdam" / "Philips_VU .PETMR_01." / "160"
    assert philips.images == (folder / "pre" / "FLAIR.nii.gz", folder / "pre" / "T1.nii.gz")
    assert philips.label == folder / "wmh.nii.gz"
    assert philips.row == {
        "scanner": "PhilipsVU",
        "model": "Philips Ingenuity 3T",
        "site": "Amsterdam",
        "id": "160",
    }
    assert cases[0].readings.keys() == {"o3", "o4"}
    assert not philips.readings


def test_the_original_images_are_taken_if_asked_for(challenge_tree: Any) -> None:
    (image,) = find_cases(challenge_tree.root, ("FLAIR",), "orig", None)[0][0].images
    assert image == challenge_tree.case(100) / "orig" / "FLAIR.nii.gz"


def test_the_philips_folder_is_known_without_its_trailing_dot(challenge_tree: Any) -> None:
    folder = challenge_tree.root / "test" / "Amsterdam" / "Philips_VU .PETMR_01."
    folder.rename(folder.with_name("Philips_VU .PETMR_01"))
    assert [case.name for case in find_cases(challenge_tree.root, ("FLAIR",), "pre", None)[0]] == TRAINING + TEST


def test_a_part_by_itself_is_what_its_name_says(challenge_tree: Any) -> None:
    training, test = challenge_tree.root / "training", challenge_tree.root / "test"
    cases, _ = find_cases(training, ("FLAIR",), "pre", None)
    assert [(case.name, case.training) for case in cases] == [(name, True) for name in TRAINING]
    cases, _ = find_cases(test, ("FLAIR",), "pre", None)
    assert [(case.name, case.training) for case in cases] == [(name, False) for name in TEST]
    with pytest.raises(InputError, match="no folder test; add it, or leave out --test"):
        find_cases(training, ("FLAIR",), "pre", True)
    with pytest.raises(InputError, match="holds test cases alone; leave out --no-test"):
        find_cases(test, ("FLAIR",), "pre", False)
    link = challenge_tree.root / "link"
    link.symlink_to(test)
    assert not any(case.training for case in find_cases(link, ("FLAIR",), "pre", None)[0])
    unnamed = test.rename(challenge_tree.root / "WMH2017")
    with pytest.raises(InputError, match="WMH2017: has the challenge's sites, but is it the training or the test part"):
        find_cases(unnamed, ("FLAIR",), "pre", None)


def test_test_cases_among_the_training_cases_are_refused(challenge_tree: Any) -> None:
    root: Path = challenge_tree.root
    shutil.move(root / "test" / "Amsterdam" / "GE1T5", root / "training" / "Amsterdam" / "GE1T5")
    for number in range(3, 22):
        shutil.copytree(challenge_tree.case(0), root / "training" / "Utrecht" / str(number))
    _, problems = find_cases(root, ("FLAIR",), "pre", None)
    assert sorted(problems) == [
        "training/Amsterdam/GE1T5: 1 cases, but the challenge has 0; move those of the other part there",
        "training/Utrecht: 21 cases, but the challenge has 20; move those of the other part there",
    ]


def test_the_test_cases_can_be_left_out(challenge_tree: Any) -> None:
    assert [case.name for case in find_cases(challenge_tree.root, ("FLAIR",), "pre", False)[0]] == TRAINING


def test_what_archives_and_systems_leave_behind_is_passed_over(challenge_tree: Any) -> None:
    for name in ("__MACOSX", "training/.AppleDouble", "training/Utrecht/._0"):
        (challenge_tree.root / name).mkdir()
    for name in ("readme.pdf", "training/.DS_Store", "training/Utrecht/.DS_Store"):
        (challenge_tree.root / name).touch()
    assert len(find_cases(challenge_tree.root, ("FLAIR",), "pre", None)[0]) == 11


@pytest.mark.parametrize("there", [[], ["Munich", "readme.pdf"]])
def test_another_folder_is_refused_with_what_was_found(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    found = "Munich, readme.pdf" if there else "nothing"
    with pytest.raises(InputError, match=f"found {found}; expected folders training and test, or Utrecht"):
        find_cases(tmp_path, ("FLAIR",), "pre", None)
    with pytest.raises(InputError, match="no such folder"):
        find_cases(tmp_path / "absent", ("FLAIR",), "pre", None)


def test_every_problem_of_the_tree_is_named(challenge_tree: Any) -> None:
    root: Path = challenge_tree.root
    (root / "training" / "Munich").mkdir()
    (root / "test" / "Amsterdam" / "GE7T").mkdir()
    (root / "training" / "Utrecht" / "2 (copy)").mkdir()
    shutil.copytree(challenge_tree.case(51), root / "training" / "Singapore" / "51")
    observer = root / "additional_annotations" / "observer_o3"
    shutil.copytree(observer / "training" / "Utrecht" / "0", observer / "again" / "0")
    shutil.copy(challenge_tree.case(2) / "wmh.nii.gz", observer / "lost.nii.gz")
    _, problems = find_cases(root, ("FLAIR",), "pre", None)
    expected = [
        f"{root}/training/Munich: unknown folder; expected Utrecht, Singapore, Amsterdam",
        f"{root}/training/Utrecht/2 (copy): unknown folder; expected a case's number",
        f"{root}/test/Amsterdam/GE7T: unknown folder; expected GE3T, Philips_VU, GE1T5",
        "case 51: occurs 2 times (training/Singapore/51, test/Singapore/51); keep one of them",
        "case 0: two readings of observer o3; keep one of them",
        f"{observer}/lost.nii.gz: expected in a folder with a case's number",
    ]
    assert sorted(problems) == sorted(expected)


def test_a_tree_without_cases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "training" / "Utrecht").mkdir(parents=True)
    with pytest.raises(InputError, match="no case; expected folders such as training/Utrecht/0"):
        find_cases(tmp_path, ("FLAIR",), "pre", None)


def test_scanners_with_fewer_cases_than_the_challenge_has_are_named(challenge_tree: Any) -> None:
    remarks = incomplete_scanners(find_cases(challenge_tree.root, ("FLAIR",), "pre", None)[0])
    assert remarks[0] == "Utrecht: 2 of the challenge's 20 training cases"
    assert "PhilipsVU: 1 of the challenge's 10 test cases" in remarks
    assert len(remarks) == 8
    assert len(incomplete_scanners(find_cases(challenge_tree.root, ("FLAIR",), "pre", False)[0])) == 3


def test_the_challenge_has_60_training_and_110_test_cases() -> None:
    assert sum(scanner.training for scanner in SCANNERS) == 60
    assert sum(scanner.test for scanner in SCANNERS) == 110


def test_folders_that_lead_nowhere_are_named(challenge_tree: Any) -> None:
    root: Path = challenge_tree.root
    (root / "training" / "Utrecht" / "4").symlink_to("/nowhere/4")
    (case,) = [one for one in find_cases(root, ("FLAIR",), "pre", None)[0] if one.name == "Utrecht_004"]
    assert not case.images[0].exists()
    shutil.move(root / "test", root / "elsewhere")
    (root / "test").symlink_to("/nowhere/test")
    with pytest.raises(InputError, match="test: a link to a file that is not there"):
        find_cases(root, ("FLAIR",), "pre", None)
