"""What looks odd about an image that should be FLAIR of a head.

None of it keeps an image from being segmented: what is said here becomes a warning in the subject's row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.images.nifti import is_nifti, read_nifti_header

__all__ = ["oddities", "too_thin"]

#: Edge lengths of a field of view (mm) that hold a brain: 80 mm of slices leave no room for one, 400 mm for more.
_EXTENT = (80, 400)
#: Edge lengths of a voxel (mm), slices with gaps included.
_VOXEL = (0.2, 10)
#: Share of voxels below zero, or below what is air in CT, from which an image is no magnitude image. Where FLAIR was
#: resampled with splines, which overshoot, one voxel in a hundred is below zero.
_SHARE = 0.05
#: Hounsfield units; air is -1000.
_CT_AIR = -500
#: An image with no more values than this is a map of labels.
_FEW_VALUES = 16
#: Spacing of the slices to spacing in the slices from which slices are thick.
_THICK = 2.0


def oddities(path: Path | None, image: SimpleITK.Image, model_spacing: Sequence[float]) -> list[str]:
    """Say what is odd about an image, one entry a finding.

    Args:
        path: of the file, or of a DICOM series its folder; None if there is neither.
        image: 3D, of one channel, as the model sees it.
        model_spacing: that the model resamples to, in mm, (z, y, x) or (y, x).
    """
    return [*_geometry(path, image, model_spacing), *_values(SimpleITK.GetArrayViewFromImage(image))]


def too_thin(image: SimpleITK.Image, model_spacing: Sequence[float]) -> str | None:
    """Say that nothing is left of an image at the spacing of a model.

    Args:
        image: 3D.
        model_spacing: that the model resamples to, in mm, (z, y, x) or (y, x).
    """
    size, spacing = image.GetSize()[::-1], image.GetSpacing()[::-1]
    axes = len(model_spacing)
    for length, edge, wanted in zip(size[-axes:], spacing[-axes:], model_spacing, strict=True):
        # As nnU-Net rounds.
        if round(length * edge / wanted) < 1:
            return f"is {length * edge:g} mm thick; a model of {wanted:g} mm needs {wanted / 2:g} mm or more"
    return None


def _geometry(path: Path | None, image: SimpleITK.Image, model_spacing: Sequence[float]) -> Iterator[str]:
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    if 1 in size and len(model_spacing) == 3:
        yield "a single slice, and the model is 3D"
    elif not _all_within(spacing * size, _EXTENT):
        yield f"extent {_times(spacing * size)} mm; a head's lies between {_EXTENT[0]} and {_EXTENT[1]} mm"
    if not _all_within(spacing, _VOXEL):
        yield f"voxel {_times(spacing)} mm; expected edges between {_VOXEL[0]} and {_VOXEL[1]} mm"
    if path is not None and _is_nifti_without_orientation(path):
        yield "orientation unknown: qform and sform codes of the NIfTI header are 0"
    elif len(model_spacing) == 3 and _sliced_otherwise(spacing[::-1], np.array(model_spacing)):
        yield "its slices are thick along another axis than those of the images that the model was trained on"


def _values(values: Any) -> Iterator[str]:
    negative, air = float((values < 0).mean()), float((values <= _CT_AIR).mean())
    if air > _SHARE:
        yield f"{air:.0%} of the voxels are at {_CT_AIR} or below, as in CT"
    elif negative > _SHARE:
        yield f"{negative:.0%} of the voxels are below zero; FLAIR as it comes from the scanner has none"
    # Of a map of labels any part shows few values; of an image already a few slices show many.
    if np.unique(values[:: max(1, len(values) // 8)]).size <= _FEW_VALUES:
        different = np.unique(values).size
        if different <= _FEW_VALUES:
            yield f"only {different} different values, as in a map of labels"


def _all_within(lengths: Any, limits: tuple[float, float]) -> bool:
    return bool(np.all((lengths >= limits[0]) & (lengths <= limits[1])))


def _times(lengths: Any) -> str:
    return "×".join(f"{length:g}" for length in np.round(lengths, 2))


def _is_nifti_without_orientation(path: Path) -> bool:
    if not is_nifti(path):
        return False
    header = read_nifti_header(path)
    return header.qform is None and header.sform is None


def _sliced_otherwise(spacing: Any, model_spacing: Any) -> bool:
    """Whether an image and a model, both in mm (z, y, x), have thick slices along different axes."""
    thick = [np.flatnonzero(each >= _THICK * each.min()) for each in (spacing, model_spacing)]
    return all(axes.size == 1 for axes in thick) and int(thick[0][0]) != int(thick[1][0])
