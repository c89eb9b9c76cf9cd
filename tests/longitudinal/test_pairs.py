"""Which two images are compared, and where a table is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.longitudinal.pairs import pairs_of_bids, pairs_of_table


def bids(folder: Path, *names: str) -> Path:
    """A data set of empty files; nothing opens them to find pairs."""
    for name in names:
        subject, session = f"{name}_".split("_")[:2]
        place = folder / subject / session / "anat" if session.startswith("ses-") else folder / subject / "anat"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}_FLAIR.nii.gz").write_bytes(b"x")
    (folder / "dataset_description.json").write_text("{}")
    return folder


def test_each_session_is_paired_with_the_next(tmp_path: Path) -> None:
    sessions = ("sub-2_ses-10", "sub-2_ses-9", "sub-2_ses-1", "sub-1_ses-b", "sub-1_ses-a", "sub-3_ses-1", "sub-4")
    study = bids(tmp_path, *sessions)
    pairs, passed_over = pairs_of_bids(study)
    assert [(pair.name, pair.subject, pair.visits) for pair in pairs] == [
        ("sub-1_ses-a_ses-b", "sub-1", ("ses-a", "ses-b")),
        ("sub-2_ses-1_ses-9", "sub-2", ("ses-1", "ses-9")),
        ("sub-2_ses-9_ses-10", "sub-2", ("ses-9", "ses-10")),
    ]
    assert [path.name for path in pairs[2].images] == ["sub-2_ses-9_FLAIR.nii.gz", "sub-2_ses-10_FLAIR.nii.gz"]
    assert [(each.path.name, each.reason, each.harmless) for each in passed_over] == [
        ("sub-3_ses-1_FLAIR.nii.gz", "the only visit of sub-3", True),
        ("sub-4_FLAIR.nii.gz", "the only visit of sub-4", True),
    ]


#: acq_time by session, what orders the sessions, and their order.
TIMES = {
    "times": ({"1": "2020-05-01T10:00:00", "2": "2019-05-01", "10": "2021-05-01T08:00:00.5"}, "acq_time", "2 1 10"),
    "UTC": (
        {"1": "1925-05-01T10:00:00Z", "2": "1925-05-01T09:00:00Z", "10": "1926-01-01T00:00:00Z"},
        "acq_time",
        "2 1 10",
    ),
    "one is missing": ({"1": "2020-05-01", "2": "2019-05-01"}, "no acq_time for ses-10, expected one", "1 2 10"),
    "one is n/a": (
        {"1": "n/a", "2": "2019-05-01", "10": "2021-05-01"},
        "acq_time of ses-1 is n/a, expected a time such as 2009-06-15T13:45:30",
        "1 2 10",
    ),
    "two are the same": (
        {"1": "2020-05-01", "2": "2019-05-01", "10": "2020-05-01T00:00:00"},
        "ses-1 and ses-10 have one acq_time",
        "1 2 10",
    ),
    "some are in UTC": (
        {"1": "2020-05-01T00:00:00", "2": "2019-05-01T00:00:00Z", "10": "2021-05-01T00:00:00"},
        "acq_time of some sessions is in UTC (Z) and of others in local time, expected one of them",
        "1 2 10",
    ),
}


@pytest.mark.parametrize("case", TIMES)
def test_sessions_follow_each_other_by_their_times(tmp_path: Path, case: str) -> None:
    times, by, expected = TIMES[case]
    study = bids(tmp_path, *(f"sub-1_ses-{session}" for session in ("1", "2", "10")))
    rows = [["session_id", "age", "acq_time"], *([f"ses-{session}", "40", time] for session, time in times.items())]
    text = "\r\n".join("\t".join(row) for row in rows)
    (study / "sub-1" / "sub-1_sessions.tsv").write_text(text, encoding="utf-8-sig")
    pairs, _ = pairs_of_bids(study)
    labels = [f"ses-{session}" for session in expected.split()]
    assert [pair.visits for pair in pairs] == [(labels[0], labels[1]), (labels[1], labels[2])]
    told = "" if by == "acq_time" else f"sub-1_sessions.tsv: {by}: the sessions are in the order of their labels"
    assert {(pair.order, pair.remark) for pair in pairs} == {("label" if told else "acq_time", told)}


def test_two_times_of_a_session_and_a_table_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    study = bids(tmp_path, "sub-1_ses-1", "sub-1_ses-2")
    table = study / "sub-1" / "sub-1_sessions.tsv"
    for content, told in (
        (
            b"session_id\tacq_time\nses-1\t2020-01-01\nses-2\t2021-01-01\nses-2\t2019-01-01\n",
            "sub-1_sessions.tsv: 2 acq_time for ses-2 (2019-01-01, 2021-01-01), expected one: ",
        ),
        (b"\xff\xfe", "sub-1_sessions.tsv: cannot be read: "),
        (b"session_id\tage\nses-1\t40\n", ""),
        (b"", ""),
    ):
        table.write_bytes(content)
        ((pair,), _) = pairs_of_bids(study)
        assert pair.order == "label"
        assert pair.remark == (f"{told}the sessions are in the order of their labels" if told else "")


def test_several_volumes_of_a_session_are_paired_by_their_names(tmp_path: Path) -> None:
    twice = (f"sub-1_ses-{session}_acq-{acquisition}" for session in (1, 2) for acquisition in ("2D", "3D"))
    study = bids(tmp_path, *twice, "sub-1_ses-2_run-3")
    pairs, passed_over = pairs_of_bids(study)
    assert [pair.name for pair in pairs] == ["sub-1_ses-1_ses-2_acq-2D", "sub-1_ses-1_ses-2_acq-3D"]
    ((left, harmless),) = [(each.reason, each.harmless) for each in passed_over]
    assert (left, harmless) == ("the only visit of sub-1 with run-3", False)


def test_a_study_of_single_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no subject has FLAIR of two sessions; expected files such as sub-01/ses-1"):
        pairs_of_bids(bids(tmp_path, "sub-1_ses-1", "sub-2"))


@pytest.mark.parametrize("separator", [",", "\t"])
def test_paths_of_a_table_are_relative_to_it(tmp_path: Path, separator: str) -> None:
    table = tmp_path / "study" / "pairs.csv"
    table.parent.mkdir()
    rows = [["age", "subject", "second", "first"], ["40", "a b", "../x/2.nii", str(tmp_path / "1.nii")], [""]]
    table.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows), encoding="utf-8")
    (pair,) = pairs_of_table(table)
    assert (pair.name, pair.visits) == ("a b", ("first", "second"))
    assert pair.images == (tmp_path / "1.nii", tmp_path / "x" / "2.nii")


def test_all_that_is_wrong_with_a_table_is_said_by_line_and_column(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    lines = ["subject,first,second", "a,1.nii,2.nii", ",1.nii,2.nii", "A,1.nii,2.nii", "../b,1.nii", "c,1.nii,./1.nii"]
    table.write_text("\n".join([*lines, f"{'d' * 200},1.nii,2.nii"]))
    with pytest.raises(InputError) as error:
        pairs_of_table(table)
    assert [line.removeprefix(f"--pairs {table}: ") for line in str(error.value).splitlines()] == [
        "line 3, column subject: empty; expected a name",
        "line 4, column subject: A is above already; give each pair a name of its own, such as A-2",
        "line 5, column second: empty; expected the path of an image, or of the folder of a DICOM series",
        "line 5, column subject: ../b cannot begin the name of a file; expected letters, digits, - and _",
        "line 6, column second: ./1.nii is the first visit too; expected another image",
        "line 7, column subject: a name of more than 180 bytes; choose a shorter one",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: columns none; expected subject, first, second (subject, first, second missing)"),
        (b"subject,first\na,b", "line 1: columns subject, first; expected subject, first, second (second missing)"),
        (b"subject,first,second\n", "has no line below its head; expected a pair a line"),
        (b"subject,first,second\n\xff,a,b", "is no text in UTF-8; expected a table of commas or tabs"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    table = tmp_path / "pairs.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(InputError) as error:
        pairs_of_table(table)
    assert str(error.value) == f"--pairs {table}: {reason}"
