"""The volumes that the viewer shows: one script a subject, which a page opened from a file may load.

A page at ``file://`` may not read files, but it may load scripts. So the volumes travel as NIfTI files, compressed, in
base64, in a script that hands them to the page.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.images.pictures import display_window
from nnunetv2_sa_unet.report.subject_images import Volumes

__all__ = ["viewer_script"]

#: The function that the page defines.
_FUNCTION = "nnunetv2SaUnetVolumes"
#: The brightest of a million voxels are left to saturate, so that one spike does not take the range of all others.
_BRIGHTEST = 99.95


def viewer_script(key: str, volumes: Volumes, overlays: dict[str, NDArray[np.uint8]], box: tuple[slice, ...]) -> bytes:
    """The script with a subject's volumes.

    The viewer shows 256 grey values, so brightness is stored in 256 steps between its lowest and its 99.95th
    percentile; probabilities in 256 steps between 0 and 1. Headers hold the scale and the place of the part.

    Args:
        key: by which the page asks for it.
        volumes: of which brightness and probabilities are taken.
        overlays: labels (z, y, x) by name.
        box: the part of the volume to take.
    """
    files = {}
    if volumes.flair is not None:
        part = volumes.flair[box].astype(np.float32)
        low, high = float(part.min()), float(np.percentile(part, _BRIGHTEST))
        step = (high - low) / 255 or 1.0
        steps = np.clip((part - low) / step, 0, 255).round().astype(np.uint8)
        files["flair"] = _nifti(steps, volumes, box, (step, low), display_window(volumes.flair))
    for name, labels in overlays.items():
        files[name] = _nifti(labels[box], volumes, box)
    if volumes.probabilities is not None:
        steps = np.clip(np.nan_to_num(volumes.probabilities[box]) * 255, 0, 255).round().astype(np.uint8)
        files["probabilities"] = _nifti(steps, volumes, box, (1 / 255, 0.0))
    return f"{_FUNCTION}({json.dumps(key)}, {json.dumps(files)});\n".encode("ascii")


def _nifti(
    values: NDArray[Any],
    volumes: Volumes,
    box: tuple[slice, ...],
    scale: tuple[float, float] = (1.0, 0.0),
    window: tuple[float, float] = (0.0, 0.0),
) -> str:
    """A compressed NIfTI file in base64; the same values give the same bytes."""
    affine = volumes.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start or 0 for part in reversed(box)]
    untyped: Any = nibabel.nifti1
    image = untyped.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    # With a slope set, nibabel writes the values as they are and does not choose a scale of its own.
    image.header.set_slope_inter(*scale)
    image.header["cal_min"], image.header["cal_max"] = window
    return base64.b64encode(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)).decode("ascii")
