"""Axial slices of a subject: one grey picture, and the outlines of masks to lay over it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.images.pictures import display_window
from nnunetv2_sa_unet.report.outlines import UNITS, svg_path

__all__ = ["MOST_SLICES", "Mosaic", "Tile", "chosen_slices", "content_box", "draw_mosaic"]

MOST_SLICES = 20
#: The longer edge of a slice in the picture, in pixels; larger ones are made smaller. Outlines keep the mask's grid.
LONGEST_EDGE = 320
_JPEG_QUALITY = 82
#: Beside the head (mm).
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Tile:
    """One slice.

    Attributes:
        number: counted from 1 at the lowest slice of the volume.
        place_mm: its middle; mm to the right, to the front and up.
        outlines: paths of SVG by the kind of mask, in the order they are drawn.
    """

    number: int
    place_mm: tuple[float, float, float]
    outlines: Mapping[str, str]


@dataclass(frozen=True)
class Mosaic:
    """The slices of a subject, from below.

    Attributes:
        tiles: the slices, in the order in which ``picture`` has them from top to bottom.
        picture: a grey JPEG; None without an image.
        width_mm: of a slice.
        height_mm: of a slice.
        view_box: width and height of the slices in the units of the paths.
    """

    tiles: tuple[Tile, ...]
    picture: bytes | None
    width_mm: float
    height_mm: float
    view_box: tuple[int, int]


def content_box(
    flair: NDArray[Any] | None, labels: BoolArray, spacing: tuple[float, float, float]
) -> tuple[slice, ...]:
    """The part of a volume that holds the head and every labelled voxel, with a margin in the plane.

    Without an image it is the whole volume.
    """
    if flair is None:
        return tuple(slice(size) for size in labels.shape)
    low, high = display_window(flair)
    shown = labels | (flair > low + 0.12 * (high - low))
    box = []
    for axis, edge in enumerate(spacing):
        across = tuple(other for other in range(3) if other != axis)
        # Single bright voxels of noise must not hold the box open.
        filled = shown.mean(axis=across) > 0.01
        inside = np.flatnonzero(filled | labels.any(axis=across))
        margin = 0 if axis == 0 else round(_MARGIN_MM / edge)
        if len(inside):
            box.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + 1 + margin))
        else:
            box.append(slice(labels.shape[axis]))
    return tuple(box)


def chosen_slices(first: int, stop: int, load: NDArray[Any]) -> list[int]:
    """Which slices to show: all, or of each of ``MOST_SLICES`` equal bands the one with most lesion or in its middle.

    Args:
        first: the lowest slice that has something to see.
        stop: the first above those.
        load: lesion in each slice of the volume.
    """
    edges = np.linspace(first, stop, min(stop - first, MOST_SLICES) + 1).astype(int)
    chosen = []
    for low, high in itertools.pairwise(edges):
        band = load[low:high]
        chosen.append(int(low + (band.argmax() if band.any() else (high - low) // 2)))
    return chosen


def draw_mosaic(
    flair: NDArray[Any] | None,
    masks: Mapping[str, BoolArray],
    box: tuple[slice, ...],
    slices: list[int],
    affine: NDArray[np.float64],
) -> Mosaic:
    """Draw slices of a subject.

    Args:
        flair: brightness (z, y, x), if there is an image.
        masks: what to outline (z, y, x), by the kind that the page's style knows.
        box: the part of the volume to show.
        slices: which, from below.
        affine: (4, 4), from voxel (x, y, z) to mm to the right, to the front and up.
    """
    _, rows, columns = box
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    height, width = masks[next(iter(masks))][0][rows, columns].shape
    tiles = []
    for index in slices:
        paths = {kind: svg_path(mask[index][rows, columns]) for kind, mask in masks.items()}
        x, y, z = affine[:3] @ ((columns.start or 0) + width / 2, (rows.start or 0) + height / 2, index, 1)
        outlines = {kind: path for kind, path in paths.items() if path}
        tiles.append(Tile(index + 1, (float(x), float(y), float(z)), outlines))
    return Mosaic(
        tiles=tuple(tiles),
        picture=None if flair is None else _strip(flair, slices, rows, columns, spacing),
        width_mm=width * spacing[2],
        height_mm=height * spacing[1],
        view_box=(width * UNITS, height * UNITS),
    )


def _strip(flair: NDArray[Any], slices: list[int], rows: slice, columns: slice, spacing: tuple[float, ...]) -> bytes:
    """All slices below one another with square pixels, as a JPEG."""
    low, high = display_window(flair)
    planes = []
    for index in slices:
        grey = (flair[index][rows, columns].astype(np.float32) - low) / max(high - low, 1e-12)
        plane = Image.fromarray((np.clip(grey, 0, 1) * 255).round().astype(np.uint8))
        # The pixel of the picture is the smaller edge of the voxel, unless that makes too many.
        extent = plane.width * spacing[2], plane.height * spacing[1]
        pixel = max(min(spacing[1:]), max(extent) / LONGEST_EDGE)
        size = max(1, round(extent[0] / pixel)), max(1, round(extent[1] / pixel))
        planes.append(plane if size == plane.size else plane.resize(size, Image.Resampling.BICUBIC))
    strip = Image.new("L", (planes[0].width, sum(plane.height for plane in planes)))
    for number, plane in enumerate(planes):
        strip.paste(plane, (0, number * plane.height))
    stream = io.BytesIO()
    strip.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()
