"""FLAIR volumes and lesion masks of a data set in BIDS as cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.convert.raw_cases import SourceCase
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import NIFTI, case_name, flair_volumes, open_data_set

__all__ = ["find_cases"]

_MASKS = ["mask", "dseg"]
#: In ``label`` or ``desc`` of a lesion mask; brain masks and tissue maps are not meant.
_LESION_WORDS = ("wmh", "lesion")
#: Entities that tell the scans of a session apart; all others of a mask describe the mask.
_SCAN = ("subject", "session", "acquisition", "ceagent", "reconstruction", "run", "part", "chunk")


def find_cases(source: Path, derivatives: Sequence[Path], mask: Mapping[str, str]) -> list[SourceCase]:
    """Find every FLAIR volume and its lesion mask. No image is opened.

    Args:
        source: a BIDS data set.
        derivatives: folders with lesion masks besides ``source/derivatives``.
        mask: entities and values that pick the lesion masks (``{"desc": "expert"}``); if empty, masks are taken whose
            ``label`` or ``desc`` speaks of WMH or lesions.

    Returns:
        A case a FLAIR volume, named as its file without ``_FLAIR``: training cases have a mask.

    Raises:
        InputError: this is no BIDS data set, it has no FLAIR, or pybids is not installed; or else one error that names
            every volume with several masks.
    """
    layout = open_data_set(source, derivatives)
    volumes = flair_volumes(source, layout)
    try:
        chosen = list(layout.get(scope="derivatives", suffix=_MASKS, extension=NIFTI, **mask))
    except ValueError as error:
        raise InputError(f"--mask: {' '.join(str(error).split())}") from None
    if not mask:
        chosen = [file for file in chosen if _is_of_lesions(file.get_entities())]
    cases, problems = [], []
    for volume in volumes:
        path = Path(volume.path)
        entities = volume.get_entities()
        masks = sorted(Path(file.path) for file in chosen if _is_of(entities, file.get_entities()))
        name = case_name(path)
        if len(masks) > 1:
            listed = ", ".join(map(str, masks))
            problems.append(f"  {name}: {len(masks)} masks ({listed}): choose with --mask, for instance desc=VALUE")
        row = {key: str(entities[key]) for key in ("subject", "session") if key in entities}
        row["flair"] = path.relative_to(source).as_posix()
        cases.append(SourceCase(name, bool(masks), (path,), masks[0] if masks else None, row=row))
    repeated = {case.name for case in cases if sum(case.name == other.name for other in cases) > 1}
    problems += [f"  {name}: stored as .nii and as .nii.gz; keep one of them" for name in sorted(repeated)]
    if problems:
        raise InputError("\n".join([f"{source}: not every volume can be told its mask:", *problems]))
    if mask and not any(case.training for case in cases):
        words = " ".join(f"{key}={value}" for key, value in mask.items())
        raise InputError(f"{source}: --mask {words} picks no mask of any FLAIR; expected one in derivatives")
    return sorted(cases, key=lambda case: (not case.training, case.name))


def _is_of_lesions(entities: Mapping[str, Any]) -> bool:
    described = f"{entities.get('label', '')} {entities.get('desc', '')}".lower()
    return any(word in described for word in _LESION_WORDS)


def _is_of(volume: Mapping[str, Any], mask: Mapping[str, Any]) -> bool:
    """Whether a mask belongs to a volume: same subject and session, and no other scan of it."""
    same = all(volume.get(entity) == mask.get(entity) for entity in ("subject", "session"))
    return same and all(entity not in mask or volume.get(entity) == mask[entity] for entity in _SCAN)
