"""The image that a network sees, from a file or a DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import read_series_remarked
from nnunetv2_sa_unet.images.volumes import constant_problem, read_remarked, shape_problem

__all__ = ["flair_problem", "read_flair"]


def read_flair(path: Path, files: Sequence[str] | None = None) -> tuple[SimpleITK.Image, tuple[str, ...]]:
    """Read an image to its last byte and refuse what no network can use.

    Args:
        path: of a file, or of the folder of a DICOM series.
        files: of the series, below the folder, in the order of the slices; None for a file.

    Returns:
        The image, 3D and of one channel, and remarks on how it was read where its header leaves a choice.

    Raises:
        InputError: it cannot be read, or has the same value everywhere; the message starts with a path.
    """
    image, remarks = read_remarked(path) if files is None else read_series_remarked(path, files)
    problem = flair_problem(image)
    if problem is not None:
        raise InputError(f"{path}: {problem}")
    return image, remarks


def flair_problem(image: SimpleITK.Image) -> str | None:
    """Say why no network can use an image."""
    return shape_problem(image) or constant_problem(image)
