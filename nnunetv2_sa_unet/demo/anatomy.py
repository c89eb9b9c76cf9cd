"""The embedded tissue map and the maps of distance that a synthetic head is built from.

Arrays are ordered (z, y, x) and point to superior, anterior and right with rising index; positions are
millimetres of MNI152 space in the same order and directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.regions.template import BACKGROUND, CSF, GREY_MATTER, VENTRICLES, WHITE_MATTER, read_tissue

__all__ = ["Anatomy", "Floats", "load_anatomy"]

Floats = npt.NDArray[np.float32]

_PADDING = ((2, 24), (24, 24), (24, 24))
_HULL_RADIUS = 20.0
# The template's cortex is an average of many brains and fills the sulci. Here it is split again: the
# fraction of CSF in it by distance from white matter (mm), first the cortex, then a sulcus, then what would
# be the next gyrus.
_SULCUS = ((0.0, 2.4, 4.0, 5.5, 8.0), (0.0, 0.0, 0.9, 0.9, 0.35))
# Grey matter inside these ellipsoids (centre and semi-axes; z, y, x in mm) is no cortex: the deep nuclei
# with the brain stem, and the cerebellum, whose folds are far below the resolution of the map.
_NO_CORTEX = (((0.0, -8.0, 0.0), (26.0, 40.0, 36.0)), ((-42.0, -62.0, 0.0), (30.0, 42.0, 62.0)))


@dataclass(frozen=True)
class Anatomy:
    """Maps of one shape on a 1 mm grid; distances in mm, to a surface and negative inside it.

    Attributes:
        origin: position of the first voxel (z, y, x).
        csf: fraction of CSF outside the lateral ventricles, 0 to 1.
        to_white: distance to white matter and lateral ventricles together.
        to_ventricles: distance to the lateral ventricles.
        to_brain: distance to the brain, CSF included.
        to_hull: distance to the brain with its concavities filled.
    """

    origin: tuple[float, float, float]
    csf: Floats
    to_white: Floats
    to_ventricles: Floats
    to_brain: Floats
    to_hull: Floats


@lru_cache(maxsize=1)
def load_anatomy() -> Anatomy:
    """Read the embedded tissue map and derive the maps from it (some seconds, once a process)."""
    image = read_tissue()
    tissue = np.pad(SimpleITK.GetArrayFromImage(image), _PADDING)
    x, y, z = image.GetOrigin()
    # ITK counts millimetres to the left and to the back, the map to the right and to the front.
    origin = (z - _PADDING[0][0], -y - _PADDING[1][0], -x - _PADDING[2][0])

    ventricles = tissue == VENTRICLES
    to_brain = _signed_distance(tissue != BACKGROUND)
    to_white = _signed_distance((tissue == WHITE_MATTER) | ventricles)
    sulcus = np.interp(to_white, *_SULCUS) * _cortical(tissue.shape, origin)
    return Anatomy(
        origin=origin,
        csf=np.where(tissue == GREY_MATTER, sulcus, tissue == CSF).astype(np.float32),
        to_white=to_white,
        to_ventricles=_signed_distance(ventricles),
        to_brain=to_brain,
        to_hull=_signed_distance(_closed(to_brain)),
    )


def _signed_distance(mask: npt.NDArray[np.bool_]) -> Floats:
    """Distance in voxels to the surface of ``mask``, negative inside."""
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    distance = SimpleITK.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False)
    # ITK measures to the centres of the outermost voxels inside, which lie half a voxel below the surface.
    array: Floats = SimpleITK.GetArrayFromImage(distance) - np.float32(0.5)
    return array


def _closed(to_brain: Floats) -> npt.NDArray[np.bool_]:
    """The brain closed with a ball, so that skull and scalp do not follow the Sylvian fissure."""
    grown = to_brain < _HULL_RADIUS
    return _signed_distance(grown) < -_HULL_RADIUS


def _cortical(shape: tuple[int, ...], origin: tuple[float, float, float]) -> Floats:
    """1 where grey matter is cortex, 0 in the deep nuclei and the cerebellum, with soft borders."""
    cortical = np.ones(shape, np.float32)
    for centre, axes in _NO_CORTEX:
        square = np.zeros(shape, np.float32)
        for axis in range(3):
            position = origin[axis] + np.arange(shape[axis], dtype=np.float32)
            extent = [1, 1, 1]
            extent[axis] = -1
            square = square + (((position - centre[axis]) / axes[axis]) ** 2).reshape(extent)
        cortical *= np.clip((np.sqrt(square) - 0.9) / 0.2, 0, 1)
    return cortical
