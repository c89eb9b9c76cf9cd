"""What ``bids-app`` refuses before it computes anything; what it computes stands in the tests of ``segment``."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.commands.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "out", "participant"), "nowhere: there is no such folder"),
        ((".", "out", "participant"), "not a BIDS data set: there is no dataset_description.json in it"),
        (("study", "out", "group"), "study: no FLAIR; expected files such as sub-01/anat/sub-01_FLAIR.nii.gz"),
        (("study", "out", "group", "--participant-label", "01"), "group: is over all participants: leave out"),
        (("study", "out", "group", "--session-label", "1"), "group: is over all participants: leave out"),
        (("study", "out", "participant", "--participant-label", "1", "--force"), "--force: removes the masks of all"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "dataset_description.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(["bids-app", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "out", "session"), "invalid choice: 'session'"),
        (("study", "out"), "the following arguments are required: level"),
        (("study", "out", "participant", "--n-cpus", "0"), "expected a whole number of at least 1, found 0"),
    ],
)
def test_words_that_are_none_of_its_own_are_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bids-app", *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bids-app", "--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"nnunetv2-sa-unet {__version__}\n"
