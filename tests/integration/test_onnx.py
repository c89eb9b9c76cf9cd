"""Trained models as ONNX files, in onnxruntime and in nnU-Net's own predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.commands.main import main

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

PLANS = "nnUNetSAUNetTinyPlans"


class OnnxNetwork(torch.nn.Module):
    """As in docs/how-to/onnx.md."""

    def __init__(self, file):
        super().__init__()
        self.session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def forward(self, x):
        (logits,) = self.session.run(["logits"], {"patch": x.float().numpy()})
        return torch.from_numpy(logits)


@pytest.fixture
def model(in_nnunet, prepare_trainer):
    folder = in_nnunet.results / f"nnUNetTrainerSAUNet__{PLANS}__3d_fullres"
    if not (folder / "fold_3" / "checkpoint_final.pth").exists():
        prepare_trainer("nnUNetTrainerSAUNet", 3, PLANS).run_training()
    return folder


def test_a_model_predicts_the_same_with_onnxruntime(model, capsys):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    file = model / "fold_3" / "checkpoint_final.onnx"
    assert main(["export-onnx", str(model), "-f", "3"]) == 0
    assert "on the centre of case case0" in capsys.readouterr().out
    # One file, and nothing beside it.
    assert [path.name for path in file.parent.iterdir() if "onnx" in path.name] == [file.name]

    network = OnnxNetwork(file)
    assert network.session.get_inputs()[0].shape[1:] == [1, 8, 32, 32]
    metadata = network.session.get_modelmeta().custom_metadata_map
    assert (metadata["trainer"], metadata["patch_size"]) == ("nnUNetTrainerSAUNet", "8 32 32")
    for batch in (1, 3):
        assert network(torch.zeros(batch, 1, 8, 32, 32)).shape == (batch, 3, 8, 32, 32)

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(3,))
    image = torch.randn((1, 12, 40, 36), generator=torch.Generator().manual_seed(0))
    expected = predictor.predict_logits_from_preprocessed_data(image)
    predictor.network, predictor.list_of_parameters = network, [{}]
    found = predictor.predict_logits_from_preprocessed_data(image)
    # The sliding window sums weighted logits in 16 bit, and at the border of the volume the weights are small.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)


@pytest.mark.slow
def test_a_network_that_differs_is_not_written(model, tmp_path, monkeypatch, capsys):
    from nnunetv2_sa_unet.nnunet import onnx_file

    # No difference is below zero.
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    assert main(["export-onnx", str(model), "-f", "3", "-o", str(tmp_path / "network.onnx")]) == 1
    assert "network.onnx: not written: onnxruntime's logits differ by" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_preprocessed_data_noise_is_compared(model, monkeypatch):
    from nnunetv2_sa_unet.nnunet.onnx_file import example_patch, load_fold

    monkeypatch.delenv("nnUNet_preprocessed")
    patch, origin = example_patch(load_fold(model, "3", "checkpoint_final.pth"))
    assert patch.shape == (1, 1, 8, 32, 32)
    assert origin == "noise, because the model's preprocessed data are not here"
