"""Where the lesions of one head lie: registration, its judgement, and the regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.assignment import RegionLoad, Rule, region_load, region_map, surroundings
from nnunetv2_sa_unet.regions.parcellation import parcellate
from nnunetv2_sa_unet.regions.quality import measure, problems
from nnunetv2_sa_unet.regions.registration import register

__all__ = ["Location", "locate"]


@dataclass(frozen=True)
class Location:
    """What is known of where lesions lie.

    Attributes:
        labels: map of regions (z, y, x) on the grid of the image; see ``assignment.LABELS``.
        load: WMH by region.
        icv_ml: estimate of the intracranial volume.
    """

    labels: npt.NDArray[np.uint8]
    load: RegionLoad
    icv_ml: float


def locate(flair: SimpleITK.Image, wmh: BoolArray, rule: Rule) -> Location | str:
    """Find the regions of a head, and what WMH lie in each.

    Args:
        flair: 3D, of one channel.
        wmh: on its grid (z, y, x).
        rule: see :func:`.assignment.region_map`.

    Returns:
        The regions; or, where the atlas does not lie on the head, why it is not believed to.
    """
    try:
        registration = register(flair)
        if registration is None:
            return "nothing like a brain was found"
        parcellation = parcellate(registration)
    except RuntimeError as error:
        # ITK's word for images on which atlas and head lose each other.
        return f"the registration ended with: {_last_line(error)}"
    found = list(problems(measure(registration, parcellation)))
    if found:
        return "; ".join(found)
    labels = region_map(surroundings(parcellation, flair), wmh, rule)
    load = region_load(labels, wmh, float(np.prod(flair.GetSpacing())))
    return Location(labels, load, round(parcellation.icv_ml, 1))


def _last_line(error: Any) -> str:
    return (str(error).strip().splitlines() or ["no message"])[-1].strip()
