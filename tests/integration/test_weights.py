"""``segment`` with the model in the box, beside nnU-Net with the same model laid down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.demo.sample import SAMPLE, SAMPLE_REFERENCE
from nnunetv2_sa_unet.scores.metrics import dice
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation
from nnunetv2_sa_unet.weights.registry import MODELS


def test_the_sample_is_segmented_with_nothing_else_said_and_as_nnunet_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    for name in ("raw", "preprocessed", "results"):
        monkeypatch.delenv(f"nnUNet_{name}", raising=False)
    # A part of the sample with fewer patches.
    image = SimpleITK.ReadImage(str(SAMPLE))[32:224, 20:212, 5:13]
    reference = SimpleITK.ReadImage(str(SAMPLE_REFERENCE))[32:224, 20:212, 5:13]
    (tmp_path / "in").mkdir()
    SimpleITK.WriteImage(image, str(tmp_path / "in" / "part_0000.nii.gz"))

    with monkeypatch.context() as alone:
        # An editable install has no start-up hook; nnU-Net itself needs the variable.
        alone.delenv("nnUNet_extTrainer", raising=False)
        words = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--no-report", "-device", "cpu"]
        assert main(["segment", *words]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("model in the box: openflair1, version 1; WMH from a probability of 0.1 on, as trained; ")
    found = read_segmentation(tmp_path / "out")
    assert (found.model.name, found.model.version, found.model.threshold) == ("openflair1", "1", 0.1)
    assert not found.options.mirroring
    assert set(found.model.sha256) == {
        "plans.json", "dataset.json", "checkpoint.json", "fold_all/weights.safetensors",
    }  # fmt: skip
    mask = tmp_path / "out" / "part_wmh.nii.gz"
    ours, truth = (SimpleITK.GetArrayFromImage(i) == 1 for i in (SimpleITK.ReadImage(str(mask)), reference))
    # A case of the training: it must be found, and says nothing more.
    assert dice(truth, ours) > 0.6

    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert main(["model", "install", MODELS["openflair1"].name]) == 0
    (folder,) = (tmp_path / "results").glob("*/*")
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), ("all",))
    theirs = tmp_path / "theirs" / "part"
    theirs.parent.mkdir()
    predictor.predict_from_files_sequential([[str(tmp_path / "in" / "part_0000.nii.gz")]], [str(theirs)])
    assert mask.read_bytes() == theirs.with_suffix(".nii.gz").read_bytes()
    assert np.count_nonzero(ours) > 100
