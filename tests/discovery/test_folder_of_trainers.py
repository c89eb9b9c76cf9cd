"""The value of nnUNet_extTrainer, and what nnU-Net finds in the folder that it names."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS, TRAINERS_FOLDER, with_our_folder
from nnunetv2_sa_unet.discovery.probe import look
from nnunetv2_sa_unet.nnunet import trainers
from nnunetv2_sa_unet.plans.variants import VARIANTS


def test_our_folder_comes_after_those_of_the_user() -> None:
    theirs = os.pathsep.join(["one", "two"])
    assert with_our_folder(theirs).split(os.pathsep) == ["one", "two", TRAINERS_FOLDER]


def test_an_empty_value_becomes_our_folder_alone() -> None:
    assert with_our_folder("") == TRAINERS_FOLDER


def test_our_folder_is_never_added_twice() -> None:
    for theirs in ("", "one", os.pathsep.join([TRAINERS_FOLDER, "one"])):
        once = with_our_folder(theirs)
        assert with_our_folder(once) == once
        assert once.split(os.pathsep).count(TRAINERS_FOLDER) == 1


def test_the_folder_holds_one_module_and_is_no_package() -> None:
    assert [path.name for path in Path(TRAINERS_FOLDER).glob("*.py")] == ["nnunetv2_sa_unet_trainers.py"]


@pytest.mark.parametrize("name", list(VARIANTS))
def test_each_look_up_finds_the_same_class_and_it_pickles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXTERNAL_TRAINERS, TRAINERS_FOLDER)
    found = recursive_find_trainer_class_by_name(name)
    assert found is recursive_find_trainer_class_by_name(name)
    assert found is getattr(trainers, name)
    assert found.__name__ == name
    assert pickle.loads(pickle.dumps(found)) is found


def test_another_class_of_the_same_name_is_told_from_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(VARIANTS))
    (tmp_path / "someone_elses.py").write_text(
        f"from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\nclass {name}(nnUNetTrainer): pass\n"
    )
    monkeypatch.setenv(EXTERNAL_TRAINERS, with_our_folder(str(tmp_path)))
    assert "another class of that name" in look([name])["trainers"][name]
