"""Plan for fingerprints of typical FLAIR and GPUs of several sizes, and count what networks keep for each value.

python docs/reference/planner_presets.py
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

FINGERPRINTS = {
    "1×1×3 mm, 48×256×230": ([3.0, 1.0, 1.0], [48, 256, 230]),
    "1×1×1 mm, 176×240×200": ([1.0, 1.0, 1.0], [176, 240, 200]),
}
CASES = 60
GPUS = (8, 11, 24, 80)
DATASET = "Dataset001_Fingerprint"


def make_dataset(root: Path, spacing: list[float], shape: list[int]) -> None:
    """Write what nnU-Net's planners read: the description, one file of a case, the fingerprint."""
    import SimpleITK

    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True, exist_ok=True)
    for path in (raw / "imagesTr" / "a_0000.nii.gz", raw / "labelsTr" / "a.nii.gz"):
        SimpleITK.WriteImage(SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8), str(path))
    description = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "WMH": 1, "other": 2},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    fingerprint = {
        "spacings": [spacing] * CASES,
        "shapes_after_crop": [shape] * CASES,
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))


def print_bytes(configuration: dict[str, Any]) -> None:
    """Say what nnU-Net's network of a configuration, and the SA-UNet made of it, keep for each value."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    from nnunetv2_sa_unet.nnunet.memory import saved_bytes
    from nnunetv2_sa_unet.plans.topology import apply_values

    found = []
    for made in (configuration, apply_values(configuration, {})):
        architecture = made["architecture"]
        names = ("network_class_name", "arch_kwargs", "_kw_requires_import")
        with torch.device("meta"):
            network = get_network_from_plans(*(architecture[name] for name in names), 1, 3, allow_init=False)
        values = network.compute_conv_feature_map_size(made["patch_size"])
        kept = saved_bytes(architecture, made["patch_size"], 1, 3)
        found.append((kept, kept / values))
    print(
        f"  nnU-Net's network {found[0][1]:.2f}, SA-UNet {found[1][1]:.2f} bytes a value; "
        f"SA-UNet keeps {found[1][0] / found[0][0]:.2f} times as much"
    )


def main() -> None:
    root = Path(tempfile.mkdtemp())
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(root / name)
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    from nnunetv2_sa_unet.nnunet.planner import nnUNetPlannerSAUNet
    from nnunetv2_sa_unet.plans.configurations import resolve

    for title, (spacing, shape) in FINGERPRINTS.items():
        make_dataset(root, spacing, shape)
        for gpu in GPUS:
            ours, nnunets = nnUNetPlannerSAUNet(DATASET, gpu), ExperimentPlanner(DATASET, gpu)
            with redirect_stdout(StringIO()):
                plans = ours.plan_experiment()
                default = nnunets.plan_experiment()
            for name, (kept, _) in ours.memory().items():
                found = resolve(plans, name)
                stages = found["architecture"]["arch_kwargs"]["n_stages"]
                patch = "×".join(map(str, found["patch_size"]))
                print(
                    f"{title}, {gpu} GB, {name}: {found['batch_size']} × {patch}, {stages} stages, {kept / 1e9:.1f} GB"
                )
                if name in default["configurations"]:
                    print_bytes(resolve(default, name))


if __name__ == "__main__":
    main()
