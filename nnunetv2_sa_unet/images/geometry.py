"""The grid of an image, and whether it can be that of a head.

Every reader goes through here before memory is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK

__all__ = ["HEADER_TOLERANCE", "Header", "geometry_differences", "geometry_problem", "image_like", "listed"]

#: How far two headers may differ: spacing and origin in mm, direction in cosines. The images and labels of
#: the WMH challenge differ by 2e-5 in direction.
HEADER_TOLERANCE = 1e-3
#: Edges of a voxel (mm), slices with gaps included. What is unusual within is a warning of ``segment``.
_EDGE = (0.05, 50)
#: The longest edge of an image (mm) and the largest number of voxels: twice a body's width, and 790 along each axis.
_LONGEST, _MOST_VOXELS = 1000, 500_000_000
#: How far the axes of an image may be from right angles (cosine).
_OBLIQUE = 2e-3


@dataclass(frozen=True)
class Header:
    """What the header of an image says, as SimpleITK reads the image itself: spacing is never below zero.

    The methods are those of a SimpleITK image, so that what compares images compares headers too.

    Attributes:
        size: voxels (x, y, z).
        spacing: edges of a voxel in mm.
        origin: centre of the first voxel in mm, LPS.
        direction: cosines of the axes, row by row.
        channels: values of a voxel.
        pixel_type: in SimpleITK's words.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    channels: int
    pixel_type: str

    @classmethod
    def of(cls, reader: SimpleITK.ImageFileReader) -> Header:
        """The header that a reader has read."""
        spacing = np.array(reader.GetSpacing())
        direction = np.array(reader.GetDirection()).reshape(len(spacing), -1)
        # ITK turns the axis where it reads the voxels, but not where it reads the header alone.
        return cls(
            tuple(reader.GetSize()),
            tuple(np.abs(spacing).tolist()),
            tuple(reader.GetOrigin()),
            tuple((direction * np.where(spacing < 0, -1, 1)).ravel().tolist()),
            reader.GetNumberOfComponents(),
            SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()),
        )

    def GetSize(self) -> tuple[int, ...]:  # noqa: N802
        return self.size

    def GetSpacing(self) -> tuple[float, ...]:  # noqa: N802
        return self.spacing

    def GetOrigin(self) -> tuple[float, ...]:  # noqa: N802
        return self.origin

    def GetDirection(self) -> tuple[float, ...]:  # noqa: N802
        return self.direction

    def GetDimension(self) -> int:  # noqa: N802
        return len(self.size)

    def GetNumberOfComponentsPerPixel(self) -> int:  # noqa: N802
        return self.channels

    def GetPixelIDTypeAsString(self) -> str:  # noqa: N802
        return self.pixel_type


def geometry_problem(
    size: Sequence[int], spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float]
) -> str | None:
    """Say why a grid cannot be that of a head.

    Args:
        size: voxels along each axis.
        spacing: edges of a voxel in mm, not below zero.
        origin: in mm.
        direction: cosines of the axes, row by row.
    """
    if any(length < 1 for length in size):
        return f"size {times(size)} voxels; expected 1 or more along each axis"
    if math.prod(size) > _MOST_VOXELS:
        return f"size {times(size)} voxels, more than {_MOST_VOXELS:g}; expected an image of a head"
    if not np.isfinite([*spacing, *origin, *direction]).all():
        return f"spacing {listed(spacing)}, origin {listed(origin)}, direction {listed(direction)}; expected numbers"
    if min(spacing) < _EDGE[0] or max(spacing) > _EDGE[1]:
        return (
            f"voxel of {times(spacing)} mm; expected edges between {_EDGE[0]} and {_EDGE[1]} mm: correct the header, "
            "or the unit that it names"
        )
    extent = [edge * length for edge, length in zip(spacing, size, strict=True)]
    if max(extent) > _LONGEST:
        return f"extent of {times(extent)} mm; expected at most {_LONGEST} mm along each axis: correct the voxel size"
    return direction_problem(direction)


def direction_problem(direction: Sequence[float]) -> str | None:
    """Say that axes are not at right angles, or have another length than 1."""
    axes = np.array(direction, dtype=float).reshape(math.isqrt(len(direction)), -1)
    if np.abs(axes.T @ axes - np.eye(len(axes))).max() > _OBLIQUE:
        return (
            f"direction {listed(direction)} is sheared or singular; expected axes at right angles: correct it, or "
            "resample the image"
        )
    return None


def geometry_differences(expected: Any, found: Any) -> list[str]:
    """Where the geometry of an image differs from another's by more than ``HEADER_TOLERANCE``.

    Args:
        expected: an image or a :class:`Header`.
        found: likewise.

    Returns:
        The differences in words, one entry a field (size, spacing, origin, direction).
    """
    differences = []
    if expected.GetSize() != found.GetSize():
        differences.append(f"size {listed(found.GetSize())}, expected {listed(expected.GetSize())}")
    for field, wanted, is_there in (
        ("spacing", expected.GetSpacing(), found.GetSpacing()),
        ("origin", expected.GetOrigin(), found.GetOrigin()),
        ("direction", expected.GetDirection(), found.GetDirection()),
    ):
        if len(wanted) != len(is_there) or not np.allclose(wanted, is_there, rtol=0, atol=HEADER_TOLERANCE):
            differences.append(f"{field} {listed(is_there)}, expected {listed(wanted)}")
    return differences


def image_like(values: Any, like: SimpleITK.Image) -> SimpleITK.Image:
    """An image of ``values`` (z, y, x) with the geometry of another of the same size."""
    image = SimpleITK.GetImageFromArray(values)
    image.CopyInformation(like)
    return image


def listed(values: Iterable[float]) -> str:
    """Numbers in words: ``(1, 1, 3)``."""
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def times(lengths: Iterable[float]) -> str:
    """Edges in words: ``1×1×3``."""
    return "×".join(f"{length:g}" for length in lengths)
