"""Where the brain roughly is in a FLAIR image: enough to ask whether a lesion lies outside it.

No atlas and no other software. The mask is generous: it may keep meninges, and near the base of the skull muscle or
an eye, so what it excludes is worth a look and what it includes is not thereby right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["brain_mask"]

#: The work is done on a grid of about this many mm: the brain's outline needs no more.
WORKING_MM = 2.0
#: Tissue from here to there counts, in parts of the brain's median. Fluid, bone and air are darker, fat is brighter;
#: bright lesions are filled in later.
DARKEST, BRIGHTEST = 0.5, 1.6
#: Half the width (mm) of the bridges between brain and scalp that are cut.
BRIDGE_MM = 5.0
#: Half the width (mm) of sulci and ventricles that are filled.
GAP_MM = 10.0


def brain_mask(flair: NDArray[Any], spacing: tuple[float, float, float]) -> BoolArray | None:
    """The brain by brightness and connectedness, with its ventricles and sulci filled.

    The brain's median is that of the middle of the volume. Tissue between ``DARKEST`` and ``BRIGHTEST`` of it is eroded
    in each slice by ``BRIDGE_MM``; the largest connected part that is left is grown back by 1 mm more than it was
    eroded, closed by ``GAP_MM`` and filled in each slice. It works on whole heads and where the skull was removed.

    Args:
        flair: brightness (z, y, x), z across axial slices.
        spacing: voxel in mm (z, y, x).

    Returns:
        The mask (z, y, x), or None where nothing like a brain is found.
    """
    steps = [max(1, round(WORKING_MM / edge)) for edge in spacing]
    coarse = flair[tuple(slice(None, None, step) for step in steps)].astype(np.float32)
    _, row_mm, column_mm = (edge * step for edge, step in zip(spacing, steps, strict=True))
    smooth = ndimage.gaussian_filter(coarse, (0, 1 / row_mm, 1 / column_mm))
    # The middle of a head is brain and ventricles, whatever surrounds it.
    middle = smooth[tuple(slice(size // 3, max(size // 3 + 1, 2 * size // 3)) for size in smooth.shape)]
    bright = middle[middle > 0.3 * np.percentile(middle, 95)]
    if not bright.size or bright.max() <= 0:
        return None
    level = float(np.median(bright))
    tissue = (smooth > DARKEST * level) & (smooth < BRIGHTEST * level)

    def disc(radius: float) -> BoolArray:
        rows = np.arange(-int(radius // row_mm), int(radius // row_mm) + 1) * row_mm
        columns = np.arange(-int(radius // column_mm), int(radius // column_mm) + 1) * column_mm
        inside: BoolArray = rows[:, None] ** 2 + columns**2 <= radius**2
        return inside[None]

    parts, count = ndimage.label(ndimage.binary_erosion(tissue, disc(BRIDGE_MM)))
    if count == 0:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    brain = ndimage.binary_dilation(largest, disc(BRIDGE_MM + 1))
    # A closing erodes at the border of the array as if there were nothing beyond it.
    margin = 1 + int(GAP_MM // min(row_mm, column_mm))
    wide = np.pad(brain, ((0, 0), (margin, margin), (margin, margin)))
    brain = ndimage.binary_closing(wide, disc(GAP_MM))[:, margin:-margin, margin:-margin]
    brain = np.stack([ndimage.binary_fill_holes(plane) for plane in brain])
    for axis, step in enumerate(steps):
        brain = np.repeat(brain, step, axis)
    full: BoolArray = brain[tuple(slice(size) for size in flair.shape)]
    return full
