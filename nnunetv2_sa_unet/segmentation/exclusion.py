"""Masks of places where nothing counts as WMH, such as a stroke."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import images_in
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.images.volumes import read_volume, shape_problem

__all__ = ["exclusion_masks", "read_exclusion"]


def exclusion_masks(path: Path, subjects: Iterable[str]) -> dict[str, Path]:
    """The mask of each subject that has one.

    Args:
        path: one mask for all, or a folder of masks named as their subjects.
        subjects: names.

    Raises:
        InputError: there is no such file or folder, no mask in the folder is a subject's, or a subject has several.
    """
    if path.is_file():
        return dict.fromkeys(subjects, path)
    if not path.is_dir():
        raise InputError(f"--exclude {path}: there is no such file or folder")
    there = images_in(path)
    found = {subject: there[subject] for subject in subjects if subject in there}
    if not found:
        raise InputError(f"--exclude {path}: no mask is named as a subject, such as {next(iter(subjects), '')}.nii.gz")
    for subject, paths in found.items():
        if len(paths) > 1:
            raise InputError(f"--exclude: {subject} has several masks, {', '.join(map(str, paths))}; keep one of them")
    return {subject: paths[0] for subject, paths in found.items()}


def read_exclusion(path: Path, image: SimpleITK.Image) -> BoolArray:
    """Read a mask on the grid of an image: (z, y, x), true where it is not 0.

    Raises:
        InputError: it cannot be read, is no 3D image of one real channel, or lies on another grid.
    """
    mask = read_volume(path)
    problem = shape_problem(mask)
    if problem is not None:
        raise InputError(f"{path}: {problem}")
    differences = geometry_differences(image, mask)
    if differences:
        raise InputError(f"{path}: not on the grid of the image: {'; '.join(differences)}")
    return SimpleITK.GetArrayFromImage(mask) != 0  # type: ignore[no-any-return]
