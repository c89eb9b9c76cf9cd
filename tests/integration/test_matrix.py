"""Configurations × kinds of labels × variants, and volumes of every shape, through real nnU-Net.

A row trains for one short epoch, validates, and predicts. The normal suite runs a few rows, ``make test-all`` all.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.commands.main import main

PLANS = "nnUNetSAUNetMatrixPlans"
TRAINERS = ["nnUNetTrainerSAUNet", "nnUNetTrainerSAUNet_backbone333BN"]
CONFIGURATIONS = ["2d", "3d_lowres", "3d_fullres", "3d_child", "3d_cascade_fullres"]
LABELS = ["labels", "regions", "ignore", "regions and ignore"]
SHAPES = {
    "isotropic": "3d_fullres",
    "single slices": "2d",
    "unequal volumes": "3d_fullres",
    "thick along x": "3d_fullres",
}
CORE = {("regions and ignore", TRAINERS[0], name) for name in ("3d_lowres", "3d_cascade_fullres")}


def rows():
    for kind in LABELS:
        for trainer in TRAINERS:
            for configuration in CONFIGURATIONS:
                row = (kind, trainer, configuration)
                yield pytest.param(*row, marks=() if row in CORE else pytest.mark.slow)


@pytest.fixture
def train(dataset, train_here):
    """Train one fold, unless another test has, and return the model's folder."""

    def run(kind, trainer, configuration, fold=0, plans=PLANS):
        nnunet = dataset(kind)
        model = nnunet.results / f"{trainer}__{plans}__{configuration}"
        if not (model / f"fold_{fold}" / "validation" / "summary.json").exists():
            train_here(trainer, fold, plans, dataset=nnunet.dataset, configuration=configuration)
        return model

    return run


def image_of(data, case=0):
    """The channels of a case, and what nnU-Net wants to know of it."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    files = sorted((data.raw / "imagesTr").glob(f"case{case}_*.nii.gz"))
    return SimpleITKIO().read_images([str(file) for file in files])


def predict(model, image, properties, previous=None):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,))
    return predictor.predict_single_npy_array(image, properties, previous, save_or_return_probabilities=True)


def check_training(model):
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    assert json.loads((model / "fold_0" / "validation" / "summary.json").read_text())["metric_per_case"]


@pytest.mark.parametrize(("kind", "trainer", "configuration"), rows())
def test_a_configuration_trains_validates_and_predicts(dataset, train, kind, trainer, configuration):
    data, previous = dataset(kind), None
    image, properties = image_of(data)
    if configuration == "3d_cascade_fullres":
        for fold in (1, 0):
            lowres = train(kind, trainer, "3d_lowres", fold)
        # nnU-Net reads a mask with one channel.
        previous = predict(lowres, image, properties)[0][None].astype(np.int8)
    model = train(kind, trainer, configuration)

    check_training(model)
    mask, probabilities = predict(model, image, properties, previous)
    assert mask.shape == image.shape[1:]
    assert len(probabilities) == {"labels": 4, "regions": 3, "ignore": 3, "regions and ignore": 2}[kind]
    assert set(np.unique(mask)) <= {"ignore": {0, 1, 2}, "regions and ignore": {0, 1, 2}}.get(kind, {0, 1, 2, 3})


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(("kind", "configuration"), SHAPES.items())
def test_volumes_of_every_shape_are_trained_and_predicted(dataset, train, kind, configuration, trainer):
    model = train(kind, trainer, configuration)

    check_training(model)
    for case in (0, 1, 2):
        image, properties = image_of(dataset(kind), case)
        mask, _ = predict(model, image, properties)
        assert mask.shape == image.shape[1:]
    if kind == "thick along x":
        # nnU-Net turns the thick axis to the front, where the network expects it.
        plans = json.loads((model / "plans.json").read_text())
        assert plans["transpose_forward"] == [2, 0, 1]
        assert plans["configurations"][configuration]["spacing"] == pytest.approx([3, 1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", "3d_cascade_fullres"])
def test_other_configurations_are_exported_to_onnx(train, tmp_path, capsys, configuration):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    if configuration == "3d_cascade_fullres":
        for fold in (1, 0):
            train("labels", TRAINERS[0], "3d_lowres", fold)
    model = train("labels", TRAINERS[0], configuration)

    assert main(["export-onnx", str(model), "-f", "0", "-o", str(tmp_path / "network.onnx")]) == 0
    assert "on the centre of case case0" in capsys.readouterr().out


def log_of(model):
    (log,) = sorted((model / "fold_0").glob("training_log_*.txt"))[-1:]
    return log.read_text()


@pytest.mark.slow
def test_isotropic_data_are_warned_of_once_unless_kernels_are_as_planned(dataset, train):
    assert log_of(train("isotropic", TRAINERS[0], "3d_fullres")).count("nearly isotropic") == 1

    data = dataset("isotropic")
    override = json.loads((data.root / "matrix.json").read_text())
    override["configurations"]["*"]["kernels"] = "planned"
    (data.root / "planned.json").write_text(json.dumps(override))
    data.run("nnUNetv2_sa_unet", "plan", "-d", data.dataset, "--gpu-memory", "0.005", "--override", "planned.json")
    plans = json.loads((data.preprocessed / "nnUNetSAUNetPlannedPlans.json").read_text())
    # The data are those of the matrix' own plans; only the names differ.
    for name, configuration in plans["configurations"].items():
        if "data_identifier" in configuration:
            configuration["data_identifier"] = f"{PLANS}_{name}"
    (data.preprocessed / "nnUNetSAUNetPlannedPlans.json").write_text(json.dumps(plans))
    model = train("isotropic", TRAINERS[0], "3d_fullres", plans="nnUNetSAUNetPlannedPlans")

    check_training(model)
    assert "nearly isotropic" not in log_of(model)
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"][0] == [3, 3, 3]


@pytest.mark.slow
def test_a_real_isotropic_volume_is_planned_and_trained(shared, workplace, train_here):
    data = replace(workplace, dataset="Dataset930_Isotropic")
    for folder, name in (("imagesTr", "om26_0000.nii.gz"), ("labelsTr", "om26.nii.gz")):
        (data.raw / folder).mkdir(parents=True)
        shutil.copy(shared / "data" / "iso1mm" / name, data.raw / folder)
    description = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (data.raw / "dataset.json").write_text(json.dumps(description))
    values = {
        "features_per_stage": [8, 8, 16, 16, 16, 16],
        "patch_size": [64, 96, 96],
        "training": {"augmentation": "none"},
    }
    values["training"] |= {"num_epochs": 1, "num_iterations_per_epoch": 1, "num_val_iterations_per_epoch": 1}
    for name, kernels in (("iso", {}), ("isoPlanned", {"kernels": "planned"})):
        override = {"description": "", "configurations": {"3d_fullres": values | kernels}}
        (data.root / f"{name}.json").write_text(json.dumps(override))
    data.run("nnUNetv2_extract_fingerprint", "-d", "930", "-np", "1")
    for name in ("iso", "isoPlanned"):
        data.run("nnUNetv2_sa_unet", "plan", "-d", "930", "--gpu-memory", "8", "--override", f"{name}.json")
    data.run("nnUNetv2_preprocess", "-d", "930", "-plans_name", "nnUNetSAUNetIsoPlans", "-c", "3d_fullres", "-np", "1")

    train_here(TRAINERS[0], "all", "nnUNetSAUNetIsoPlans", dataset=data.dataset)
    model = data.results / f"{TRAINERS[0]}__nnUNetSAUNetIsoPlans__3d_fullres"
    (log,) = (model / "fold_all").glob("training_log_*.txt")
    assert log.read_text().count("nearly isotropic") == 1
    assert json.loads((model / "fold_all" / "validation" / "summary.json").read_text())["metric_per_case"]
    planned = json.loads((data.preprocessed / "nnUNetSAUNetIsoPlannedPlans.json").read_text())
    kwargs = planned["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert kwargs["kernel_sizes"][0] == [3, 3, 3]
    assert kwargs["strides"][1] == [2, 2, 2]
