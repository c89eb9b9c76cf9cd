"""What export-onnx refuses; tests/integration exports real models."""

from __future__ import annotations

import importlib.util
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.errors import InputError


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


def test_a_network_that_torch_cannot_export_is_named_with_the_versions(tmp_path):
    pytest.importorskip("onnxscript")
    from nnunetv2_sa_unet.nnunet.onnx_file import write_onnx

    class Bessel(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    file = tmp_path / "network.onnx"
    version = re.escape(torch.__version__)
    said = rf"network.onnx: not written: torch {version} with onnxscript .* cannot export a Bessel \(.+\): try"
    with pytest.raises(InputError, match=said) as caught:
        write_onnx(SimpleNamespace(network=Bessel().eval()), np.zeros((1, 1, 4, 4), np.float32), file)
    assert "\n" not in str(caught.value)
    assert not file.exists()
