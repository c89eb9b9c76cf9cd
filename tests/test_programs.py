"""Which program a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.programs import executable


def test_the_program_beside_this_python_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("scripts", "path"):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "nnUNetv2_train"
        program.touch()
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "scripts"))
    assert executable("nnUNetv2_train") == [str(tmp_path / "scripts" / "nnUNetv2_train")]
