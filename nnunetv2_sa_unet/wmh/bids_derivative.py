"""Masks and probability maps as a BIDS derivative."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent, write_json, write_text
from nnunetv2_sa_unet.wmh.bids import case_name
from nnunetv2_sa_unet.wmh.masks import predicted_wmh
from nnunetv2_sa_unet.wmh.pairs import images_in
from nnunetv2_sa_unet.wmh.volumes import geometry_differences, image_like, read_volume

__all__ = [
    "BIDS_VERSION", "describe_derivative", "mask_path", "probabilities_path", "read_table", "sidecar_path",
    "write_derivative", "write_sidecar",
]  # fmt: skip

BIDS_VERSION = "1.10.0"
_README = """\
# White matter hyperintensities
Binary masks of white matter hyperintensities, and where asked for maps of their probability, on the grid of the FLAIR
volumes, predicted by nnU-Net with nnunetv2-sa-unet. The JSON file beside each names its FLAIR volume.
"""


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """Read ``cases.csv`` of a data set that was converted from BIDS: its rows by case.

    Raises:
        InputError: it is absent, or its cases come from elsewhere.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = {row["case"]: row for row in csv.DictReader(stream)}
        if all(row["subject"] and row["flair"] for row in rows.values()):
            return rows
    except (OSError, KeyError):
        pass
    raise InputError(
        f"{path}: expected the table of cases with subject and flair that nnUNetv2_sa_unet convert bids writes"
    )


def mask_path(volume: Path) -> Path:
    """Where the mask of a FLAIR volume stands in a derivative.

    Args:
        volume: in its BIDS data set, such as ``sub-01/anat/sub-01_FLAIR.nii.gz``.
    """
    return volume.with_name(f"{case_name(volume)}_desc-wmh_mask.nii.gz")


def probabilities_path(volume: Path) -> Path:
    """Where the map of the probability of WMH stands; see :func:`mask_path`."""
    return volume.with_name(f"{case_name(volume)}_label-WMH_desc-wmh_probseg.nii.gz")


def sidecar_path(image: Path) -> Path:
    """Where the JSON file of a mask or map stands."""
    return image.with_name(image.name.replace(".nii.gz", ".json"))


def write_sidecar(image: Path, volume: Path) -> None:
    """Write the JSON file of a mask or map, which names its FLAIR volume; see :func:`mask_path` for ``volume``."""
    about = {"Type": "Lesion", "Sources": [f"bids:raw:{volume.as_posix()}"], "SpatialReference": "orig"}
    write_json(sidecar_path(image), about)


def write_derivative(
    folder: Path, predictions: Path, table: Mapping[str, Mapping[str, str]], source: Path | None, force: bool
) -> list[Path]:
    """Write a mask and its JSON file for every prediction, and what makes the folder a BIDS derivative.

    Masks that are there already and equal are left as they are.

    Args:
        folder: of the derivative.
        predictions: nnU-Net's output folder.
        table: see :func:`read_table`.
        source: the BIDS data set, for its address in ``dataset_description.json``; None if it is not known.
        force: replace masks that differ.

    Returns:
        The masks.

    Raises:
        InputError: one line for every prediction that belongs to no case, is stored twice or cannot be read, or
            whose mask is there and differs. Nothing is written then.
    """
    masks: dict[Path, tuple[SimpleITK.Image, Path]] = {}
    problems = []
    for case, paths in _predictions(predictions).items():
        if case not in table or len(paths) > 1:
            reason = "no such case in the data set" if case not in table else "stored twice; keep one of them"
            problems.append(f"  {', '.join(path.name for path in paths)}: {reason}")
            continue
        flair = Path(table[case]["flair"])
        target = folder / mask_path(flair)
        try:
            masks[target] = _mask(read_volume(paths[0])), flair
            if target.exists() and not force and not _same(masks[target][0], read_volume(target)):
                problems.append(f"  {target}: exists and differs; replace it with --force, or choose a folder with -o")
        except InputError as error:
            problems.append(f"  {error}")
    if problems:
        raise InputError("\n".join([f"{predictions}: nothing was written:", *problems]))
    for target, (mask, flair) in masks.items():
        if not (target.exists() and _same(mask, read_volume(target))):
            with complete_or_absent(target) as temporary:
                SimpleITK.WriteImage(mask, str(temporary), useCompression=True)
        write_sidecar(target, flair)
    describe_derivative(folder, source)
    return list(masks)


def _predictions(folder: Path) -> dict[str, list[Path]]:
    images = images_in(folder)
    if not images:
        raise InputError(f"{folder}: no image; expected nnU-Net's predictions")
    return images


def _mask(prediction: SimpleITK.Image) -> SimpleITK.Image:
    inside, _ = predicted_wmh(SimpleITK.GetArrayViewFromImage(prediction))
    return image_like(inside.astype(np.uint8), prediction)


def _same(first: SimpleITK.Image, second: SimpleITK.Image) -> bool:
    arrays: Iterable[Any] = (SimpleITK.GetArrayViewFromImage(image) for image in (first, second))
    return not geometry_differences(first, second) and np.array_equal(*arrays)


def describe_derivative(folder: Path, source: Path | None, others: Sequence[str] = ()) -> None:
    """Write what makes a folder a BIDS derivative, unless it is there.

    Args:
        folder: of the derivative.
        source: the BIDS data set, for its address; None if it is not known.
        others: patterns of files in the folder that are none of BIDS, for ``.bidsignore``.
    """
    if others:
        write_text(folder / ".bidsignore", "\n".join([*others, ""]))
    readme, description = folder / "README.md", folder / "dataset_description.json"
    if not readme.exists():
        write_text(readme, _README)
    if description.exists():
        return
    write_json(
        description,
        {
            "Name": "White matter hyperintensities",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "nnunetv2-sa-unet", "Version": __version__}],
            **({"DatasetLinks": {"raw": source.resolve().as_uri()}} if source else {}),
        },
    )
