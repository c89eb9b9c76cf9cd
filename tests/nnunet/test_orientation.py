"""The orientations of training images, from what nnU-Net's readers note."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient

from nnunetv2_sa_unet.nnunet.orientation import ORIENTATION_KEY, note_orientations, training_orientations


def preprocess(folder: Path, reader: type, *codes: str) -> None:
    """Leave the properties of images that are stored in these orientations."""
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4), np.int16))
    folder.mkdir(exist_ok=True)
    for index, code in enumerate(codes):
        path = folder / f"{reader.__name__}{index}.nii.gz"
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, code), str(path))
        _, properties = reader().read_images([str(path)])
        path.with_name(path.name.replace(".nii.gz", ".pkl")).write_bytes(pickle.dumps(properties))


@pytest.mark.parametrize("reader", [SimpleITKIO, NibabelIO])
def test_images_are_seen_as_they_are_stored(tmp_path: Path, reader: type) -> None:
    preprocess(tmp_path, reader, "PSR", "LAS", "RAS", "LAS")
    assert list(training_orientations(tmp_path).items()) == [("LAS", 2), ("PSR", 1), ("RAS", 1)]


@pytest.mark.parametrize("reader", [SimpleITKIOWithReorient, NibabelIOWithReorient])
def test_readers_that_turn_images_count(tmp_path: Path, reader: type) -> None:
    preprocess(tmp_path, reader, "PSR", "LPS")
    assert training_orientations(tmp_path) == {"RAS": 2}


def test_two_axes_have_no_orientation(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"spacing": (999, 1, 1)}))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"sitk_stuff": {"direction": (1, 0, 0, 1)}}))
    assert training_orientations(tmp_path) == {}


@pytest.mark.parametrize(("codes", "said"), [((), 0), (("LPS", "LPS"), 0), (("LPS", "RAS", "RAS"), 1)])
def test_the_plans_and_the_log_say_it(tmp_path: Path, codes: tuple[str, ...], said: int) -> None:
    preprocess(tmp_path / "data", SimpleITKIO, *codes)
    log: list[str] = []
    trainer = SimpleNamespace(
        preprocessed_dataset_folder=str(tmp_path / "data"),
        plans_manager=SimpleNamespace(plans={}),
        print_to_log_file=log.append,
    )
    note_orientations(trainer)
    expected = {code: codes.count(code) for code in sorted(set(codes), key=codes.count, reverse=True)}
    assert trainer.plans_manager.plans == ({ORIENTATION_KEY: expected} if codes else {})
    assert len(log) == said
    assert not said or "(RAS: 2, LPS: 1)" in log[0]
