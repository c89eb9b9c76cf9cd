"""How the voxels of the training images are stored.

nnU-Net hands a network the axes of an image as they lie in its file. Which way they run is written nowhere in a model,
so our trainers note it in the plans; ``segment`` then turns images to it.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import SimpleITK
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

__all__ = ["ORIENTATION_KEY", "direction_code", "note_orientations", "training_orientations"]

#: Where in a model's plans.json the orientations of its training images stand, with the number of images of each.
ORIENTATION_KEY = "nnunetv2_sa_unet_orientations"


def note_orientations(trainer: nnUNetTrainer) -> None:
    """Write the orientations of a trainer's images into its plans, and say so in its log if they differ."""
    found = training_orientations(Path(trainer.preprocessed_dataset_folder))
    if not found:
        return
    trainer.plans_manager.plans[ORIENTATION_KEY] = found
    if len(found) > 1:
        listed = ", ".join(f"{code}: {number}" for code, number in found.items())
        trainer.print_to_log_file(
            f"The training images are stored in different orientations ({listed}), which the network sees as they are. "
            f"nnUNetv2_sa_unet segment turns images to {next(iter(found))}"
        )


def training_orientations(preprocessed: Path) -> dict[str, int]:
    """Count the orientations of the images in a folder of preprocessed cases, the most frequent first.

    Args:
        preprocessed: nnU-Net's folder of one configuration, with a pickle of properties a case.

    Returns:
        The number of images by code, such as ``LPS``: the array's last axis runs to the left, the one before to the
        back, the first upwards. Images whose reader keeps no orientation are passed over.
    """
    found: Counter[str] = Counter()
    for path in sorted(preprocessed.glob("*.pkl")):
        # nnU-Net's own file, which its dataloader unpickles in the next moment.
        code = _code(pickle.loads(path.read_bytes()))
        if code is not None:
            found[code] += 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def direction_code(direction: tuple[float, ...]) -> str:
    """The code of ITK's direction cosines (9 values): ``LPS`` for the identity."""
    code: str = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
    return code


def _code(properties: Mapping[str, Any]) -> str | None:
    """The orientation that nnU-Net's reader gave its array, after the reader turned it if it is one that does."""
    if "nibabel_stuff" in properties:
        affines = properties["nibabel_stuff"]
        aff2axcodes: Any = nibabel.aff2axcodes
        return "".join(aff2axcodes(affines.get("reoriented_affine", affines["original_affine"])))
    direction = properties.get("sitk_stuff", {}).get("direction", ())
    return direction_code(tuple(map(float, direction))) if len(direction) == 9 else None
