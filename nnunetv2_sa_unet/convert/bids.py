"""FLAIR volumes and lesion masks of a data set in BIDS as cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.convert.raw_cases import SourceCase
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import BidsImage, case_name, find_flair, find_images
from nnunetv2_sa_unet.images.folders import PassedOver
from nnunetv2_sa_unet.text import printable

__all__ = ["Found", "find_cases"]

_MASKS = ("mask", "dseg")
#: In ``label``, ``desc`` or a word of a lesion mask's name; brain masks and tissue maps are not meant.
_LESION_WORDS = ("wmh", "lesion")
#: Entities that tell the scans of a session apart; others of a mask describe the mask, unless a FLAIR has them too.
_SCAN = ("acq", "ce", "rec", "run", "part", "chunk", "echo", "inv")


@dataclass(frozen=True)
class Found:
    """What there is in a data set.

    Attributes:
        cases: one a FLAIR volume, named as its file without ``_FLAIR``; training cases have a mask, and come first.
        problems: why they cannot be used, a line each.
        passed_over: files that look as if they belonged to it and are not used.
        remarks: what else the user has to know, a line each.
    """

    cases: list[SourceCase]
    problems: list[str]
    passed_over: list[PassedOver]
    remarks: list[str]


def find_cases(source: Path, derivatives: Sequence[Path], mask: Mapping[str, str], unlabelled: bool) -> Found:
    """Find every FLAIR volume and its lesion mask. No image is opened.

    Args:
        source: a BIDS data set.
        derivatives: folders with lesion masks besides ``source/derivatives``.
        mask: entities and values that pick the lesion masks (``{"desc": "expert"}``); if empty, masks are taken whose
            name speaks of WMH or lesions.
        unlabelled: whether volumes without a mask are cases to predict, and no problem.

    Raises:
        InputError: this is no BIDS data set, it has no FLAIR, or ``mask`` picks no mask.
    """
    volumes, passed_over = find_flair(source)
    own = source / "derivatives"
    # A folder may be named that lies in the data set's own.
    masks: dict[Path, BidsImage] = {}
    spoken: Sequence[str] = [value.lower() for value in mask.values()] or _LESION_WORDS
    for folder in (*([own] if own.is_dir() else []), *derivatives):
        images, left = find_images(folder, spoken)
        meant = [image for image in images if image.suffix in _MASKS and _is_meant(image, mask)]
        masks |= {image.path.resolve(): image for image in meant}
        passed_over += left
    scan = {*_SCAN, *(key for volume in volumes for key in volume.entities if key not in ("sub", "ses"))}
    chosen = {volume.path: [image for image in masks.values() if _is_of(volume, image, scan)] for volume in volumes}
    if mask and not any(chosen.values()):
        words = " ".join(f"{key}={value}" for key, value in mask.items())
        raise InputError(f"{printable(source)}: --mask {words} picks no mask of any FLAIR; expected one in derivatives")
    cases = [_case(volume, chosen[volume.path]) for volume in volumes]
    used = Counter(image.path for images in chosen.values() for image in images)
    passed_over += [
        PassedOver(image.path, "a lesion mask of no FLAIR volume", False)
        for image in masks.values()
        if image.path not in used
    ]
    remarks = [
        f"one mask for several volumes: {printable(path)} for "
        + ", ".join(case_name(volume) for volume, images in chosen.items() if path in [image.path for image in images])
        for path, number in used.items()
        if number > 1
    ]
    problems = _several_masks(chosen) + _repeated(cases) + ([] if unlabelled else _without_mask(source, cases))
    return Found(sorted(cases, key=lambda case: (not case.training, case.name)), problems, passed_over, remarks)


def _case(volume: BidsImage, masks: Sequence[BidsImage]) -> SourceCase:
    row = {
        name: volume.entities[key] for name, key in (("subject", "sub"), ("session", "ses")) if key in volume.entities
    }
    row["flair"] = volume.place.as_posix()
    label = masks[0].path if masks else None
    return SourceCase(case_name(volume.path), bool(masks), (volume.path,), label, row=row)


def _several_masks(chosen: Mapping[Path, Sequence[BidsImage]]) -> list[str]:
    return [
        f"{case_name(volume)}: {len(masks)} masks ({', '.join(printable(image.path) for image in masks)}): choose with "
        "--mask, for instance desc=VALUE"
        for volume, masks in chosen.items()
        if len(masks) > 1
    ]


def _repeated(cases: Sequence[SourceCase]) -> list[str]:
    volumes: dict[str, list[Path]] = {}
    for case in cases:
        volumes.setdefault(case.name, []).extend(case.images)
    return [
        f"{name}: {len(paths)} volumes of that name ({', '.join(map(printable, paths))}); keep or rename one of them"
        for name, paths in volumes.items()
        if len(paths) > 1
    ]


def _without_mask(source: Path, cases: Sequence[SourceCase]) -> list[str]:
    without = [case.name for case in cases if not case.training]
    if len(without) == len(cases):
        return [
            f"{printable(source)}: no lesion mask for any of the {len(cases)} volumes; name their folder with "
            "--derivatives, their entities with --mask, or make a data set to predict with --unlabelled"
        ]
    return [f"{name}: no lesion mask; add one, or make it a case to predict with --unlabelled" for name in without]


def _is_meant(image: BidsImage, mask: Mapping[str, str]) -> bool:
    """Whether a mask is one of lesions."""
    if mask:
        return all(image.entities.get(key) == value for key, value in mask.items())
    described = " ".join([image.entities.get("label", ""), image.entities.get("desc", ""), *image.words]).lower()
    return any(word in described for word in _LESION_WORDS)


def _is_of(volume: BidsImage, mask: BidsImage, scan: set[str]) -> bool:
    """Whether a mask belongs to a volume: same subject and session, and no other scan of it."""
    same = all(volume.entities.get(key) == mask.entities.get(key) for key in ("sub", "ses"))
    return same and all(volume.entities.get(key) == mask.entities[key] for key in scan if key in mask.entities)
