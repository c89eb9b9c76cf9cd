"""Rigid motions as 4×4 matrices that act on points in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

__all__ = ["Matrix", "degrees", "distance_mm", "inverse", "midpoint", "motion", "square_root", "transform_of"]

Matrix = NDArray[np.float64]

#: Of the sphere in which motions are compared: a head's, as Jenkinson has it.
_RADIUS_MM = 80.0


def motion(rotation: Matrix, translation: Sequence[float] | Matrix) -> Matrix:
    """The motion of a rotation (3×3) about the origin, and a shift in mm after it."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation, translation
    return made


def inverse(of: Matrix) -> Matrix:
    """The motion back."""
    back = of[:3, :3].T
    return motion(back, -back @ of[:3, 3])


def square_root(of: Matrix) -> Matrix:
    """The motion that is done twice in ``of``: half its angle, along the same screw. The angle is below 180°."""
    half = Rotation.from_rotvec(Rotation.from_matrix(of[:3, :3]).as_rotvec() / 2).as_matrix()
    # Done twice, a motion of rotation H and shift s shifts by H s + s.
    return motion(half, np.linalg.solve(half + np.eye(3), of[:3, 3]))


def midpoint(first: Matrix, second: Matrix) -> Matrix:
    """The motion half-way between two; that of their inverses is its inverse."""
    middle: Matrix = first @ square_root(inverse(first) @ second)
    return middle


def degrees(of: Matrix) -> float:
    """The angle of a motion."""
    return float(np.degrees(Rotation.from_matrix(of[:3, :3]).magnitude()))


def distance_mm(first: Matrix, second: Matrix, centre: Sequence[float] | Matrix) -> float:
    """How far apart two motions take the points of a head: root mean square over a sphere of 80 mm.

    Jenkinson, *Measuring Transformation Error by RMS Deviation*, TR99MJ1, FMRIB Oxford, 1999.

    Args:
        first: a motion.
        second: another.
        centre: of the sphere in mm.
    """
    difference = first - second
    turned, shift = difference[:3, :3], difference[:3, :3] @ np.asarray(centre) + difference[:3, 3]
    return float(np.sqrt(_RADIUS_MM**2 / 5 * np.trace(turned.T @ turned) + shift @ shift))


def transform_of(matrix: Matrix) -> SimpleITK.AffineTransform:
    """A motion as SimpleITK applies it to points."""
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform
