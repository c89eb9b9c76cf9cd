"""nnU-Net's predictor from Python, with its options, and the same masks again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

# Predicted with the weights of ``known_weights`` on 2026-11-22, torch 2.15, by the plain formulation.
STORED_MASK = Path(__file__).parent / "data" / "mask_of_known_weights.npz"
PLANS = "nnUNetSAUNetPaperSmallPlans"


@pytest.fixture
def model(in_nnunet, prepare_trainer):
    """Fold 4, trained with mirroring; another test may have done so."""
    folder = in_nnunet.results / f"nnUNetTrainerSAUNet__{PLANS}__3d_fullres"
    if not (folder / "fold_4" / "checkpoint_final.pth").exists():
        prepare_trainer("nnUNetTrainerSAUNet", 4, PLANS).run_training()
    return folder


@pytest.fixture
def predictor(model):
    def make(**options):
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        made = nnUNetPredictor(
            device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False, **options
        )
        made.initialize_from_trained_model_folder(str(model), use_folds=(4,))
        return made

    return make


@pytest.fixture
def volume(in_nnunet):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    return SimpleITKIO().read_images([str(in_nnunet.raw / "imagesTs" / "case5_0000.nii.gz")])


def test_files_arrays_and_a_second_run_give_the_same_masks(in_nnunet, predictor, volume, tmp_path):
    case = in_nnunet.raw / "imagesTs" / "case5_0000.nii.gz"
    predictor().predict_from_files_sequential([[str(case)]], [str(tmp_path / "case5")], save_probabilities=True)
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "case5.nii.gz")))
    saved = np.load(tmp_path / "case5.npz")["probabilities"]

    for _ in range(2):
        again, probabilities = predictor().predict_single_npy_array(*volume, save_or_return_probabilities=True)
        np.testing.assert_array_equal(again, mask)
        np.testing.assert_array_equal(probabilities, saved)
    np.testing.assert_allclose(saved.sum(0), 1, atol=1e-3)


def known_weights(network):
    """He's initialisation from NumPy's legacy generator, whose numbers never change."""
    random = np.random.RandomState(0)
    weights = {}
    for name, weight in sorted(network.state_dict().items()):
        values = random.standard_normal(tuple(weight.shape))
        if weight.ndim > 1:
            values *= np.sqrt(2 / np.prod(weight.shape[1:]))
        else:
            values = 0.1 * values + name.endswith("weight")
        weights[name] = torch.from_numpy(values).float()
    return weights


def test_given_weights_give_the_stored_mask(prepare_trainer, volume):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer = prepare_trainer("nnUNetTrainerSAUNet", 3, PLANS)
    trainer.initialize()
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [known_weights(trainer.network)],
        trainer.dataset_json,
        "nnUNetTrainerSAUNet",
        (0, 1, 2),
    )
    found = predictor.predict_single_npy_array(*volume)
    stored = np.load(STORED_MASK)["mask"]
    assert set(np.unique(stored)) == {0, 1, 2}
    # Rounding differs between processors, and these weights leave many voxels undecided.
    assert np.mean(found != stored) < 0.002


def test_mirroring_and_step_size_are_those_that_were_asked_for(predictor, volume):
    def probabilities(**options):
        return predictor(**options).predict_single_npy_array(*volume, save_or_return_probabilities=True)[1]

    mirrored, plain, dense = (
        probabilities(**options)
        for options in ({}, {"use_mirroring": False}, {"use_mirroring": False, "tile_step_size": 0.25})
    )
    for one, other in ((mirrored, plain), (plain, dense)):
        assert one.shape == other.shape
        assert not np.array_equal(one, other)


@pytest.mark.slow
def test_the_options_of_the_command_are_those_of_the_predictor(in_nnunet, model, predictor, volume, tmp_path):
    in_nnunet.run(
        *("nnUNetv2_predict_from_modelfolder", "-m", str(model), "-i", str(in_nnunet.raw / "imagesTs")),
        *("-o", str(tmp_path), "-f", "4", "-step_size", "0.25", "--disable_tta", "-device", "cpu"),
        *("-npp", "1", "-nps", "1"),
    )
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "case5.nii.gz")))

    expected = predictor(tile_step_size=0.25, use_mirroring=False).predict_single_npy_array(*volume)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.slow
def test_a_compiled_network_predicts_the_same(predictor, volume, monkeypatch):
    plain = predictor(use_mirroring=False).predict_single_npy_array(*volume, save_or_return_probabilities=True)[1]
    monkeypatch.setenv("nnUNet_compile", "t")
    compiled = predictor(use_mirroring=False)
    assert hasattr(compiled.network, "_orig_mod")
    found = compiled.predict_single_npy_array(*volume, save_or_return_probabilities=True)[1]
    np.testing.assert_allclose(found, plain, rtol=0, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_another_device_predicts_the_same(model, predictor, volume, device):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    if not {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}[device]():
        pytest.skip(f"no {device} here")
    expected = predictor().predict_single_npy_array(*volume, save_or_return_probabilities=True)[1]
    other = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    other.initialize_from_trained_model_folder(str(model), use_folds=(4,))
    found = other.predict_single_npy_array(*volume, save_or_return_probabilities=True)[1]
    # nnU-Net runs in 16 bit there.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)
