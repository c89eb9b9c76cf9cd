"""nnU-Net's predictions as a BIDS derivative."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.convert.raw_dataset import CASES_NAME
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, complete_or_absent
from nnunetv2_sa_unet.images.bids import describe_derivative, mask_path, write_sidecar
from nnunetv2_sa_unet.images.folders import images_in
from nnunetv2_sa_unet.images.geometry import geometry_differences, image_like
from nnunetv2_sa_unet.images.masks import predicted_wmh
from nnunetv2_sa_unet.images.volumes import read_header, read_volume, shape_problem
from nnunetv2_sa_unet.images.writing import write_image

__all__ = ["write_derivative"]


def _read_table(path: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Read ``cases.csv`` of a data set that was converted from BIDS: its rows by case.

    Args:
        path: of the table.
        folder: of the derivative, which the masks of its volumes must not leave.

    Raises:
        InputError: it is absent, its cases come from elsewhere, or a path in it leads out of a data set.
    """
    reason = ""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = {row["case"]: row for row in csv.DictReader(stream)}
        if all(row["subject"] and below(folder, row["flair"]) for row in rows.values()):
            return rows
    except InputError as error:
        reason = f"{error}; "
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        pass
    raise InputError(
        f"{path}: {reason}expected the table of cases with subject and flair that nnUNetv2_sa_unet convert bids writes"
    )


def write_derivative(folder: Path, predictions: Path, dataset: Path, source: Path | None, force: bool) -> list[Path]:
    """Write a mask and its JSON file for every prediction, and what makes the folder a BIDS derivative.

    Masks that are there already and equal are left as they are.

    Args:
        folder: of the derivative.
        predictions: nnU-Net's output folder.
        dataset: the data set of the cases in ``nnUNet_raw``, with its table and its images.
        source: the BIDS data set, for its address in ``dataset_description.json``; None if it is not known.
        force: replace masks that differ.

    Returns:
        The masks.

    Raises:
        InputError: there is no table of the cases; or else one line for every prediction that belongs to no case, is
            stored twice, cannot be read, is no 3D mask or not on its FLAIR's grid, or whose mask is there and differs.
            Nothing is written then.
    """
    table = _read_table(dataset / CASES_NAME, folder)
    masks: dict[Path, tuple[SimpleITK.Image, Path]] = {}
    problems = []
    for case, paths in _predictions(predictions).items():
        if case not in table or len(paths) > 1:
            reason = "no such case in the data set" if case not in table else "stored twice; keep one of them"
            problems.append(f"  {', '.join(path.name for path in paths)}: {reason}")
            continue
        flair = Path(table[case]["flair"])
        try:
            target = below(folder, mask_path(flair))
            masks[target] = _mask(paths[0], _image(dataset, case)), flair
            if target.exists() and not force and not _same(masks[target][0], read_volume(target)):
                problems.append(f"  {target}: exists and differs; replace it with --force, or choose a folder with -o")
        except InputError as error:
            problems.append(f"  {error}")
    if problems:
        raise InputError("\n".join([f"{predictions}: nothing was written:", *problems]))
    for target, (mask, flair) in masks.items():
        if not (target.exists() and _same(mask, read_volume(target))):
            with complete_or_absent(target) as temporary:
                write_image(mask, temporary)
        write_sidecar(target, flair)
    describe_derivative(folder, source)
    return list(masks)


def _predictions(folder: Path) -> dict[str, list[Path]]:
    images = images_in(folder)
    if not images:
        raise InputError(f"{folder}: no image; expected nnU-Net's predictions")
    return images


def _image(dataset: Path, case: str) -> Path:
    """The FLAIR of a case, training or not."""
    places = [dataset / folder / f"{case}_0000.nii.gz" for folder in ("imagesTr", "imagesTs")]
    return next((path for path in places if path.exists()), places[-1])


def _mask(path: Path, flair: Path) -> SimpleITK.Image:
    """The WMH of a prediction, which lies on the grid of the FLAIR.

    Raises:
        InputError: it does not, is no 3D image, or either cannot be read.
    """
    prediction = read_volume(path)
    problem = shape_problem(prediction)
    if problem is None:
        differences = geometry_differences(read_header(flair), prediction)
        problem = f"not on the grid of {flair}: {'; '.join(differences)}" if differences else None
    if problem:
        raise InputError(f"{path}: {problem}")
    inside, _ = predicted_wmh(SimpleITK.GetArrayViewFromImage(prediction))
    return image_like(inside.astype(np.uint8), prediction)


def _same(first: SimpleITK.Image, second: SimpleITK.Image) -> bool:
    arrays: Iterable[Any] = (SimpleITK.GetArrayViewFromImage(image) for image in (first, second))
    return not geometry_differences(first, second) and np.array_equal(*arrays)
