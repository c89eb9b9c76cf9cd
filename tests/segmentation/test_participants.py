"""Participants and sessions by their labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.inputs import Found, find_subjects
from nnunetv2_sa_unet.segmentation.participants import chosen


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two visits of 01, one of which has two volumes, one visit of 02, and 03 without sessions or all of its files."""
    for name in (
        "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii",
        "sub-01/ses-2/anat/sub-01_ses-2_run-1_FLAIR.nii",
        "sub-01/ses-2/anat/sub-01_ses-2_run-2_FLAIR.nii",
        "sub-02/ses-1/anat/sub-02_ses-1_FLAIR.nii",
        "sub-03/anat/sub-03_FLAIR.nii",
        "sub-03/anat/sub-03_FLAIR.mgz",
    ):
        path = tmp_path / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")
    (tmp_path / "study" / "dataset_description.json").write_text("{}")
    return tmp_path / "study"


def choice(study: Path, participants: tuple[str, ...] = (), sessions: tuple[str, ...] = ()) -> Found:
    return chosen(find_subjects([study], 1), study, participants, sessions)


@pytest.mark.parametrize(
    ("participants", "sessions", "names"),
    [
        ((), (), ["sub-01_ses-1", "sub-01_ses-2_run-1", "sub-01_ses-2_run-2", "sub-02_ses-1", "sub-03"]),
        (("01",), (), ["sub-01_ses-1", "sub-01_ses-2_run-1", "sub-01_ses-2_run-2"]),
        (("sub-02", "03"), (), ["sub-02_ses-1", "sub-03"]),
        ((), ("ses-1",), ["sub-01_ses-1", "sub-02_ses-1"]),
        (("01",), ("2",), ["sub-01_ses-2_run-1", "sub-01_ses-2_run-2"]),
        (("01", "02"), ("2",), ["sub-01_ses-2_run-1", "sub-01_ses-2_run-2"]),
    ],
)
def test_labels_are_read_with_and_without_prefix(
    study: Path, participants: tuple[str, ...], sessions: tuple[str, ...], names: list[str]
) -> None:
    assert [subject.name for subject in choice(study, participants, sessions).subjects] == names


@pytest.mark.parametrize(
    ("participants", "sessions", "message"),
    [
        (
            ("01", "07", "sub-9"),
            (),
            "--participant-label 07 9: no FLAIR of that label in .*; there is FLAIR of 01, 02, 03",
        ),
        ((), ("3",), "--session-label 3: no FLAIR of that label in .*; there is FLAIR of 1, 2"),
        (("02",), ("2",), "--session-label 2: no FLAIR of that label in .*; there is FLAIR of 1"),
        (("03",), ("1",), "--session-label 1: no FLAIR .*; there is no FLAIR with a ses-… label"),
    ],
)
def test_labels_that_are_not_there_are_named(
    study: Path, participants: tuple[str, ...], sessions: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        choice(study, participants, sessions)
    assert "\n" not in str(error.value)


def test_what_is_left_out_of_others_is_not_said(study: Path) -> None:
    assert not find_subjects([study], 1).is_complete
    assert choice(study, ("01",)).is_complete
    assert not choice(study, ("03",)).is_complete
    assert not choice(study).is_complete
