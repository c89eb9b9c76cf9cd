"""``nnUNetv2_sa_unet report`` from its words to its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import write_segmentation


def test_it_writes_the_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Subject(subject="a", status="failed", message="4D", inputs=[Input(path="/a.nii", sha256=None)])
    model = Model(
        folder="/m", dataset="D", trainer="T", plans="P", configuration="3d", folds=[0], checkpoint="c.pth", sha256={}
    )
    run = Segmentation(nnunetv2_sa_unet="1", versions={}, model=model, options=Options(), subjects=[failed])
    write_segmentation(tmp_path, run)
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'report.html'}\n"
    assert (tmp_path / "report" / "niivue.umd.js").is_file()


def test_a_folder_that_segment_did_not_write_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "expected a folder that nnUNetv2_sa_unet segment wrote" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
