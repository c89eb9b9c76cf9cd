"""Time nnU-Net's own prediction command with untrained networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import SimpleITK
import torch
from planned import SPACING, build

_DATASET = "Dataset001_Benchmark"
_PREDICT = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point; predict_entry_point()"


def interleaved_predictions(
    configurations: Mapping[str, Mapping[str, Any]],
    device: str,
    rounds: int,
    folder: Path,
    volume: Sequence[int],
) -> list[list[float]]:
    """Predict one volume with ``nnUNetv2_predict`` in turn for every network, with one fold and mirroring.

    The time is that of the whole command: start of Python, preprocessing, tiles, and export included.

    Args:
        configurations: by name.
        device: ``cpu``, ``cuda`` or ``mps``.
        rounds: predictions of each.
        folder: for models, volume and predictions.
        volume: slices, rows and columns of the volume.

    Returns:
        for each network the seconds of every round.

    Raises:
        RuntimeError: if the command fails; the message ends with the last line that it wrote.
    """
    dataset_json = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1, "other": 2},
        "file_ending": ".nii.gz",
    }
    for name, configuration in configurations.items():
        _write_model(_model_folder(folder, name), name, configuration, dataset_json, volume)
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(100, 20, volume).astype(np.float32))
    image.SetSpacing(SPACING[::-1])
    (folder / "images").mkdir()
    SimpleITK.WriteImage(image, folder / "images" / "case_0000.nii.gz")

    seconds: list[list[float]] = [[] for _ in configurations]
    for _ in range(rounds):
        for name, durations in zip(configurations, seconds, strict=True):
            start = perf_counter()
            _run(name, device, folder)
            durations.append(perf_counter() - start)
    return seconds


def _model_folder(folder: Path, name: str) -> Path:
    return folder / "nnUNet_results" / _DATASET / f"nnUNetTrainer__{_plans_name(name)}__3d_fullres"


def _plans_name(name: str) -> str:
    return "Benchmark" + name.replace("-", "").replace("_", "")


def _write_model(
    folder: Path,
    name: str,
    configuration: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    volume: Sequence[int],
) -> None:
    """Write what nnU-Net leaves after a training; the weights are those before it."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    plans = {
        "dataset_name": _DATASET,
        "plans_name": _plans_name(name),
        "original_median_spacing_after_transp": list(SPACING),
        "original_median_shape_after_transp": list(volume),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {
            "3d_fullres": {
                **configuration,
                "data_identifier": "benchmark",
                "preprocessor_name": "DefaultPreprocessor",
                "median_image_size_in_voxels": list(volume),
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "batch_dice": False,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
            }
        },
    }
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset_json), encoding="utf-8")
    torch.manual_seed(0)
    checkpoint = {
        "network_weights": build(dict(configuration), deep_supervision=True).state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def _run(name: str, device: str, folder: Path) -> None:
    words: Sequence[str] = (
        *("-i", str(folder / "images"), "-o", str(folder / "predictions" / name), "-d", _DATASET),
        *("-p", _plans_name(name), "-c", "3d_fullres", "-f", "0", "-device", device, "-npp", "1", "-nps", "1"),
    )
    folders = {kind: str(folder / kind) for kind in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    result = subprocess.run(
        [sys.executable, "-c", _PREDICT, *words],
        env={**os.environ, **folders},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"nnUNetv2_predict with {name} ended with status {result.returncode}: {last}")
