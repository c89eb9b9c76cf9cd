"""What ``segment`` says before it computes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.files import held


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--threshold", "0"), "expected a number above 0 and at most 1, found 0"),
        (("--threshold", "nan"), "expected a number above 0 and at most 1, found nan"),
        (("-step_size", "1.5"), "expected a number from 0.1 to 1, found 1.5"),
        (("-step_size", "0.001"), "expected a number from 0.1 to 1, found 0.001"),
        (("--clear-ends", "0.5"), "expected a number above 0 and below 0.5, found 0.5"),
        (("--min-volume", "-3"), "expected a number above 0, found -3"),
        (("--min-volume", "five"), "expected a number above 0, found five"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["segment", str(tmp_path), "-o", "out", "-m", "model", *words])
    assert message in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["segment", str(tmp_path), "-o", str(tmp_path / "out"), "-device", "cuda"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: device cuda: ")
    assert "name another, such as cpu" in error
    assert error.count("\n") == 1


def test_dicom_objects_without_their_library_are_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunetv2_sa_unet.images.dicom_seg.has_highdicom", lambda: False)
    assert main(["segment", str(tmp_path), "-o", str(tmp_path / "out"), "--dicom-seg"]) == 1
    assert capsys.readouterr().err == (
        "error: --dicom-seg: needs highdicom: install the extra with pip install 'nnunetv2-sa-unet[dicom-seg]'\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_neither_in_the_box_nor_a_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["segment", str(tmp_path), "-o", str(tmp_path / "out"), "-m", "openflare1", "-device", "cpu"]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        "error: openflare1: no model in the box has this name (there are: openflair1), and there is no such folder; "
        "name one of these, or nnU-Net's model folder (TRAINER__PLANS__CONFIGURATION)\n"
    )


def test_a_folder_that_another_run_writes_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SimpleITK.WriteImage(SimpleITK.Image(8, 8, 8, SimpleITK.sitkInt16), str(tmp_path / "a.nii.gz"))
    output = tmp_path / "out"
    output.mkdir()
    with held(output):
        before = sorted(output.iterdir())
        assert main(["segment", str(tmp_path / "a.nii.gz"), "-o", str(output), "-device", "cpu"]) == 1
        assert sorted(output.iterdir()) == before
    assert "out: another run is writing there" in capsys.readouterr().err
