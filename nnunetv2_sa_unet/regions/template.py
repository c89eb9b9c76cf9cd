"""The atlas: the tissue map of the MNI152 template, with what its five labels do not say.

Arrays are ordered (z, y, x) and point to superior, anterior and right with rising index; positions are millimetres of
MNI152 space in the same order and directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["BACKGROUND", "CSF", "GREY_MATTER", "VENTRICLES", "WHITE_MATTER", "Atlas", "load_atlas", "read_tissue"]

BACKGROUND, CSF, GREY_MATTER, WHITE_MATTER, VENTRICLES = range(5)

_MAP = "data/mni152_tissue_1mm.nii.gz"
#: The midsagittal plane of the map (x).
_MIDLINE = 0.0
#: Grey matter in this ellipsoid (centre and semi-axes; z, y, x in mm) is no cortex: the deep nuclei.
_DEEP_NUCLEI = ((0.0, -8.0, 0.0), (26.0, 40.0, 36.0))
#: The tentorium from back to front (y): its height (z) at the midline, and 52 mm beside it.
_TENTORIUM = (
    (-85.0, -75.0, -65.0, -55.0, -45.0, -38.0),
    (-15.0, -11.0, -7.0, -5.0, -7.0, -10.0),
    (-20.0, -20.0, -21.0, -26.0, -28.0, -38.0),
)
_TENTORIUM_WIDTH = 52.0
#: In front of it the brain stem, up to the plane through the posterior commissure and the mamillary bodies (y, z of
#: both): half as wide as this at the midbrain and at the pons (at these heights).
_BRAIN_STEM_TOP = ((-35.0, -12.0), (-4.0, -13.0))
_BRAIN_STEM_WIDTH = ((-30.0, -20.0), (22.0, 12.5))
_BRAIN_STEM_FRONT = -8.0
#: Beside the pons, below the temporal lobes: the middle peduncle and the flocculus (z and y of their borders).
_PEDUNCLE = (-33.0, -29.0)


@dataclass(frozen=True)
class Atlas:
    """The template on its own grid; all maps of one shape.

    Attributes:
        image: labels of the tissue map, uint8.
        cortex: grey matter of the cerebral cortex, without the deep nuclei.
        infratentorial: cerebellum and brain stem with the space around them.
        right: the right half.
    """

    image: SimpleITK.Image
    cortex: BoolArray
    infratentorial: BoolArray
    right: BoolArray

    @property
    def tissue(self) -> npt.NDArray[np.uint8]:
        """The labels (z, y, x)."""
        labels: npt.NDArray[np.uint8] = SimpleITK.GetArrayViewFromImage(self.image)
        return labels


def read_tissue() -> SimpleITK.Image:
    """The tissue map: labels on a grid of 1 mm, whose axes ITK counts to the left and to the back."""
    with as_file(files("nnunetv2_sa_unet.regions") / _MAP) as path:
        return SimpleITK.ReadImage(str(path))


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the tissue map and derive the others from it, once a process."""
    image = read_tissue()
    tissue = SimpleITK.GetArrayViewFromImage(image)
    x, y, z = image.GetOrigin()
    at_z, at_y, at_x = np.ogrid[tuple(slice(size) for size in tissue.shape)]
    place = (at_z + z, at_y - y, at_x - x)
    infratentorial = _infratentorial(*place)
    square: Any = sum(
        ((axis - centre) / extent) ** 2 for axis, centre, extent in zip(place, *_DEEP_NUCLEI, strict=True)
    )
    return Atlas(
        image=image,
        cortex=(tissue == GREY_MATTER) & (square > 1) & ~infratentorial,
        infratentorial=infratentorial,
        right=np.broadcast_to(place[2] > _MIDLINE, tissue.shape),
    )


def _infratentorial(z: Any, y: Any, x: Any) -> BoolArray:
    aside = np.abs(x - _MIDLINE)
    apex, border = (np.interp(y, _TENTORIUM[0], heights) for heights in _TENTORIUM[1:])
    below_tentorium = (y < _TENTORIUM[0][-1]) & (z < apex + (border - apex) * aside / _TENTORIUM_WIDTH)
    stem = (y >= _TENTORIUM[0][-1]) & (y < _BRAIN_STEM_FRONT) & (aside < np.interp(z, *_BRAIN_STEM_WIDTH))
    peduncle = (y >= _TENTORIUM[0][-1]) & (y < _PEDUNCLE[1]) & (z < _PEDUNCLE[0])
    found: BoolArray = below_tentorium | (stem & (z < np.interp(y, *_BRAIN_STEM_TOP))) | peduncle
    return found
