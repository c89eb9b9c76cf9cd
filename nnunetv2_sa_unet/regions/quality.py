"""Whether a registration may be trusted: a wrong one must not become numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.parcellation import Parcellation
from nnunetv2_sa_unet.regions.registration import Registration, on_grid

__all__ = ["Measures", "measure", "problems"]

#: Mutual information of image and atlas.
_INFORMATION = 0.18
#: Dice of the atlas's brain with the brain by brightness alone.
_OVERLAP = 0.85
#: Median brightness of the ventricles found, and of white matter, where the white matter nearby is 1.
_FLUID, _WHITE = 0.7, 0.8
#: Median brightness of the cortex, that of white matter being 1: 0.95 to 1.04 in FLAIR, 0.78 in a T1-weighted template.
_CORTEX = 0.87
#: Scale of the atlas along its axes, and of the largest to the smallest; its turn in degrees.
_SCALE, _STRETCH, _TURN = (0.7, 1.45), 1.35, 45.0
#: Share of the head and of its ventricles that the image has to show.
_SHOWN, _VENTRICLES_SHOWN = 0.75, 0.9
#: Intracranial volume of a human in ml.
_ICV_ML = (1000.0, 2400.0)
#: Of the lateral ventricles in ml; the atlas's have 19.
_VENTRICLES_ML = (2.0, 250.0)
#: Share of the atlas's ventricles in which the image shows fluid.
_FILLED = 0.3


@dataclass(frozen=True)
class Measures:
    """What speaks for or against a registration.

    Attributes:
        information: mutual information of image and atlas.
        overlap: Dice of the atlas's brain and the brain by brightness alone, where the image shows either.
        fluid: median brightness in the ventricles, that of white matter being 1; NaN without ventricles.
        white: likewise in white matter.
        cortex: median brightness of the cortex, that of all white matter being 1; NaN without either.
        scales: of an image's lengths to the atlas's, the smallest first.
        turn: of the head in degrees.
        icv_ml: intracranial volume.
        shown: share of the intracranial volume that lies in the image.
        ventricles_shown: likewise of the ventricles.
        ventricles_ml: volume of the ventricles.
        filled: share of the atlas's ventricles that are ventricles of the image.
    """

    information: float
    overlap: float
    fluid: float
    white: float
    cortex: float
    scales: tuple[float, float, float]
    turn: float
    icv_ml: float
    shown: float
    ventricles_shown: float
    ventricles_ml: float
    filled: float


def measure(registration: Registration, parcellation: Parcellation) -> Measures:
    """Measure how well an image lies on the atlas."""
    left, scales, right = np.linalg.svd(np.reshape(registration.affine.GetMatrix(), (3, 3)))
    rotation = left @ right
    turn = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    brain = SimpleITK.GetArrayFromImage(on_grid(registration.brain, parcellation.grid)) > 0
    found, atlas, head = parcellation.ventricles, parcellation.atlas_ventricles, parcellation.intracranial
    white = _median(parcellation, parcellation.white)
    smallest, middle, largest = sorted(float(1 / scale) for scale in scales)
    return Measures(
        information=registration.information,
        overlap=2 * float((brain & head).sum()) / max(1, int(brain.sum() + head.sum())),
        fluid=_median(parcellation, found),
        white=white,
        cortex=_median(parcellation, parcellation.cortex) / white,
        scales=(smallest, middle, largest),
        turn=float(turn),
        icv_ml=parcellation.icv_ml,
        shown=parcellation.shown,
        ventricles_shown=parcellation.ventricles_shown,
        ventricles_ml=float(found.sum()) * float(np.prod(parcellation.grid.GetSpacing())) / 1000,
        filled=float((found & atlas).sum()) / max(1, int(atlas.sum())),
    )


def _median(parcellation: Parcellation, part: BoolArray) -> float:
    return float(np.median(parcellation.relative[part])) if part.any() else np.nan


def problems(measures: Measures) -> Iterator[str]:
    """Say why a registration is not to be trusted; nothing if it is."""
    if measures.ventricles_shown < _VENTRICLES_SHOWN or measures.shown < _SHOWN:
        yield (
            f"the image shows {measures.shown:.0%} of the head and {measures.ventricles_shown:.0%} of its ventricles; "
            f"expected {_SHOWN:.0%} and {_VENTRICLES_SHOWN:.0%} or more"
        )
    if not measures.information >= _INFORMATION:
        yield f"mutual information with the atlas {measures.information:.2f}; expected {_INFORMATION} or more"
    if not measures.overlap >= _OVERLAP:
        yield f"brain and atlas overlap by {measures.overlap:.2f} (Dice); expected {_OVERLAP} or more"
    smallest, _, largest = measures.scales
    if smallest < _SCALE[0] or largest > _SCALE[1] or largest / smallest > _STRETCH or measures.turn > _TURN:
        yield (
            f"the atlas would be scaled by {smallest:.2f} to {largest:.2f} and turned by {measures.turn:.0f}°; "
            f"expected {_SCALE[0]} to {_SCALE[1]}, at most by a factor of {_STRETCH} apart, and {_TURN:.0f}° or less"
        )
    elif not _ICV_ML[0] <= measures.icv_ml <= _ICV_ML[1]:
        yield f"intracranial volume {measures.icv_ml:.0f} ml; expected {_ICV_ML[0]:.0f} to {_ICV_ML[1]:.0f}"
    if not (measures.fluid <= _FLUID and measures.white >= _WHITE and measures.filled >= _FILLED):
        yield (
            f"ventricles are not darker than white matter, as in FLAIR: dark in {measures.filled:.0%} of those of the "
            f"atlas, expected {_FILLED:.0%} or more"
        )
    elif not _VENTRICLES_ML[0] <= measures.ventricles_ml <= _VENTRICLES_ML[1]:
        yield (
            f"ventricles of {measures.ventricles_ml:.0f} ml; expected {_VENTRICLES_ML[0]:g} to {_VENTRICLES_ML[1]:g}"
        )
    if measures.cortex < _CORTEX:
        yield (
            f"the cortex has {measures.cortex:.2f} of the brightness of white matter, as in T1-weighted images; "
            f"expected {_CORTEX} or more, as in FLAIR"
        )
