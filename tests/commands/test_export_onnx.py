"""What export-onnx refuses; tests/integration exports real models."""

from __future__ import annotations

import importlib.util

import pytest

from nnunetv2_sa_unet.commands.main import main


def test_a_folder_that_is_no_model_is_named(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    assert main(["export-onnx", str(tmp_path), "-f", "0"]) == 1
    assert f"{tmp_path / 'plans.json'}: there is no such file: name nnU-Net's model folder" in capsys.readouterr().err


def test_a_missing_checkpoint_is_named(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    for name in ("plans.json", "dataset.json"):
        (tmp_path / name).write_text("{}")
    assert main(["export-onnx", str(tmp_path), "-f", "3", "-chk", "checkpoint_best.pth"]) == 1
    assert f"{tmp_path / 'fold_3' / 'checkpoint_best.pth'}: there is no such file" in capsys.readouterr().err


def test_another_ending_is_refused(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    assert main(["export-onnx", str(tmp_path), "-f", "0", "-o", "network.pt"]) == 1
    assert "-o network.pt: ends in .pt, expected .onnx" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    assert main(["export-onnx", str(tmp_path), "-f", "0"]) == 1
    assert "needs onnxruntime: install the extra with pip install 'nnunetv2-sa-unet[onnx]'" in capsys.readouterr().err
