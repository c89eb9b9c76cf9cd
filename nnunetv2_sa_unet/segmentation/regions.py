"""The regions of a subject that has its mask: no network is needed."""

from __future__ import annotations

from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.files import below, complete_or_absent, is_intact, sha256
from nnunetv2_sa_unet.images.bids import sidecar_path, write_sidecar
from nnunetv2_sa_unet.images.flair import read_flair
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.regions.assignment import LABELS, Rule
from nnunetv2_sa_unet.regions.location import locate
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.record import Regions, Subject
from nnunetv2_sa_unet.segmentation.writing import write_image, writing

__all__ = ["has_regions", "with_regions"]

_FAILED = "regions: the registration to the atlas failed: "


def has_regions(folder: Path, row: Subject, rule: str | None) -> bool:
    """Whether an earlier run has found a subject's regions by a rule, and their map is as it wrote it."""
    found = row.regions
    if rule is None or row.mask is None:
        return True
    if found is None or found.rule != rule or found.mask_sha256 != row.mask_sha256:
        return False
    return found.map is None or is_intact(below(folder, found.map), found.map_sha256)


def with_regions(folder: Path, found: FoundSubject, row: Subject, rule: Rule | None) -> Subject:
    """Find the regions of a subject, write their map, and put what they hold into its row.

    Where the registration failed there is no map and no number, and the row becomes a warning that says so.

    Args:
        folder: of the run.
        found: the subject.
        row: of the subject, whose mask is there.
        rule: see :class:`.record.Options`.

    Raises:
        FolderError: the map cannot be written.
    """
    if rule is None or row.mask is None:
        return row
    mask = read_volume(below(folder, row.mask))
    first = row.inputs[0]
    flair, _ = read_flair(Path(first.path), first.files)
    location = locate(flair, SimpleITK.GetArrayFromImage(mask) == WMH, rule)
    row = _without_failure(row)
    path = below(folder, found.regions)
    if isinstance(location, str):
        path.unlink(missing_ok=True)
        message = "; ".join(filter(None, [row.message, f"{_FAILED}{location}"]))
        regions = Regions(rule=rule, registration="failed", reason=location, mask_sha256=row.mask_sha256)
        return row.model_copy(update={"regions": regions, "status": "warning", "message": message})
    with writing(path, location.labels.nbytes), complete_or_absent(path) as temporary:
        write_image(image_like(location.labels, mask), temporary, compressed=True)
    if found.volume is not None:
        with writing(sidecar_path(path), 0):
            write_sidecar(path, found.volume, LABELS)
    regions = Regions(
        rule=rule,
        registration="ok",
        mask_sha256=row.mask_sha256,
        map=found.regions.as_posix(),
        map_sha256=sha256([path]),
        ml=location.load.ml,
        lesions=location.load.lesions,
        icv_ml=location.icv_ml,
    )
    return row.model_copy(update={"regions": regions})


def _without_failure(row: Subject) -> Subject:
    """The row before an earlier attempt that failed."""
    if row.regions is None or row.regions.registration == "ok":
        return row
    message = row.message.partition(_FAILED)[0].removesuffix("; ")
    return row.model_copy(update={"message": message, "status": "warning" if message else "ok", "regions": None})
