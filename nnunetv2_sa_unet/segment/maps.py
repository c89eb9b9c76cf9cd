"""The maps of a subject that let a later run decide anew without the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.files import below
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.segment.decision import Alternatives, Prediction
from nnunetv2_sa_unet.segment.orientation import Grid
from nnunetv2_sa_unet.segment.record import Subject
from nnunetv2_sa_unet.segment.writing import write_image

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
    maps = _values(below(folder, row.alternatives))
    return Prediction.stored(probability, Alternatives(*(grid.to_model(labels) for labels in maps)))


def write_alternatives(alternatives: Alternatives, grid: Grid, like: SimpleITK.Image, path: Path) -> None:
    """Write the label maps as one image of four axes on the stored grid."""
    maps = (alternatives.most_probable, alternatives.without_wmh, alternatives.with_wmh)
    write_image(SimpleITK.JoinSeries([image_like(grid.to_stored(labels), like) for labels in maps]), path, True)


def _values(path: Path) -> np.ndarray:
    values: np.ndarray = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return values
