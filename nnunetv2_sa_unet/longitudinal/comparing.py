"""The last stage of a run: the masks of two visits become figures, a map and a table of what changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.files import below, complete_or_absent, write_rows
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.masks import WMH, BoolArray
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.longitudinal.folder import MASKS_FOLDER, changes_name, lesions_name
from nnunetv2_sa_unet.longitudinal.matching import KINDS, Change, match_lesions
from nnunetv2_sa_unet.longitudinal.noise import total_noise_ml
from nnunetv2_sa_unet.longitudinal.record import Figures, Pair
from nnunetv2_sa_unet.segmentation.record import Subject
from nnunetv2_sa_unet.segmentation.writing import write_image, writing

__all__ = ["compare"]


def compare(folder: Path, pair: Pair, rows: tuple[Subject, Subject]) -> Pair:
    """Compare the two visits of a pair, and write its map and table.

    Args:
        folder: of the run.
        pair: registered, with images half-way.
        rows: of the two masks.

    Raises:
        InputError: a mask cannot be read.
        FolderError: nothing can be written to the folder.
    """
    masks = [read_volume(below(folder / MASKS_FOLDER, str(row.mask))) for row in rows]
    first, second = (SimpleITK.GetArrayFromImage(mask) == WMH for mask in masks)
    voxel_mm3 = float(np.prod(masks[0].GetSpacing()))
    changes, kinds = match_lesions(first, second, voxel_mm3)
    path = below(folder, changes_name(pair.pair))
    with writing(path, kinds.nbytes), complete_or_absent(path) as temporary:
        write_image(image_like(kinds, masks[0]), temporary, compressed=True)
    table = below(folder, lesions_name(pair.pair))
    with writing(table, 0):
        write_rows(table, _HEADER, (_row(number, change, masks[0]) for number, change in enumerate(changes, 1)))
    said = [f"{visit.visit}: {row.message}" for visit, row in zip(pair.visits, rows, strict=True) if row.message]
    is_odd = pair.status == "warning" or any(row.status == "warning" for row in rows)
    visits = [
        visit.model_copy(update={"mask": f"{MASKS_FOLDER}/{row.mask}", "mask_sha256": row.mask_sha256})
        for visit, row in zip(pair.visits, rows, strict=True)
    ]
    return pair.model_copy(
        update={
            "visits": visits,
            "status": "warning" if is_odd else "ok",
            "message": "; ".join([*([pair.message] if pair.message else []), *dict.fromkeys(said)]),
            "changes": changes_name(pair.pair),
            "lesions": lesions_name(pair.pair),
            "figures": _figures(first, second, changes, voxel_mm3),
        }
    )


_HEADER = (
    "lesion", "kind", "first_mm3", "second_mm3", "change_mm3", "noise_mm3", "first_parts", "second_parts",
    "right_mm", "front_mm", "up_mm",
)  # fmt: skip


def _row(number: int, change: Change, image: SimpleITK.Image) -> tuple[str | float, ...]:
    """A line of the table; places as in NIfTI."""
    left, back, up = image.TransformContinuousIndexToPhysicalPoint(change.place[::-1])
    volumes = (change.first_mm3, change.second_mm3, round(change.change_mm3, 3), change.noise_mm3)
    place = (round(-left, 1), round(-back, 1), round(up, 1))
    return (number, change.kind, *volumes, change.first_parts, change.second_parts, *place)


def _figures(first: BoolArray, second: BoolArray, changes: list[Change], voxel_mm3: float) -> Figures:
    before, after = (round(int(mask.sum()) * voxel_mm3 / 1000, 6) for mask in (first, second))
    difference = round(after - before, 6)
    noise = total_noise_ml(max(before, after))
    by_kind = {kind: [change for change in changes if change.kind == kind] for kind in KINDS}
    return Figures(
        first_ml=before,
        second_ml=after,
        change_ml=difference,
        change_percent=round(100 * difference / before, 2) if before else None,
        noise_ml=noise,
        below_noise=abs(difference) <= noise,
        lesions={kind: len(found) for kind, found in by_kind.items()},
        ml={kind: round(sum(change.change_mm3 for change in found) / 1000, 6) for kind, found in by_kind.items()},
    )
