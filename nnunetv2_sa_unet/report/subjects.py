"""What the report says of one subject: numbers, findings worth a look, slices, and the files of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.report.brain import brain_mask
from nnunetv2_sa_unet.report.lesions import Lesion, find_lesions, touched
from nnunetv2_sa_unet.report.mosaic import Mosaic, chosen_slices, content_box, draw_mosaic
from nnunetv2_sa_unet.report.viewer_files import viewer_script
from nnunetv2_sa_unet.report.volumes import Volumes, read_volumes
from nnunetv2_sa_unet.wmh.masks import OTHER, WMH, BoolArray
from nnunetv2_sa_unet.wmh.metrics import CaseMetrics, score
from nnunetv2_sa_unet.wmh.segmentation import Subject

__all__ = ["SUBFOLDERS", "Findings", "SubjectReport", "examine", "file_stem", "files_of"]

#: Of the report's folder: pictures of slices, and volumes for the viewer.
SUBFOLDERS = ("slices", "volumes")
#: Labels of the viewer's overlays beside WMH and OTHER: a predicted lesion that the reference has not, and the reverse.
FALSE, MISSED = 3, 4


@dataclass(frozen=True)
class Findings:
    """What the masks and the image of a subject show.

    Attributes:
        lesions: of the mask, the largest first.
        missed: lesions of the reference that the mask does not touch, the largest first.
        profile_ml: WMH in each axial slice, from below.
        reference_profile_ml: likewise of the reference, None without one.
        slice_mm: distance of the slices.
        brain_found: whether lesions outside the brain could be looked for.
        metrics: of the challenge, None without a reference.
        mosaic: the slices.
        probabilities: whether there is a probability map.
    """

    lesions: tuple[Lesion, ...]
    missed: tuple[Lesion, ...]
    profile_ml: tuple[float, ...]
    reference_profile_ml: tuple[float, ...] | None
    slice_mm: float
    brain_found: bool
    metrics: CaseMetrics | None
    mosaic: Mosaic
    probabilities: bool


@dataclass(frozen=True)
class SubjectReport:
    """A subject of the report.

    Attributes:
        row: its row of the table of volumes.
        remarks: what is missing and why, one line each.
        findings: None without a mask.
        picture: file of its slices in the report's folder, None without an image.
        viewer: file of its volumes in the report's folder, None without an image.
    """

    row: Subject
    remarks: tuple[str, ...]
    findings: Findings | None = None
    picture: str | None = None
    viewer: str | None = None


def file_stem(subject: str) -> str:
    """A name for a subject's files that is safe in any file system and URL, and its own."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", subject):
        return subject
    digest = hashlib.sha256(subject.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', subject)[:60]}-{digest}"


def files_of(subject: str) -> tuple[str, str]:
    """A subject's picture and its script for the viewer in the report's folder."""
    stem = file_stem(subject)
    slices, volumes = SUBFOLDERS
    return f"{slices}/{stem}.jpg", f"{volumes}/{stem}.js"


def examine(row: Subject, reference: Path | None, folder: Path, report: Path) -> SubjectReport:
    """Look at one subject and write its files.

    Args:
        row: of the table of volumes.
        reference: the subject's reference mask, if there is one.
        folder: that the masks were written to.
        report: the report's own folder.
    """
    if row.mask is None:
        return SubjectReport(row, ())
    try:
        volumes = read_volumes(folder, row, reference)
    except InputError as error:
        return SubjectReport(row, (f"mask: {error}",))
    findings, overlays, box = _find(volumes)
    result = SubjectReport(row, volumes.remarks, findings)
    if findings.mosaic.picture is None:
        return result
    picture, viewer = files_of(row.subject)
    for name, content in (
        (picture, findings.mosaic.picture),
        (viewer, viewer_script(viewer, volumes, overlays, box)),
    ):
        with complete_or_absent(report / name) as temporary:
            temporary.write_bytes(content)
    # The picture is a file now: keeping a hundred of them in memory would serve nobody.
    bare = replace(findings, mosaic=replace(findings.mosaic, picture=None))
    return SubjectReport(row, volumes.remarks, bare, picture, viewer)


def _find(volumes: Volumes) -> tuple[Findings, dict[str, NDArray[np.uint8]], tuple[slice, ...]]:
    """The findings, the viewer's overlays and the part of the volume to show."""
    brain = None if volumes.flair is None else brain_mask(volumes.flair, volumes.spacing)
    truth = other = found = volumes.wmh
    metrics = None
    if volumes.reference is None:
        lesions = find_lesions(found, volumes.affine, brain)
        missed: list[Lesion] = []
        masks: Mapping[str, BoolArray] = {"other": volumes.labels == OTHER, "wmh": found}
        overlays = {"mask": volumes.labels}
    else:
        truth, other = volumes.reference == WMH, volumes.reference == OTHER
        metrics, _ = score(volumes.reference, volumes.labels, volumes.axes)
        # As the metrics see it: what the reference calls other pathology is not judged.
        found = found & ~other
        lesions = find_lesions(found, volumes.affine, brain, truth)
        missed = [item for item in find_lesions(truth, volumes.affine, brain, found) if not item.counterpart]
        hits, seen = touched(found, truth), touched(truth, found)
        masks = {"other": other, "reference": seen, "wmh": hits, "missed": truth & ~seen, "false": found & ~hits}
        overlays = {
            "mask": np.where(hits, WMH, np.where(found, FALSE, 0)).astype(np.uint8),
            "reference": np.where(seen, WMH, np.where(truth, MISSED, np.where(other, OTHER, 0))).astype(np.uint8),
        }
    marked = np.logical_or.reduce(list(masks.values()))
    box = content_box(volumes.flair, marked, volumes.spacing)
    low, high, _ = box[0].indices(len(marked))
    voxel_ml = float(np.prod(volumes.spacing)) / 1000
    findings = Findings(
        lesions=tuple(lesions),
        missed=tuple(missed),
        profile_ml=_profile(found, voxel_ml),
        reference_profile_ml=None if volumes.reference is None else _profile(truth, voxel_ml),
        slice_mm=volumes.spacing[0],
        brain_found=brain is not None,
        metrics=metrics,
        mosaic=draw_mosaic(
            volumes.flair, masks, box, chosen_slices(low, high, (found | truth).sum(axis=(1, 2))), volumes.affine
        ),
        probabilities=volumes.probabilities is not None,
    )
    return findings, overlays, box


def _profile(mask: BoolArray, voxel_ml: float) -> tuple[float, ...]:
    return tuple(float(count) * voxel_ml for count in mask.sum(axis=(1, 2)))
