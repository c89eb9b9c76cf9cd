"""A small head that can be scanned in any position, with lesions that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from nnunetv2_sa_unet.longitudinal.rigid import Matrix, inverse, motion

#: Middle (mm, LPS) and radius (mm) of a lesion.
Lesion = tuple[tuple[float, float, float], float]


def pose(turn: Sequence[float] = (0, 0, 0), shift: Sequence[float] = (0, 0, 0)) -> Matrix:
    """The motion of a head from its place: degrees about x, y and z, and mm."""
    return motion(Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), shift)


def scan(
    lesions: Sequence[Lesion] = (),
    place: Matrix | None = None,
    spacing: Sequence[float] = (2.0, 2.0, 3.0),
    size: Sequence[int] = (60, 68, 36),
    seed: int = 0,
    stretch: Sequence[float] = (1, 1, 1),
) -> SimpleITK.Image:
    """A FLAIR image: scalp 115, brain about 100, ventricles 20, lesions 220; no voxel was interpolated.

    Args:
        lesions: of the head.
        place: of the head; None where it was.
        spacing: of the voxels in mm (x, y, z).
        size: their number.
        seed: of the noise.
        stretch: another person's head.
    """
    image = SimpleITK.Image(list(size), SimpleITK.sitkInt16)
    image.SetSpacing(list(spacing))
    origin = -(np.array(size) - 1) / 2 * spacing
    image.SetOrigin(origin.tolist())
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)[..., [0, 1, 2]]
    back = inverse(np.eye(4) if place is None else place)
    points = (grid * spacing + origin) @ back[:3, :3].T + back[:3, 3]
    x, y, z = np.moveaxis(points * stretch, -1, 0)
    radius = np.sqrt((x / 46) ** 2 + (y / 54) ** 2 + (z / 42) ** 2)
    texture = 10 * (np.sin(x / 5) + np.sin(y / 6 + 1) + np.sin(z / 5 + 2) + np.sin((x + y - z) / 8))
    ventricles = ((x / 9) ** 2 + ((y + 6) / 17) ** 2 + ((z - 4) / 9) ** 2 < 1) | (
        ((x - 12) / 5) ** 2 + ((y - 20) / 7) ** 2 + (z / 6) ** 2 < 1
    )
    values = np.select([radius > 1, radius > 0.93, radius > 0.84, ventricles], [2, 115, 8, 20], 100 + texture)
    for middle, reach in lesions:
        values = np.where(((points - middle) ** 2).sum(-1) < reach**2, 220, values)
    values = values + np.random.default_rng(seed).normal(0, 2, values.shape)
    made = SimpleITK.GetImageFromArray(np.rint(values.transpose(2, 1, 0)).astype(np.int16))
    made.CopyInformation(image)
    return made


@pytest.fixture(scope="session")
def scan_head() -> Callable[..., SimpleITK.Image]:
    """See ``scan``."""
    return scan


@pytest.fixture(scope="session")
def pose_of() -> Callable[..., Matrix]:
    """See ``pose``."""
    return pose
