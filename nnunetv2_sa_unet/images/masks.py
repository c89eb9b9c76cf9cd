"""Which voxels of a stored mask are white matter hyperintensity (WMH).

Label 1 is WMH and label 2 other pathology, as in the WMH challenge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError

__all__ = ["OTHER", "WMH", "BoolArray", "predicted_wmh", "reference_masks"]

BoolArray = NDArray[np.bool_]

WMH = 1
OTHER = 2
#: What image software writes for "inside" in 8-bit masks.
EIGHT_BIT_INSIDE = 255
#: What has more values than this is an image, or an atlas in which 1 is something else, and no mask of lesions.
_MOST_LABELS = 16
#: How far probabilities may lie outside of 0 to 1, as resampling leaves them.
_OVERSHOOT = 0.1


def reference_masks(values: NDArray[Any]) -> tuple[BoolArray, BoolArray, tuple[str, ...]]:
    """Split a reference into WMH and other pathology.

    The comparison is that of the official script on a float image (0.5 < value < 1.5 and 1.5 < value < 2.5),
    whatever type the values are stored as. The script itself casts its limits to the image's type: on
    integers the first becomes 0 to 1, which counts the background, and the second 1 to 2, which removes what
    was found of the WMH.

    Args:
        values: the reference, any shape, any integer or float type.

    Returns:
        The WMH mask, the mask of other pathology (both of the shape of ``values``) and remarks for the user.

    Raises:
        InputError: there are values above 2 or below 0 but no label 1, as in a mask of 0 and 255; or so many of them
            as only an image has; or some are no number.
    """
    wmh = (values > 0.5) & (values < 1.5)
    other = (values > 1.5) & (values < 2.5)
    _refuse_no_numbers(values, "reference")
    strange = values[(values >= 2.5) | (values <= -0.5)]
    if strange.size == 0:
        return wmh, other, ()
    unknown = np.unique(strange)
    found = _listed(unknown)
    if unknown.size > _MOST_LABELS:
        raise InputError(f"reference: {found}; expected labels and not an image: 1 (WMH) and, if marked, 2 (other)")
    if not wmh.any():
        raise InputError(f"reference values {found} and no label 1; expected 1 (WMH) and, if marked, 2 (other)")
    return wmh, other, (f"reference: {found} counted as background, only 1 is WMH and 2 other pathology",)


def predicted_wmh(values: NDArray[Any]) -> tuple[BoolArray, tuple[str, ...]]:
    """The WMH of a prediction.

    ======================================  =============================================================
    values                                  WMH
    ======================================  =============================================================
    whole numbers (of any type)             label 1; other labels are left out, with a remark
    0 and 255 (of any type)                 255, with a remark
    from 0 to 1: a probability              0.5 and above
    ======================================  =============================================================

    The official script counts every integer from 1 to 1000, so a predicted 2 (other pathology) counts as WMH
    wherever the reference is not 2. A model that learned to tell the two apart must not be punished for it.

    Args:
        values: the prediction, any shape, any integer or float type.

    Returns:
        The WMH mask, of the shape of ``values``, and remarks for the user.

    Raises:
        InputError: the values are neither labels nor probabilities, as those of an image; or some are no number.
    """
    _refuse_no_numbers(values, "prediction")
    foreground = values[values != 0]
    if np.issubdtype(values.dtype, np.floating) and not np.array_equal(foreground, np.rint(foreground)):
        lowest, highest = float(foreground.min()), float(foreground.max())
        if lowest < -_OVERSHOOT or highest > 1 + _OVERSHOOT:
            raise InputError(
                f"prediction: values from {lowest:g} to {highest:g} are neither labels nor probabilities; expected a "
                "mask or a map of probabilities, and not an image"
            )
        return values >= 0.5, ()
    labels = np.unique(foreground)
    if labels.size > _MOST_LABELS or (labels.size and labels[0] < 0):
        raise InputError(f"prediction: {_listed(labels)} are no labels; expected a mask, and not an image")
    if labels.tolist() == [EIGHT_BIT_INSIDE]:
        return values == EIGHT_BIT_INSIDE, ("prediction: a mask of 0 and 255, 255 counted as WMH",)
    others = labels[labels != WMH]
    if others.size == 0:
        return values == WMH, ()
    remark = f"prediction: only label 1 counted as WMH, {_listed(others)} left out"
    if others.size == labels.size:
        remark += "; label 1 does not occur"
    return values == WMH, (remark,)


def _refuse_no_numbers(values: NDArray[Any], what: str) -> None:
    if np.issubdtype(values.dtype, np.floating):
        wrong = int(values.size - np.isfinite(values).sum())
        if wrong:
            raise InputError(f"{what}: {wrong} voxels hold no number (NaN) or are infinite")


def _listed(labels: NDArray[Any]) -> str:
    """Sorted labels in words: all of a few, the range of many (a grey-scale image in the place of a mask)."""
    if labels.size > 5:
        return f"{labels.size} values from {labels[0]:g} to {labels[-1]:g}"
    return ", ".join(f"{label:g}" for label in labels)
