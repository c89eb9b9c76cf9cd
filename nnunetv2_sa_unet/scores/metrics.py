"""The metrics of the WMH Segmentation Challenge for one case.

Source: Kuijf et al., "Standardized Assessment of Automatic Segmentation of White Matter Hyperintensities and
Results of the WMH Segmentation Challenge", IEEE Transactions on Medical Imaging 38 (2019), and the evaluation
script of the challenge. The definitions are the script's; where it fails (empty masks, references stored as
integers) the docstrings and ``docs/reference/metrics.md`` say what is done instead. What has no value is
None, never NaN.

Arrays are 3D with the axes (z, y, x), as SimpleITK gives them: the first axis runs through the slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from nnunetv2_sa_unet.images.masks import BoolArray, predicted_wmh, reference_masks

__all__ = [
    "CaseMetrics",
    "LesionDetection",
    "boundary",
    "dice",
    "hausdorff95",
    "lesion_detection",
    "score",
    "volume_difference_percent",
]

IN_PLANE_SQUARE = np.ones((1, 3, 3), dtype=bool)
TOUCHING_BY_FACE_EDGE_OR_CORNER = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class CaseMetrics:
    """The figures of one case, in the order of the columns of ``metrics.csv``.

    Volumes (ml) and lesion counts are those of the masks as scored: without the reference's other pathology.
    """

    dice: float
    h95_mm: float | None
    avd_percent: float | None
    lesion_recall: float
    lesion_f1: float
    reference_ml: float
    prediction_ml: float
    reference_lesions: int
    prediction_lesions: int


@dataclass(frozen=True)
class LesionDetection:
    """How many of the lesions were found, and how many were there; see :func:`lesion_detection`."""

    recall: float
    precision: float
    f1: float
    reference_lesions: int
    prediction_lesions: int


def score(
    reference: NDArray[Any], prediction: NDArray[Any], axes: NDArray[np.float64]
) -> tuple[CaseMetrics, tuple[str, ...]]:
    """All metrics of one case from the stored values.

    Voxels that the reference marks as other pathology (label 2) are removed from the prediction first.

    Args:
        reference: labels (z, y, x), any integer or float type; see ``masks.reference_masks``.
        prediction: labels or probabilities (z, y, x), any integer or float type; see ``masks.predicted_wmh``.
        axes: (3, 3), row i is the step in mm in world coordinates along array axis i; at right angles.

    Returns:
        The metrics and remarks for the user on how the two were read.

    Raises:
        InputError: the reference has no label 1 but values that are neither 0 nor 2.
        ValueError: the arrays are not 3D or differ in shape.
    """
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise ValueError(f"expected two 3D arrays of one shape, got {reference.shape} and {prediction.shape}")
    truth, other, reference_remarks = reference_masks(reference)
    found, prediction_remarks = predicted_wmh(prediction)
    found &= ~other
    # Not the determinant, whose rounding would turn 0.003 ml into 0.0030000000000000005 ml.
    voxel_ml = float(np.prod(np.linalg.norm(axes, axis=1))) / 1000
    lesions = lesion_detection(truth, found)
    metrics = CaseMetrics(
        dice=dice(truth, found),
        h95_mm=hausdorff95(truth, found, axes),
        avd_percent=volume_difference_percent(truth, found),
        lesion_recall=lesions.recall,
        lesion_f1=lesions.f1,
        reference_ml=int(truth.sum()) * voxel_ml,
        prediction_ml=int(found.sum()) * voxel_ml,
        reference_lesions=lesions.reference_lesions,
        prediction_lesions=lesions.prediction_lesions,
    )
    return metrics, reference_remarks + prediction_remarks


def dice(reference: BoolArray, prediction: BoolArray) -> float:
    """Dice similarity coefficient, 2 |R ∩ P| / (|R| + |P|), from 0 to 1.

    1 where both are empty (the official script has 0/0 there), 0 where only one is.
    """
    total = int(reference.sum()) + int(prediction.sum())
    return 2 * int((reference & prediction).sum()) / total if total else 1.0


def volume_difference_percent(reference: BoolArray, prediction: BoolArray) -> float | None:
    """Absolute volume difference (AVD) in percent of the reference's volume, 100 · ||R| - |P|| / |R|.

    0 where both are empty, None where only the reference is (the official script divides by zero in both).
    The challenge's tables and this function give percent; the paper of 3D SA-UNet prints fractions (0.174 is
    17.4 %).
    """
    volume, predicted = int(reference.sum()), int(prediction.sum())
    if volume == 0:
        return 0.0 if predicted == 0 else None
    return 100 * abs(volume - predicted) / volume


def boundary(mask: BoolArray) -> BoolArray:
    """The mask without its erosion by a square of 3 by 3 voxels within each slice; the same shape (z, y, x).

    What lies outside the image counts as inside the mask, as in the official script: where a mask runs into
    the border of the image it has no boundary.
    """
    eroded: BoolArray = ndimage.binary_erosion(mask, IN_PLANE_SQUARE, border_value=1)
    return mask & ~eroded


def hausdorff95(reference: BoolArray, prediction: BoolArray, axes: NDArray[np.float64]) -> float | None:
    """Modified Hausdorff distance (H95) in mm: the larger of the two directed 95th percentiles.

    A directed distance runs from each boundary voxel of one mask to the nearest boundary voxel of the other,
    in world coordinates; the percentile is interpolated linearly.

    Args:
        reference: (z, y, x).
        prediction: (z, y, x).
        axes: (3, 3), row i is the step in mm in world coordinates along array axis i.

    Returns:
        The distance; None where a mask is empty, or has no boundary because it fills every slice it lies in.
    """
    # Distances do not depend on the origin, so the axes alone make world coordinates.
    reference_points = np.argwhere(boundary(reference)) @ axes
    prediction_points = np.argwhere(boundary(prediction)) @ axes
    if len(reference_points) == 0 or len(prediction_points) == 0:
        return None
    to_reference, _ = cKDTree(reference_points).query(prediction_points)
    to_prediction, _ = cKDTree(prediction_points).query(reference_points)
    return float(max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95)))


def lesion_detection(reference: BoolArray, prediction: BoolArray) -> LesionDetection:
    """Recall, precision and F1 over lesions, which are components connected by faces, edges or corners in 3D.

    Recall is the share of the reference's lesions that the prediction touches in at least one voxel,
    precision the share of the predicted lesions that the reference touches. Each is 1 where there is no
    lesion to count. F1 is their harmonic mean, 0 where both are 0. So two empty masks have F1 1, and a
    single empty one has F1 0.
    """
    reference_labels, reference_lesions = ndimage.label(reference, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    prediction_labels, prediction_lesions = ndimage.label(prediction, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    overlap = reference & prediction
    recall = _share(np.unique(reference_labels[overlap]).size, reference_lesions)
    precision = _share(np.unique(prediction_labels[overlap]).size, prediction_lesions)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return LesionDetection(recall, precision, f1, reference_lesions, prediction_lesions)


def _share(touched: int, lesions: int) -> float:
    return touched / lesions if lesions else 1.0
