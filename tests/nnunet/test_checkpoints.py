"""Honest checkpoints are read, and those that would run code are refused in a line that names it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.checkpoints import read_checkpoint


def honest() -> dict[str, Any]:
    """What nnU-Net saves, with the kinds of numbers that its logs hold."""
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_)
    return {
        "network_weights": {"layer.weight": torch.ones(2)},
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
        "logging": {"mean_fg_dice": [kind(1) for kind in kinds], "dice_per_class_or_region": [[np.float32(0.5)]]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def save(path: Path, content: Any, **words: Any) -> Path:
    torch.save(content, path, **words)
    return path


def refusal(path: Path, trust: bool = False) -> str:
    with pytest.raises(InputError) as error:
        read_checkpoint(path, trust)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("words", [{}, {"_use_new_zipfile_serialization": False}], ids=["archive", "before torch 1.6"])
def test_an_honest_checkpoint_is_read(tmp_path: Path, words: dict[str, Any]) -> None:
    read = read_checkpoint(save(tmp_path / "c.pth", honest(), **words))
    assert (read.trainer, read.configuration, read.mirroring_axes) == ("nnUNetTrainer", "3d_fullres", (0, 1, 2))
    assert torch.equal(read.weights["layer.weight"], torch.ones(2))


def test_a_checkpoint_of_numpy_1_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pth", honest())
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "old.pth", "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\n" in content
                content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            new.writestr(item, content)
    assert read_checkpoint(tmp_path / "old.pth").trainer == "nnUNetTrainer"


@pytest.mark.parametrize("words", [{}, {"_use_new_zipfile_serialization": False}], ids=["archive", "before torch 1.6"])
def test_one_that_would_run_code_is_refused_by_name_and_runs_only_if_trusted(
    tmp_path: Path, words: dict[str, Any]
) -> None:
    path = save(tmp_path / "c.pth", honest() | {"x": Hostile(tmp_path / "ran")}, **words)

    assert refusal(path) == (
        "refused, because reading it would import posix.mkdir, which may run code; give --trust-model if you trust "
        "where this model is from"
    )
    assert not (tmp_path / "ran").exists()
    assert read_checkpoint(path, trust=True).trainer == "nnUNetTrainer"
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "cannot be read as a checkpoint: "),
        (b"", "cannot be read as a checkpoint: "),
        ([1, 2], "found list; expected a checkpoint of nnU-Net with trainer_name, init_args, network_weights"),
        (None, "found NoneType; expected a checkpoint"),
        ({"state_dict": {}}, "found state_dict; expected a checkpoint"),
        (honest() | {"init_args": None}, "init_args.configuration: found NoneType, expected str"),
        (honest() | {"network_weights": 3}, "network_weights: found int, expected Mapping"),
        (honest() | {"trainer_name": []}, "trainer_name: found list, expected str"),
        (honest() | {"inference_allowed_mirroring_axes": "xy"}, "inference_allowed_mirroring_axes: found 'xy'"),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_what_is_no_checkpoint_is_said_in_a_line(tmp_path: Path, content: Any, expected: str, trust: bool) -> None:
    path = tmp_path / "c.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save(path, content)
    assert refusal(path, trust).startswith(expected)


def test_a_checkpoint_that_was_cut_short_is_said_in_a_line(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pth", honest())
    path.write_bytes(path.read_bytes()[:-200])
    assert refusal(path).startswith("cannot be read as a checkpoint: ")


@pytest.mark.parametrize("damage", ["facts", "weights", "list"])
def test_damaged_weights_in_the_box_are_said_in_a_line(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "fold_all" / "weights.safetensors"
    path.parent.mkdir()
    save_file({"layer.weight": torch.ones(2)}, path)
    facts = tmp_path / "checkpoint.json"
    facts.write_text('{"trainer_name": "nnUNetTrainer", "init_args": {"configuration": "2d"}}')
    assert read_checkpoint(path).configuration == "2d"
    if damage == "weights":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        facts.write_text("{" if damage == "facts" else "[]")
    refusal(path)
