"""Cases to be made into a data set in nnU-Net's raw format, and whether their files can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from tqdm import tqdm

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import sha256
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.masks import OTHER, WMH
from nnunetv2_sa_unet.images.processes import mapping
from nnunetv2_sa_unet.images.volumes import constant_problem, read_remarked, shape_problem

__all__ = ["Checked", "SourceCase", "check_cases"]


@dataclass(frozen=True)
class SourceCase:
    """A case and the files that it is made from.

    Attributes:
        name: nnU-Net's identifier of the case.
        training: whether it goes to ``imagesTr`` and ``labelsTr``; else to ``imagesTs`` and ``labelsTs``.
        images: one a channel, in NIfTI. All files of the case take the geometry of the first.
        label: 0 background, 1 WMH, 2 other pathology; None where nobody drew one.
        readings: by observer, what others drew of the same case.
        row: further columns of ``cases.csv``.
    """

    name: str
    training: bool
    images: tuple[Path, ...]
    label: Path | None
    readings: Mapping[str, Path] = field(default_factory=dict)
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """What was found in the files of a case.

    Attributes:
        hashes: SHA-256 by file.
        moved: the files whose geometry is the first image's only within the tolerance, so that a copy would not do.
        problems: a line each.
        remarks: how a file was read whose header leaves a choice, a line each.
    """

    hashes: Mapping[Path, str]
    moved: frozenset[Path]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def check_cases(cases: Sequence[SourceCase], known: Sequence[str], processes: int) -> list[Checked]:
    """Read every file of every case to its end.

    Args:
        cases: to be checked.
        known: what is wrong with their source already, so that all is said at once.
        processes: how many processes share the work.

    Raises:
        InputError: one line for everything that is wrong, whether known or found in a file.
    """
    with mapping(max(1, min(processes, len(cases)))) as apply:
        checked: list[Checked] = list(tqdm(apply(_check, cases), "checking", total=len(cases), unit="case"))
    problems = [*known, *(problem for one in checked for problem in one.problems)]
    if problems:
        lines = (f"  {problem}" for problem in problems)
        raise InputError("\n".join([f"nothing was written, for {len(problems)} reasons:", *lines]))
    return checked


def _check(case: SourceCase) -> Checked:
    problems: list[str] = []
    remarks: list[str] = []
    hashes: dict[Path, str] = {}
    moved: set[Path] = set()
    first: SimpleITK.Image | None = None
    masks = [*case.readings.values()] if case.label is None else [case.label, *case.readings.values()]
    for path in (*case.images, *masks):
        try:
            image, said = read_remarked(path)
        except InputError as error:
            problems.append(f"{case.name}: {error}")
            continue
        hashes[path] = sha256([path])
        remarks += (f"{case.name}: {path}: {remark}" for remark in said)
        found = shape_problem(image) or (_mask_problem(image) if path in masks else constant_problem(image))
        if found is None and first is None and path == case.images[0]:
            first = image
        elif found is None and first is not None:
            differences = geometry_differences(first, image)
            found = f"not on the grid of {case.images[0].name}: {'; '.join(differences)}" if differences else None
            if _geometry(case.images[0]) != _geometry(path):
                moved.add(path)
        if found is not None:
            problems.append(f"{case.name}: {path}: {found}")
    return Checked(hashes, frozenset(moved), tuple(problems), tuple(remarks))


def _geometry(path: Path) -> tuple[object, ...]:
    """What nnU-Net takes for the geometry of a NIfTI file, to the last bit: it compares channels so."""
    image: Any = nibabel.load(path)
    return image.affine.tolist(), image.header.get_zooms()


def _mask_problem(image: SimpleITK.Image) -> str | None:
    found = np.unique(SimpleITK.GetArrayViewFromImage(image))
    unknown = found[~np.isin(found, (0, WMH, OTHER))]
    if not unknown.size:
        return None
    listed = ", ".join(f"{value:g}" for value in unknown[:5]) + (" …" if unknown.size > 5 else "")
    return f"labels {listed}; expected 0 (background), 1 (WMH) and 2 (other pathology) only"
