"""The maps of a subject that let a later run decide anew without the network."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.files import below
from nnunetv2_sa_unet.segmentation.decision import Alternatives, Prediction
from nnunetv2_sa_unet.segmentation.orientation import Grid
from nnunetv2_sa_unet.segmentation.record import Subject

__all__ = ["read_prediction", "write_alternatives"]


def read_prediction(folder: Path, row: Subject, grid: Grid) -> Prediction:
    """Read what an earlier run stored of a subject, on the grid of the model.

    Args:
        folder: of the run.
        row: of the subject, with files that are intact.
        grid: of its image.
    """
    probability = grid.to_model(_values(below(folder, str(row.probabilities))))
    if row.alternatives is None:
        return Prediction.stored(probability, None)
    with np.load(below(folder, row.alternatives)) as stored:
        return Prediction.stored(
            probability,
            Alternatives(**{field.name: grid.to_model(stored[field.name]) for field in fields(Alternatives)}),
        )


def write_alternatives(alternatives: Alternatives, grid: Grid, path: Path) -> None:
    """Write the label maps, each by its name, on the stored grid (z, y, x)."""
    maps: dict[str, Any] = {
        field.name: grid.to_stored(getattr(alternatives, field.name)) for field in fields(Alternatives)
    }
    np.savez_compressed(path, **maps)


def _values(path: Path) -> np.ndarray:
    values: np.ndarray = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return values
