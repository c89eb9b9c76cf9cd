"""Time the augmentation ``paper`` beside nnU-Net's own, on one thread.

python docs/explanation/augmentation_timing.py IMAGE LABEL
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from augmentation_figure import crop, load
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.nnunet.augmentation import (
    paper_initial_patch_size,
    paper_mirror_axes,
    paper_training_transforms,
)

PATCHES = (16, 160, 160), (32, 256, 256)
# Of many runs, because both pipelines draw what they do.
RUNS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("image", "label"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002  # the generator that the transforms use
    torch.manual_seed(0)
    image, label, spacing = load(args.image, args.label)
    for patch in PATCHES:
        # nnU-Net derives these from the patch size alone.
        trainer = SimpleNamespace(
            configuration_manager=SimpleNamespace(patch_size=patch), print_to_log_file=lambda *_: None
        )
        rotation, dummy_2d, initial, mirror_axes = (
            nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(trainer)
        )
        pipelines = {
            "nnunet": (
                initial,
                nnUNetTrainer.get_training_transforms(patch, rotation, None, mirror_axes, dummy_2d),
            ),
            "paper": (
                paper_initial_patch_size(patch, spacing),
                paper_training_transforms(patch, spacing, paper_mirror_axes(patch), None),
            ),
        }
        centre = [edge // 2 for edge in image.shape[1:]]
        inputs = {
            name: (crop(image, centre, size, 0), crop(label, centre, size, -1)) for name, (size, _) in pipelines.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in pipelines}
        for _ in range(RUNS):
            for name, (_, transforms) in pipelines.items():
                volume, target = (tensor.clone() for tensor in inputs[name])
                start = perf_counter()
                transforms(image=volume, segmentation=target)
                seconds[name].append(perf_counter() - start)
        for name, (size, _) in pipelines.items():
            lower, median, upper = 1e3 * np.quantile(seconds[name], (0.25, 0.5, 0.75))
            print(
                f"{patch}  {name:6}  crop {tuple(int(edge) for edge in size)}  median {median:.0f} ms "
                f"(quartiles {lower:.0f}-{upper:.0f}), mean {1e3 * np.mean(seconds[name]):.0f} ms"
            )


if __name__ == "__main__":
    main()
