"""One image in memory, from its voxels to a decided mask and what it holds: nothing here knows of files.

The command puts files around these steps and runs them in threads of their own (``preparation``, ``export``); the
function ``segment`` runs them one after the other (``function``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.masks import WMH, BoolArray
from nnunetv2_sa_unet.scores.lesion_sizes import LesionLoad, lesion_load, without_small
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.ends import describe_ends, end_slices
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.orientation import Grid
from nnunetv2_sa_unet.segmentation.plausibility import oddities, too_thin
from nnunetv2_sa_unet.segmentation.record import Decision

__all__ = ["Decided", "Ready", "decide", "make_ready"]

_Labels = npt.NDArray[np.integer[Any]]
#: From here on nnU-Net stores labels in 16 bits.
_LARGEST_OF_8_BITS = 255


@dataclass(frozen=True)
class Ready:
    """An image that was looked at, and is ready for the network unless a prediction is there already.

    Attributes:
        grid: of the image.
        excluded: voxels on the stored grid (z, y, x) where nothing is WMH.
        remarks: what is odd, which makes a warning.
        notes: what was assumed, which makes none.
        properties: of nnU-Net's preprocessing, for :meth:`.Segmenter.finish`; empty without ``image``.
        image: for the network (channels, z, y, x).
    """

    grid: Grid
    excluded: BoolArray | None
    remarks: list[str]
    notes: list[str]
    properties: dict[str, Any]
    image: torch.Tensor | None = None


@dataclass(frozen=True)
class Decided:
    """The mask of an image.

    Attributes:
        labels: on the stored grid (z, y, x); 1 is WMH.
        is_edited: whether options took or added something after the decision.
        load: what of WMH there is.
    """

    labels: _Labels
    is_edited: bool
    load: LesionLoad


def make_ready(
    segmenter: Segmenter,
    images: Sequence[SimpleITK.Image],
    where: str,
    file: Path | None = None,
    excluded: BoolArray | None = None,
    clear_ends: float | None = None,
    remarks: Sequence[str] = (),
    is_predicted: bool = False,
) -> Ready:
    """Look at an image, and preprocess it.

    Args:
        segmenter: the model.
        images: one a channel, 3D, on one grid, with voxels that ``images.flair`` would accept.
        where: begins the messages of errors.
        file: that the first image is from; None where no NIfTI header can say more than the image.
        excluded: voxels (z, y, x) where nothing is WMH.
        clear_ends: fraction of the axial slices at either end where nothing is WMH.
        remarks: on how the images were read.
        is_predicted: whether a prediction is there already, so that nothing needs to be preprocessed.

    Raises:
        InputError: nothing is left of the image at the model's spacing, or of its ends to be cleared.
    """
    grid = Grid(images[0], segmenter.orientation.code)
    notes = []
    if grid.is_turned and segmenter.orientation.source == "assumed":
        notes.append(
            f"turned from {grid.stored_code} to {grid.code}, in which the model's training images are assumed to be "
            "stored"
        )
    if clear_ends is not None:
        notes.append(describe_ends(images[0].GetSize()[::-1], grid.stored_code, clear_ends))
    turned = [grid.turned(image) for image in images]
    problem = too_thin(turned[0], segmenter.spacing)
    if problem is not None:
        raise InputError(f"{where}: {problem}")
    said = [*remarks, *oddities(file, turned[0], segmenter.spacing)]
    if is_predicted:
        return Ready(grid, excluded, said, notes, {})
    # As nnU-Net's readers make one array of the channels.
    channels = [SimpleITK.GetArrayViewFromImage(image) for image in turned]
    values = np.stack(channels, dtype=np.float32, casting="unsafe")
    spacing = turned[0].GetSpacing()[::-1]
    # Of large volumes nothing is kept that is not needed any more.
    del channels, turned
    image, properties = segmenter.prepare(values, spacing)
    return Ready(grid, excluded, said, notes, properties, image)


def decide(ready: Ready, prediction: Prediction, decision: Decision, keeps_others: bool = True) -> Decided:
    """From a prediction to the mask on the stored grid.

    Args:
        ready: the image.
        prediction: on the grid of the model.
        decision: threshold, smallest lesion and ends.
        keeps_others: whether other labels than WMH stay in the mask.
    """
    labels = ready.grid.to_stored(prediction.decided(decision.threshold))
    labels = labels.astype(np.uint8 if labels.max() < _LARGEST_OF_8_BITS else np.uint16, copy=False)
    wmh = labels == WMH
    if ready.excluded is not None:
        wmh &= ~ready.excluded
    if decision.clear_ends is not None:
        wmh &= ~end_slices(labels.shape, ready.grid.stored_code, decision.clear_ends)
    if decision.min_volume_mm3 is not None:
        wmh = without_small(wmh, ready.grid.voxel_mm3, decision.min_volume_mm3)
    others = np.where(labels == WMH, 0, labels) if keeps_others else 0
    edited = np.where(wmh, WMH, others).astype(labels.dtype)
    return Decided(edited, not np.array_equal(edited, labels), lesion_load(wmh, ready.grid.voxel_mm3))
