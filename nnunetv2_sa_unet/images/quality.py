"""Figures for what spoils an image of a head: noise, ghosts of motion, a cut field of view, another contrast.

They need no atlas, no registration and less than a second. What each says, its limit and how often it is wrong was
measured on real volumes and on spoiled ones (docs/reference/quality.md, docs/benchmarks/image-quality.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_sa_unet.images.masks import BoolArray

__all__ = ["LIMITS", "WARNED", "Finding", "ImageQuality", "measure"]

#: From these on a figure is a flag; of ``fluid`` below it.
LIMITS = {"noise": 0.08, "ghosting": 0.07, "border_cm2": 20.0, "top_share": 0.7, "fluid": 0.4}
#: The flags that were never wrong on what was measured. Not so bright fluid: many lesions beside small ventricles look
#: alike.
WARNED = ("noise", "ghosting", "border_cm2", "top_share")
_WORDS = {
    "noise": ("noise", "noise of {:.0%} of the brain's brightness (limit {:.0%})"),
    "ghosting": ("motion", "ghosts beside the head of {:.1%} of the brain's brightness (limit {:.1%}): motion"),
    "border_cm2": ("cut side", "the head is cut off at a side of the image, on {:.0f} cm² (limit {:.0f})"),
    "top_share": ("cut top", "the uppermost slice shows {:.0%} of the head's largest area (limit {:.0%}): cut off"),
    "fluid": ("not FLAIR?", "fluid is not dark as in FLAIR: contrast index {:.2f} (limit {:.2f})"),
}
#: The masks are made on a grid of about this many mm.
_WORKING_MM = 2.0
#: Brightness of head and of what is no ghost of it, in parts of the brain's median.
_HEAD, _BRIGHT_HEAD = 0.5, 0.8
#: Connected parts of a head are at least so large a share of the largest of them.
_LARGE = 0.05
#: Distance (mm) from the bright parts of the head at which air begins: skin and fat lie between.
_AIR_MM = 15.0
#: Fewer voxels of air say nothing, and air that was set to zero neither.
_LEAST, _MOST_ZEROS = 200, 0.2
#: Brightness of fluid in FLAIR, of fluid in T2, which lesions in FLAIR hardly reach, and of tissue, in parts of the
#: brain's median.
_DARK, _FLUID, _TISSUE = 0.6, 1.8, (0.6, 1.5)
#: Shares of the middle of the head, one of which has to be dark or bright for the two to be compared.
_LEAST_DARK, _LEAST_BRIGHT = 0.02, 0.03
#: A stack of slices less high than this (mm) has no top of a head that could be missing.
_LOWEST_STACK = 80.0


@dataclass(frozen=True)
class Finding:
    """A figure beyond its limit: its name, a word for tables, and a sentence without a full stop."""

    name: str
    word: str
    sentence: str


@dataclass(frozen=True)
class ImageQuality:
    """Figures of an image; None where it does not show enough to tell.

    Attributes:
        noise: standard deviation of what differs from voxel to voxel in the slices, in parts of the brain's brightness.
        ghosting: by how much the air is brighter beside the head than in the corners, likewise.
        border_cm2: area of the head on that side face of the volume that has most of it.
        top_share: area of the head in the uppermost slice as a share of that in the largest.
        fluid: (dark - bright) / (dark + bright) of the voxels in the middle of the head that are no tissue.
    """

    noise: float | None = None
    ghosting: float | None = None
    border_cm2: float | None = None
    top_share: float | None = None
    fluid: float | None = None

    def findings(self) -> list[Finding]:
        """What is beyond its limit."""
        found = []
        for name, limit in LIMITS.items():
            value, (word, sentence) = getattr(self, name), _WORDS[name]
            if value is not None and (value < limit if name == "fluid" else value >= limit):
                found.append(Finding(name, word, sentence.format(value, limit)))
        return found


def measure(image: SimpleITK.Image) -> ImageQuality | None:
    """Measure an image, however it is stored.

    Args:
        image: 3D, of one channel, of a head or of a brain without skull.

    Returns:
        The figures, or None where nothing like a head is found.
    """
    upright = SimpleITK.DICOMOrient(image, "LPS")
    values: NDArray[Any] = SimpleITK.GetArrayViewFromImage(upright)
    spacing = np.array(upright.GetSpacing()[::-1])
    steps = np.maximum(1, np.round(_WORKING_MM / spacing)).astype(int)
    coarse = values[tuple(slice(None, None, step) for step in steps)].astype(np.float32)
    edges = spacing * steps
    middle = coarse[_part(coarse.shape, 1 / 3, 2 / 3)]
    # Most of the middle of a head is brain; bright or dark fluid is the rest.
    bright = middle[middle > 0.3 * np.percentile(middle, 75)]
    if not bright.size or bright.max() <= 0:
        return None
    level = float(np.median(bright))
    # Slices are those planes that the scanner took, or axial ones.
    through = int(spacing.argmax()) if spacing.max() > 1.5 * spacing.min() else 0
    axes = tuple(axis for axis in range(3) if axis != through)
    smooth = ndimage.gaussian_filter(coarse, [0 if axis == through else 1 / edges[axis] for axis in range(3)])
    head = _large_parts(smooth > _HEAD * level)
    if head is None:
        return None
    side, top = _cut(head, edges)
    return ImageQuality(
        noise=_noise(values, axes, level),
        ghosting=_ghosting(coarse, smooth, axes, edges, level),
        border_cm2=side,
        top_share=top,
        # Of a few slices nobody knows whether ventricles are among them.
        fluid=None if top is None else _contrast(coarse, head, level),
    )


def _noise(values: NDArray[Any], axes: tuple[int, ...], level: float) -> float | None:
    """The difference of second differences, which structures of an image hardly have (Immerkær 1996)."""
    box = values[_part(values.shape, 0.25, 0.75)].astype(np.float32)
    differences = box
    for axis in axes:
        differences = ndimage.correlate1d(differences, (1, -2, 1), axis=axis)
    tissue = (box > _TISSUE[0] * level) & (box < _TISSUE[1] * level)
    for axis in axes:
        tissue = ndimage.minimum_filter1d(tissue, 3, axis=axis)
    if np.count_nonzero(tissue) < _LEAST:
        return None
    # Of white noise the filter makes six times as much; 1.4826 is from the median to a standard deviation.
    return float(1.4826 * np.median(np.abs(differences[tissue])) / 6 / level)


def _ghosting(
    coarse: NDArray[np.float32], smooth: NDArray[np.float32], axes: tuple[int, ...], edges: Any, level: float
) -> float | None:
    # Ghosts of bright fat are as bright as tissue may be.
    head = _large_parts(smooth > _BRIGHT_HEAD * level)
    if head is None:
        return None
    far = head
    for axis in axes:
        far = ndimage.maximum_filter1d(far, 2 * round(_AIR_MM / edges[axis]) + 1, axis=axis)
    air = ~far
    shadows = [far.any(axis=axis, keepdims=True) for axis in axes]
    # On the lines of the head along one axis alone, which is that of the phases or the other one.
    beside = [air & shadows[0] & ~shadows[1], air & shadows[1] & ~shadows[0]]
    corners = air & ~shadows[0] & ~shadows[1]
    if corners.sum() < _LEAST or (coarse[air] == 0).mean() > _MOST_ZEROS:
        return None
    found = [float(coarse[each].mean()) for each in beside if each.sum() >= _LEAST]
    return (max(found) - float(coarse[corners].mean())) / level if found else None


def _cut(head: BoolArray, edges: Any) -> tuple[float, float | None]:
    """The head on the largest of the side faces in cm², and in the uppermost slice as a share."""
    areas = []
    for axis in (1, 2):
        for face in (0, -1):
            voxel = float(np.prod(edges) / edges[axis])
            areas.append(np.count_nonzero(np.take(head, face, axis=axis)) * voxel / 100)
    slices = np.count_nonzero(head, axis=(1, 2))
    top = float(slices[-1] / slices.max()) if len(slices) * edges[0] >= _LOWEST_STACK else None
    return float(max(areas)), top


def _contrast(coarse: NDArray[np.float32], head: BoolArray, level: float) -> float | None:
    """Of the middle of the head, where the ventricles are: whether fluid is dark."""
    box = []
    for axis, (low, high) in enumerate(((0.4, 0.75), (0.25, 0.75), (0.25, 0.75))):
        place = np.flatnonzero(head.any(axis=tuple(other for other in range(3) if other != axis)))
        length = place[-1] - place[0]
        box.append(slice(place[0] + int(low * length), place[0] + int(high * length) + 1))
    middle = coarse[tuple(box)] / level
    dark, bright = float((middle < _DARK).mean()), float((middle > _FLUID).mean())
    is_shown = dark >= _LEAST_DARK or bright >= _LEAST_BRIGHT
    return (dark - bright) / (dark + bright) if is_shown else None


def _large_parts(mask: BoolArray) -> BoolArray | None:
    """Brain and skin, which bone may part, filled in every axial slice."""
    parts, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = (sizes >= _LARGE * sizes.max())[parts]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in large])


def _part(shape: tuple[int, ...], low: float, high: float) -> tuple[slice, ...]:
    return tuple(slice(int(low * size), max(int(low * size) + 1, int(high * size))) for size in shape)
