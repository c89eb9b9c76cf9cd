"""Slices of DICOM put in order as a volume: by the positions that they give, not by their names or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom_files import Plane
from nnunetv2_sa_unet.images.geometry import geometry_problem, listed, times

__all__ = ["Stack", "stacked"]

#: How far a step between slices may be from the others, as a fraction of it.
_UNEVEN = 0.05
#: How far spacings of slices may differ (as a fraction) and orientations (cosine).
_SPACING, _COSINE = 0.01, 1e-3
#: How far slices may shift along their plane from one to the next, as a fraction of the step: one degree.
_TILT = 0.0175
#: From one slice to the next in thicknesses of a slice: gaps of scanners are narrower.
_WIDE_GAP = 1.9
#: Slices that lie closer together than this (mm) lie at one place.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Stack:
    """Slices in order.

    Attributes:
        order: which of the slices come in turn; those of another part of a complex image are left out.
        spacing: edges of a voxel (x, y, z) in mm.
        origin: centre of the first voxel in mm, LPS.
        direction: cosines of the axes, row by row.
        remarks: on what was left out, and on what may be missing.
    """

    order: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    remarks: tuple[str, ...]


def stacked(planes: Sequence[Plane], shape: tuple[int, int]) -> Stack:
    """Put slices in order.

    Args:
        planes: one or more.
        shape: rows and columns of each.

    Raises:
        InputError: they give no geometry, or do not make up one volume.
    """
    remarks: list[str] = []
    kept = [index for index, plane in enumerate(planes) if not plane.part]
    others = sorted({plane.part for plane in planes if plane.part})
    if not kept:
        raise InputError(f"holds the {' and the '.join(others)} of a complex image; expected its magnitude")
    if others:
        remarks.append(f"{len(planes) - len(kept)} slices left out that hold the {' or the '.join(others)}")
    chosen = [planes[index] for index in kept]
    row, column = _orientation(chosen)
    spacing = _in_plane(chosen)
    normal = np.cross(row, column)
    positions = np.array([_given(plane, plane.position, "position (ImagePositionPatient)") for plane in chosen])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    step = _step([chosen[index] for index in order], positions[order], normal, remarks)
    direction = np.stack([row, column, normal], axis=1).ravel().tolist()
    first = positions[order[0]].tolist()
    edges = [spacing[1], spacing[0], step]
    problem = geometry_problem([shape[1], shape[0], len(order)], edges, first, direction)
    if problem is not None:
        raise InputError(problem)
    numbers = [plane.number for plane in chosen]
    known = sorted(number for number in numbers if number is not None)
    if len(known) == len(chosen) > 1:
        gaps = known[-1] - known[0] + 1 - len(known)
        if known[0] > 1 and not gaps:
            remarks.append(f"its slices are numbered from {known[0]} to {known[-1]}: the first may be missing")
        elif gaps > 0 and len(set(known)) == len(known):
            remarks.append(f"numbers are missing among its slices {known[0]} to {known[-1]}: slices may be, too")
    return Stack(tuple(kept[index] for index in order), tuple(edges), tuple(first), tuple(direction), tuple(remarks))


def _orientation(planes: Sequence[Plane]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    given = np.array([_given(plane, plane.orientation, "orientation (ImageOrientationPatient)") for plane in planes])
    if not np.isfinite(given).all():
        raise InputError("its orientation (ImageOrientationPatient) is no six numbers")
    if np.abs(given - given[0]).max() > _COSINE:
        odd = int(np.abs(given - given[0]).max(axis=1).argmax())
        raise InputError(f"its slices have several orientations ({planes[0].name}, {planes[odd].name})")
    row, column = given[0, :3], given[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > _TILT or abs(row @ column) > _TILT:
        raise InputError(
            f"its orientation (ImageOrientationPatient) is {listed(given[0])}; expected two cosines at a right angle"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _in_plane(planes: Sequence[Plane]) -> tuple[float, float]:
    given = np.array([_given(plane, plane.spacing, "pixel spacing (PixelSpacing)") for plane in planes])
    if not (np.isfinite(given).all() and given.min() > 0):
        raise InputError(f"its pixel spacing (PixelSpacing) is {listed(given[0])}; expected two numbers above 0 in mm")
    if not np.allclose(given, given[0], rtol=_SPACING, atol=0):
        odd = int(np.abs(given - given[0]).max(axis=1).argmax())
        raise InputError(
            f"its slices have several pixel spacings: {times(given[0])} mm ({planes[0].name}) and "
            f"{times(given[odd])} mm ({planes[odd].name})"
        )
    return float(given[0, 0]), float(given[0, 1])


def _step(
    planes: Sequence[Plane], positions: NDArray[np.float64], normal: NDArray[np.float64], remarks: list[str]
) -> float:
    """From one slice to the next in mm."""
    if not np.isfinite(positions).all():
        raise InputError("a position of its slices (ImagePositionPatient) is no three numbers")
    said = planes[0].between if planes[0].between is not None else planes[0].thickness
    if len(planes) == 1:
        if said is None or said <= 0:
            raise InputError("a single slice without thickness (SliceThickness); expected more slices")
        return said
    moves = np.diff(positions, axis=0)
    steps = moves @ normal
    if steps.min() < _SAME_PLACE:
        raise InputError(_several(planes, int(steps.argmin())))
    if np.abs(steps / np.median(steps) - 1).max() > _UNEVEN:
        raise InputError(f"slices are missing or unevenly spaced: steps from {steps.min():g} to {steps.max():g} mm")
    step = float(positions[-1] @ normal - positions[0] @ normal) / len(moves)
    aside = np.linalg.norm(moves - steps[:, None] * normal, axis=1)
    if aside.max() > _TILT * step:
        raise InputError(
            f"its slices shift by {aside.max():g} mm along their plane from one to the next (a tilted gantry): resample"
        )
    if planes[0].between is not None and step > 1.5 * abs(planes[0].between) > 0:
        remarks.append(
            f"its slices lie {step:g} mm apart, and its header says {abs(planes[0].between):g} mm: some may be missing"
        )
    elif planes[0].between is None and said is not None and step > _WIDE_GAP * said > 0:
        remarks.append(f"its slices are {said:g} mm thick and lie {step:g} mm apart: some may be missing")
    return step


def _several(planes: Sequence[Plane], index: int) -> str:
    first, second = planes[index], planes[index + 1]
    echoes = sorted({plane.echo for plane in planes if plane.echo})
    why = f", with echo times of {' and '.join(echoes)} ms" if len(echoes) > 1 else ""
    return f"several slices at one place ({first.name}; {second.name}{why}); expected a single volume"


def _given(plane: Plane, value: tuple[float, ...] | None, what: str) -> tuple[float, ...]:
    if value is None:
        raise InputError(f"gives no {what} ({plane.name})")
    return value
