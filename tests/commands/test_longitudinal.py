"""What ``longitudinal`` says before it loads a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands.main import main


@pytest.mark.parametrize("words", [[], ["study", "--pairs", "pairs.csv"]])
def test_either_a_data_set_or_a_table(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["longitudinal", *words, "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "error: give either a BIDS data set or --pairs TABLE\n"
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_wrong_ends_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "pairs.tsv"
    table.write_text("subject\tfirst\tsecond\na\tx.nii\n")
    assert main(["longitudinal", "--pairs", str(table), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    expected = "line 2, column second: empty; expected the path of an image, or of the folder of a DICOM series"
    assert said == f"error: --pairs {table}: {expected}\n"
