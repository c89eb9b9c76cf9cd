"""Images that are on the disk as they should be before anybody uses them.

ITK does not tell when a disk, a quota or a limit on the size of files took only a part of an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import synced
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.volumes import itk_reason, read_volume
from nnunetv2_sa_unet.text import is_utf8, one_line, printable

__all__ = ["read_back", "write_image"]


def write_image(image: SimpleITK.Image, path: Path, compressed: bool = True) -> None:
    """Write an image, read it back, compare it, and wait until the disk has it.

    Args:
        image: 3D, of one channel.
        path: which is no name that anybody reads yet (``files.complete_or_absent``, ``files.temporary_beside``).
        compressed: whether the voxels are.

    Raises:
        InputError: the file cannot be written, or is not what it should be; the message starts with the path.
    """
    if not is_utf8(path):
        # ITK ends the whole process.
        raise InputError(f"{printable(path)}: cannot be written: its name is no UTF-8")
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be written: {itk_reason(error)}") from error
    found = read_back(path, SimpleITK.GetArrayViewFromImage(image))
    differences = geometry_differences(image, found)
    if differences:
        raise InputError(f"{path}: was written with another geometry: {'; '.join(differences)}")


def read_back(path: Path, values: Any) -> SimpleITK.Image:
    """Read an image that was just written, by whatever program, and wait until the disk has it.

    Args:
        path: of the file.
        values: that it should hold, in any order of the axes: a program may store an image in another orientation.

    Raises:
        InputError: it holds others, or cannot be read to its end; the message starts with the path.
    """
    try:
        image = read_volume(path)
        synced(path)
    except (InputError, OSError) as error:
        reason = one_line(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: was not written to its end (is the disk full?): {reason}") from error
    found = SimpleITK.GetArrayViewFromImage(image)
    if not np.array_equal(found, values) and not _same_values(found, values):
        raise InputError(f"{path}: holds other values than were written (is the disk full?)")
    return image


def _same_values(first: Any, second: Any) -> bool:
    """Whether two arrays hold each value equally often."""
    counts = [np.unique(values, return_counts=True) for values in (first, second)]
    return all(np.array_equal(one, other) for one, other in zip(*counts, strict=True))
