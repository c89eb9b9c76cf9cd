"""What the masks and the image of a subject show, with and without a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.images.brain import brain_mask
from nnunetv2_sa_unet.images.masks import OTHER, WMH, BoolArray
from nnunetv2_sa_unet.report.lesions import Lesion, find_lesions, touched
from nnunetv2_sa_unet.report.mosaic import Mosaic, chosen_slices, content_box, draw_mosaic
from nnunetv2_sa_unet.report.subject_images import Volumes
from nnunetv2_sa_unet.scores.metrics import CaseMetrics, score

__all__ = ["Examination", "Findings", "examine_masks"]

#: Labels of the viewer's overlays beside WMH and OTHER: a lesion that the reference has not, and one that it has alone.
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
    """

    lesions: tuple[Lesion, ...]
    missed: tuple[Lesion, ...]
    profile_ml: tuple[float, ...]
    reference_profile_ml: tuple[float, ...] | None
    slice_mm: float
    brain_found: bool
    metrics: CaseMetrics | None
    mosaic: Mosaic


@dataclass(frozen=True)
class Examination:
    """A subject's findings, and what its viewer shows.

    Attributes:
        findings: see there.
        overlays: labels (z, y, x) that the viewer lays over the image, by name.
        box: the part of the volume to show.
    """

    findings: Findings
    overlays: dict[str, NDArray[np.uint8]]
    box: tuple[slice, ...]


@dataclass(frozen=True)
class _Marks:
    """The masks of a subject, sorted by what is to be said of them.

    Attributes:
        found: WMH of the mask, as far as it is judged.
        truth: WMH of the reference; None without one.
        outlines: masks by the kind that the page's style knows, in the order they are drawn.
        overlays: labels for the viewer by name.
    """

    found: BoolArray
    truth: BoolArray | None
    outlines: Mapping[str, BoolArray]
    overlays: dict[str, NDArray[np.uint8]]


def examine_masks(volumes: Volumes) -> Examination:
    """Measure, compare and draw a subject."""
    brain = None if volumes.flair is None else brain_mask(volumes.flair, volumes.spacing)
    marks = _alone(volumes) if volumes.reference is None else _against(volumes, volumes.reference)
    lesions = find_lesions(marks.found, volumes.affine, brain, marks.truth)
    missed: list[Lesion] = []
    metrics = None
    if volumes.reference is not None and marks.truth is not None:
        in_reference = find_lesions(marks.truth, volumes.affine, brain, marks.found)
        missed = [lesion for lesion in in_reference if not lesion.counterpart]
        metrics, _ = score(volumes.reference, volumes.labels, volumes.axes)
    box = content_box(volumes.flair, np.logical_or.reduce(list(marks.outlines.values())), volumes.spacing)
    ventricles = {} if volumes.ventricles is None else {"ventricles": volumes.ventricles}
    low, high, _ = box[0].indices(len(marks.found))
    loads = [mask.sum(axis=(1, 2)) for mask in (marks.found, marks.truth) if mask is not None]
    voxel_ml = float(np.prod(volumes.spacing)) / 1000
    profiles = [tuple(float(voxels) * voxel_ml for voxels in load) for load in loads]
    findings = Findings(
        lesions=tuple(lesions),
        missed=tuple(missed),
        profile_ml=profiles[0],
        reference_profile_ml=profiles[1] if len(profiles) > 1 else None,
        slice_mm=volumes.spacing[0],
        brain_found=brain is not None,
        metrics=metrics,
        mosaic=draw_mosaic(
            volumes.flair, ventricles | dict(marks.outlines), box, chosen_slices(low, high, sum(loads)), volumes.affine
        ),
    )
    return Examination(findings, marks.overlays, box)


def _alone(volumes: Volumes) -> _Marks:
    outlines = {"other": volumes.labels == OTHER, "wmh": volumes.wmh}
    return _Marks(volumes.wmh, None, outlines, {"mask": volumes.labels})


def _against(volumes: Volumes, reference: NDArray[np.uint8]) -> _Marks:
    truth, other = reference == WMH, reference == OTHER
    # As the metrics see it: what the reference calls other pathology is not judged.
    found = volumes.wmh & ~other
    hits, seen = touched(found, truth), touched(truth, found)
    outlines = {"other": other, "reference": seen, "wmh": hits, "missed": truth & ~seen, "false": found & ~hits}
    overlays = {
        "mask": np.select([hits, found], [WMH, FALSE], 0).astype(np.uint8),
        "reference": np.select([seen, truth, other], [WMH, MISSED, OTHER], 0).astype(np.uint8),
    }
    return _Marks(found, truth, outlines, overlays)
