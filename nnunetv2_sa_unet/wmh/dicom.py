"""DICOM series as volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.wmh.volumes import itk_reason

__all__ = ["read_series"]


def read_series(folder: Path, files: Sequence[str]) -> SimpleITK.Image:
    """Read the files of one DICOM series as a volume.

    Args:
        folder: that they lie in.
        files: their names in the order of the slices.

    Raises:
        InputError: a file is absent or damaged, or they make up no volume; the message starts with the folder.
    """
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(folder / file) for file in files])
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{folder}: its DICOM series cannot be read: {itk_reason(error)}") from error
