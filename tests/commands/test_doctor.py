"""What the doctor says of a wrong nnU-Net and of an interpreter that does not start."""

from __future__ import annotations

import shutil
import sys

import pytest

from nnunetv2_sa_unet.commands.doctor import _nnunet
from nnunetv2_sa_unet.discovery.probe import look_afresh


def test_nnunet_inside_the_required_range_is_ok() -> None:
    assert _nnunet(["torch>=2.4", "nnunetv2<3,>=2.8"]).status == "ok"


def test_nnunet_outside_the_required_range_is_a_problem_with_its_remedy() -> None:
    check = _nnunet(["torch>=2.4", "nnunetv2<100,>=99"])
    assert check.status == "problem"
    assert "pip install 'nnunetv2<100,>=99'" in check.remedy


def test_an_interpreter_that_does_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("false")
    if program is None:
        pytest.skip("needs a program that fails")
    monkeypatch.setattr(sys, "executable", program)
    assert "ended with status 1" in look_afresh(["nnUNetTrainerSAUNet"])["error"]
