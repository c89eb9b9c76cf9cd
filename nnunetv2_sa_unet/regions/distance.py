"""Distances to the surface of a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["distance_mm"]


def distance_mm(mask: BoolArray, edge: float) -> npt.NDArray[np.float32]:
    """Distance to the surface of a mask in mm, negative inside; infinite where the mask is empty.

    Args:
        mask: (z, y, x).
        edge: of its voxels, which are cubes, in mm.
    """
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    image = SimpleITK.SignedMaurerDistanceMap(SimpleITK.GetImageFromArray(mask.astype(np.uint8)), False, False)
    # ITK measures to the centres of the outermost voxels inside, half a voxel below the surface.
    distance: npt.NDArray[np.float32] = (SimpleITK.GetArrayFromImage(image) - np.float32(0.5)) * np.float32(edge)
    return distance
