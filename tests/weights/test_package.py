"""The script that makes the folder of a model in the box of a model of nnU-Net."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import pytest
from safetensors.torch import load_file

from nnunetv2_sa_unet.nnunet.install import install_model
from nnunetv2_sa_unet.weights.registry import MODELS, WEIGHTS_NAME

BOXED = MODELS["openflair1"]


@pytest.fixture
def script(source_tree: Path) -> Path:
    return source_tree / "docs" / "weights" / "package.py"


def test_an_installed_model_becomes_the_one_in_the_box_again_and_its_threshold_can_be_moved(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install_model(BOXED, tmp_path / "results", force=False)
    for name, words in (("same", ()), ("moved", ("--threshold", "0.2"))):
        monkeypatch.setattr("sys.argv", [str(script), str(installed), "-o", str(tmp_path / name), *words])
        runpy.run_path(str(script), run_name="__main__")

    for path in (tmp_path / "same").rglob("*.*"):
        assert path.read_bytes() == (BOXED.folder / path.relative_to(tmp_path / "same")).read_bytes(), path

    before, after = (load_file(folder / "fold_all" / WEIGHTS_NAME) for folder in (BOXED.folder, tmp_path / "moved"))
    assert [name for name in before if not before[name].equal(after[name])] == ["decoder.seg_layers.2.bias"]
    rise = (after["decoder.seg_layers.2.bias"] - before["decoder.seg_layers.2.bias"]).tolist()
    assert rise[0] == 0
    assert rise[1] == pytest.approx(math.log(4), abs=2e-3)
