"""The page: the two visits of each pair side by side, and what became of each lesion in colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, complete_or_absent, write_text
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.longitudinal import noise
from nnunetv2_sa_unet.longitudinal.folder import PAGE_NAME, picture_name
from nnunetv2_sa_unet.longitudinal.matching import KINDS
from nnunetv2_sa_unet.longitudinal.record import ROLES, Changes, Pair
from nnunetv2_sa_unet.report.mosaic import MOST_SLICES, Mosaic, Tile, chosen_slices, content_box, draw_mosaic
from nnunetv2_sa_unet.report.page import ASSETS as REPORT_ASSETS
from nnunetv2_sa_unet.report.page import template_environment
from nnunetv2_sa_unet.report.section import file_stem
from nnunetv2_sa_unet.scores.scoring import voxel_axes

__all__ = ["write_page"]

_ASSETS = Path(__file__).with_name("assets")
#: What says which visit is the earlier one, as a sentence.
_ORDERS = {
    "acq_time": "The first visit is the one of the earlier acq_time in sessions.tsv.",
    "label": "The first visit is the one whose session comes first by its label.",
    "table": "The first visit is the one that the table of pairs calls so.",
}
#: A voxel of change weighs as much as so many of lesion where it is chosen which slices are shown.
_CHANGE_WEIGHS = 1000


@dataclass(frozen=True)
class _Section:
    """A pair as the template needs it; without slices if there are no figures, or with the reason in ``problem``."""

    pair: Pair
    anchor: str
    visits: tuple[Mosaic, ...] = ()
    pictures: tuple[str, ...] = ()
    problem: str = ""

    @property
    def slices(self) -> list[tuple[Tile, ...]]:
        """The same slice of both visits."""
        return list(zip(*(mosaic.tiles for mosaic in self.visits), strict=True))


def write_page(folder: Path, changes: Changes) -> Path:
    """Write ``changes.html`` and its pictures; the same files give the same bytes.

    Args:
        folder: of the run.
        changes: its record.
    """
    style = "".join(path.read_text(encoding="utf-8") for path in (REPORT_ASSETS / "page.css", _ASSETS / "changes.css"))
    page = (
        template_environment(_ASSETS)
        .get_template("changes.html")
        .render(
            changes=changes,
            sections=[_section(folder, pair) for pair in changes.pairs],
            kinds=KINDS,
            noise=noise,
            orders=_ORDERS,
            most_slices=MOST_SLICES,
            style=style,
        )
    )
    write_text(folder / PAGE_NAME, page)
    return folder / PAGE_NAME


def _section(folder: Path, pair: Pair) -> _Section:
    anchor = f"pair-{file_stem(pair.pair)}"
    if pair.figures is None:
        return _Section(pair, anchor)
    try:
        mosaics = _mosaics(folder, pair)
    except InputError as error:
        return _Section(pair, anchor, problem=f"cannot be shown: {error}")
    pictures = []
    for role, mosaic in zip(ROLES, mosaics, strict=True):
        name = picture_name(pair.pair, role)
        with complete_or_absent(below(folder, name)) as temporary:
            temporary.write_bytes(mosaic.picture or b"")
        pictures.append(name)
    return _Section(pair, anchor, mosaics, tuple(pictures))


def _mosaics(folder: Path, pair: Pair) -> tuple[Mosaic, Mosaic]:
    """The slices of both visits, which show the same places."""
    image = read_volume(below(folder, str(pair.changes)))
    kinds = SimpleITK.GetArrayFromImage(image)
    flair = [SimpleITK.GetArrayFromImage(read_volume(below(folder, str(visit.image)))) for visit in pair.visits]
    masks = [SimpleITK.GetArrayFromImage(read_volume(below(folder, str(visit.mask)))) == WMH for visit in pair.visits]
    # The grid half-way has axial slices from below.
    affine = np.eye(4)
    affine[:3, :3] = np.flip(voxel_axes(image), axis=0).T
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    boxes = [content_box(values, kinds > 0, image.GetSpacing()[::-1]) for values in flair]
    # Whatever either of them shows.
    box = tuple(
        slice(min(one.start or 0, other.start or 0), max(one.stop, other.stop))
        for one, other in zip(*boxes, strict=True)
    )
    changed = (kinds > 0) & (kinds != 1 + KINDS.index("stable"))
    load = (kinds > 0).sum(axis=(1, 2)) + _CHANGE_WEIGHS * changed.sum(axis=(1, 2))
    slices = chosen_slices(box[0].start, box[0].stop, load)
    first, second = (
        draw_mosaic(
            values,
            {kind: mask & (kinds == number) for number, kind in enumerate(KINDS, 1)},
            box,
            slices,
            affine,
        )
        for values, mask in zip(flair, masks, strict=True)
    )
    return first, second
