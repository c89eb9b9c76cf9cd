"""Lesions of two visits matched: which are new, enlarged, stable, shrunk or gone.

A lesion is one where the WMH of either visit are connected, by faces, edges or corners in 3D as everywhere in this
package: what merged, or fell apart, is one lesion, and one that lies a voxel beside where it was is still the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.longitudinal.noise import lesion_noise_mm3
from nnunetv2_sa_unet.scores.metrics import TOUCHING_BY_FACE_EDGE_OR_CORNER

__all__ = ["KINDS", "Change", "match_lesions"]

#: What became of a lesion; the label of the n-th, from 1 on, marks it in the map of changes.
KINDS = ("new", "enlarged", "stable", "shrunk", "gone", "uncertain")


@dataclass(frozen=True)
class Change:
    """What became of a lesion.

    Attributes:
        kind: of ``KINDS``: ``uncertain`` if only one visit has it, and not more of it than what comes and goes by
            noise.
        first_mm3: its volume at the first visit; 0 if it is not there.
        second_mm3: at the second.
        noise_mm3: a change of this much is noise.
        first_parts: how many connected components it has at the first visit.
        second_parts: at the second.
        place: its middle, a voxel (z, y, x).
    """

    kind: str
    first_mm3: float
    second_mm3: float
    noise_mm3: float
    first_parts: int
    second_parts: int
    place: tuple[float, float, float]

    @property
    def change_mm3(self) -> float:
        """How much there is more of it at the second visit."""
        return self.second_mm3 - self.first_mm3


def match_lesions(first: BoolArray, second: BoolArray, voxel_mm3: float) -> tuple[list[Change], NDArray[np.uint8]]:
    """Match the lesions of two masks on one grid.

    Args:
        first: WMH at the first visit (z, y, x).
        second: at the second.
        voxel_mm3: volume of a voxel in mm³.

    Returns:
        The lesions, the largest change first, and a map of their kinds (z, y, x).
    """
    lesions, count = ndimage.label(first | second, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    volumes = [np.bincount(lesions[mask], minlength=count + 1)[1:] * voxel_mm3 for mask in (first, second)]
    parts = [_parts(mask, lesions, count) for mask in (first, second)]
    places = ndimage.center_of_mass(lesions > 0, lesions, range(1, count + 1)) if count else []
    found = []
    for index in range(count):
        # Headers keep the spacing in 32 bit.
        before, after = (round(float(volume[index]), 3) for volume in volumes)
        z, y, x = places[index]
        noise = lesion_noise_mm3(max(before, after))
        found.append(
            Change(
                kind=_kind(before, after, noise),
                first_mm3=before,
                second_mm3=after,
                noise_mm3=noise,
                first_parts=int(parts[0][index]),
                second_parts=int(parts[1][index]),
                place=(float(z), float(y), float(x)),
            )
        )
    labels = np.array([0, *(1 + KINDS.index(change.kind) for change in found)], np.uint8)
    return sorted(found, key=lambda change: (-abs(change.change_mm3), change.place)), labels[lesions]


def _kind(before: float, after: float, noise: float) -> str:
    change = after - before
    if abs(change) <= noise:
        return "stable" if before and after else "uncertain"
    if not before:
        return "new"
    if not after:
        return "gone"
    return "enlarged" if change > 0 else "shrunk"


def _parts(mask: BoolArray, lesions: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How many components of a mask each lesion holds."""
    components, number = ndimage.label(mask, TOUCHING_BY_FACE_EDGE_OR_CORNER)
    of = np.zeros(number + 1, int)
    of[components[mask]] = lesions[mask]
    return np.bincount(of[1:], minlength=count + 1)[1:]
