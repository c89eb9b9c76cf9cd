"""What the doctor says of what is wrong, and whether its advice helps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_sa_unet.commands import doctor
from nnunetv2_sa_unet.commands.doctor import _nnunet
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.datasets import FOLDERS
from nnunetv2_sa_unet.discovery.probe import look_afresh


def test_nnunet_inside_the_required_range_is_ok() -> None:
    assert _nnunet(["torch>=2.4", "nnunetv2<3,>=2.8"]).status == "ok"


def test_nnunet_outside_the_required_range_is_a_problem_with_its_remedy() -> None:
    check = _nnunet(["torch>=2.4", "nnunetv2<100,>=99"])
    assert check.status == "problem"
    assert "pip install 'nnunetv2<100,>=99'" in check.remedy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a blank and a quote in its name, in which the installation itself is well."""
    folder = tmp_path / "it's my home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    for name in FOLDERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_versions", lambda: iter(()))
    monkeypatch.setattr(doctor, "_trainers", lambda: iter(()))
    return folder


def test_folders_that_are_not_set_are_named_with_what_needs_them_and_are_no_failure(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "nnUNet_results       is not set, which is needed by nnUNetv2_train, nnUNetv2_predict -d, ablate" in printed
    assert "All is well. What needs no training, segment among it, works without" in printed


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, 0),
        ("absent", 1),
        ('a b/it\'s "$HOME"; `x`', 1),
        ("-p", 1),
        ("file", 1),
        ("file/below", 1),
        ("dangling", 1),
        ("~/data", 1),
    ],
)
def test_what_it_advises_works_when_pasted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None, status: int
) -> None:
    for name in FOLDERS[1:]:
        monkeypatch.setenv(name, str(home))
    Path("file").touch()
    Path("dangling").symlink_to("nowhere/at all")
    if value is not None:
        monkeypatch.setenv("nnUNet_raw", value)
    assert main(["doctor"]) == status
    (advice,) = (line.split("-> ")[1] for line in capsys.readouterr().out.splitlines() if "-> " in line)

    script = f'{advice} && printf %s "$nnUNet_raw"'
    found = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout
    monkeypatch.setenv("nnUNet_raw", found)
    assert main(["doctor"]) == 0
    assert "unset" not in capsys.readouterr().out


def test_an_interpreter_that_does_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("false")
    if program is None:
        pytest.skip("needs a program that fails")
    monkeypatch.setattr(sys, "executable", program)
    assert "ended with status 1" in look_afresh(["nnUNetTrainerSAUNet"])["error"]
