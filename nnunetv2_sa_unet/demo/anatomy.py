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

from nnunetv2_sa_unet.regions.distance import distance_mm
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
    to_brain = distance_mm(tissue != BACKGROUND, 1.0)
    to_white = distance_mm((tissue == WHITE_MATTER) | ventricles, 1.0)
    sulcus = np.interp(to_white, *_SULCUS) * _cortical(tissue.shape, origin)
    return Anatomy(
        origin=origin,
        csf=np.where(tissue == GREY_MATTER, sulcus, tissue == CSF).astype(np.float32),
        to_white=to_white,
        to_ventricles=distance_mm(ventricles, 1.0),
        to_brain=to_brain,
        to_hull=distance_mm(_closed(to_brain), 1.0),
    )


def _closed(to_brain: Floats) -> npt.NDArray[np.bool_]:
    """The brain closed with a ball, so that skull and scalp do not follow the Sylvian fissure."""
    grown = to_brain < _HULL_RADIUS
    return distance_mm(grown, 1.0) < -_HULL_RADIUS


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
