"""``score``: the challenge's metrics of one prediction that a program holds, or that is in a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.in_memory import ImageInMemory, as_sitk
from nnunetv2_sa_unet.images.volumes import read_remarked, shape_problem
from nnunetv2_sa_unet.scores.metrics import CaseMetrics
from nnunetv2_sa_unet.scores.scoring import score_images

__all__ = ["score"]

#: Arrays are taken for SimpleITK's (z, y, x); distances and volumes do not depend on where the axes run.
_AXES = "SPL"


def score(
    reference: str | os.PathLike[str] | ImageInMemory,
    prediction: str | os.PathLike[str] | ImageInMemory,
    spacing: Sequence[float] | None = None,
) -> CaseMetrics:
    """Score a prediction with the metrics of the WMH Segmentation Challenge, as ``nnUNetv2_sa_unet evaluate`` does.

    Args:
        reference: 3D, 1 for white matter hyperintensity (WMH), 2 for other pathology, which is left out of the
            prediction: a path, an image of SimpleITK or nibabel, or an array.
        prediction: labels (1 is WMH) or probabilities of WMH, likewise, on the grid of the reference.
        spacing: of two arrays: edges of a voxel in mm, in the order of their axes, of which the first must run through
            the slices (z, y, x): H95 looks for boundaries within slices.

    Returns:
        Dice (0 to 1), H95 in mm, absolute volume difference in percent, recall and F1 of lesions (0 to 1), volumes in
        ml and numbers of lesions; what has no value is None.

    How the masks were read, where that is not plain, is told by ``warnings``.

    Raises:
        InputError: (a ``ValueError``) one cannot be read or is no mask, an array comes without ``spacing`` or beside an
            image with a geometry, or the two lie on different grids.
        TypeError: one is no image.
    """
    arrays = [isinstance(each, np.ndarray) for each in (reference, prediction)]
    if any(arrays) and not all(arrays):
        raise InputError("reference and prediction: one is an array and lies nowhere; give two arrays, or two images")
    if all(arrays) and spacing is None:
        raise InputError("arrays say nothing of their voxels: give spacing=(z, y, x), their edges in mm")
    (first, said_first), (second, said_second) = (
        _read(each, spacing, name) for name, each in (("reference", reference), ("prediction", prediction))
    )
    differences = geometry_differences(first, second)
    if differences:
        raise InputError(
            f"prediction: not on the reference's grid: {'; '.join(differences)}; resample it, or copy the reference's "
            "geometry if only that is wrong"
        )
    metrics, remarks = score_images(first, second)
    for remark in (*remarks, *said_first, *said_second):
        warnings.warn(remark, stacklevel=2)
    return metrics


def _read(
    image: str | os.PathLike[str] | ImageInMemory, spacing: Sequence[float] | None, name: str
) -> tuple[SimpleITK.Image, list[str]]:
    if not isinstance(image, (str, os.PathLike)):
        return as_sitk(image, spacing, _AXES if isinstance(image, np.ndarray) else None, name), []
    if spacing is not None:
        raise InputError(f"{name}: has a geometry of its own: leave out spacing")
    made, remarks = read_remarked(Path(image))
    problem = shape_problem(made)
    if problem is not None:
        raise InputError(f"{image}: {problem}")
    return made, [f"{name}: {remark}" for remark in remarks]
