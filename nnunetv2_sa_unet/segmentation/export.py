"""From a prediction to the files and the row of a subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunetv2_sa_unet.files import below, complete_or_absent, sha256
from nnunetv2_sa_unet.images.bids import sidecar_path, write_sidecar
from nnunetv2_sa_unet.images.geometry import image_like
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.images.writing import read_back
from nnunetv2_sa_unet.scores.lesion_sizes import LesionLoad, lesion_load, without_small
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.dicom_object import with_object
from nnunetv2_sa_unet.segmentation.ends import end_slices
from nnunetv2_sa_unet.segmentation.maps import write_alternatives
from nnunetv2_sa_unet.segmentation.ownership import planned_files
from nnunetv2_sa_unet.segmentation.preparation import Job, Prepared, failed_unexpectedly
from nnunetv2_sa_unet.segmentation.record import Options, Subject
from nnunetv2_sa_unet.segmentation.writing import FolderError, write_image, writing

__all__ = ["export"]

_Labels = npt.NDArray[np.integer[Any]]


def export(job: Job, prepared: Prepared, logits: npt.NDArray[Any] | None) -> Subject:
    """Write the files of a subject and return its row; whatever goes wrong with the subject becomes a failed row.

    Args:
        job: see there.
        prepared: the subject.
        logits: of the network; None if the subject has a stored prediction.

    Raises:
        FolderError: nothing can be written to the folder of the run.
    """
    try:
        return _export(job, prepared, logits)
    except FolderError:
        raise
    except Exception as error:
        for file in planned_files(prepared.found, job.options):
            below(job.folder, file).unlink(missing_ok=True)
        return failed_unexpectedly(prepared.found, prepared.inputs, error)


def _export(job: Job, prepared: Prepared, logits: npt.NDArray[Any] | None) -> Subject:
    options, found, prediction = job.options, prepared.found, prepared.prediction
    if prediction is None:
        assert logits is not None
        prediction = job.segmenter.finish(
            logits, prepared.properties, options.probabilities or options.threshold is not None
        )
    mask = below(job.folder, found.mask)
    image, load = _write_mask(job, prepared, prediction.decided(options.threshold), mask)
    stored = prepared.earlier or _write_maps(job, prepared, prediction, image)
    if found.volume is not None:
        for path in (mask, *([] if stored.probabilities is None else [below(job.folder, stored.probabilities)])):
            with writing(sidecar_path(path), 0):
                write_sidecar(path, found.volume)
    row = Subject(
        subject=found.name,
        status="warning" if prepared.remarks else "ok",
        message="; ".join([*prepared.remarks, *prepared.notes]),
        inputs=prepared.inputs,
        exclude=prepared.exclude,
        mask=found.mask.as_posix(),
        mask_sha256=sha256([mask]),
        probabilities=stored.probabilities,
        probabilities_sha256=stored.probabilities_sha256,
        alternatives=stored.alternatives,
        alternatives_sha256=stored.alternatives_sha256,
        orientation=prepared.grid.code,
        decision=options.decision,
        made_with=stored.made_with,
        **vars(load),
    )
    return with_object(job.folder, found, row, job.segmenter.model, options.dicom_seg)


def _write_mask(job: Job, prepared: Prepared, labels: _Labels, path: Path) -> tuple[SimpleITK.Image, LesionLoad]:
    """Write the mask; return an image with the geometry of all files of the subject, and what the mask holds."""
    grid = prepared.grid
    with writing(path, labels.nbytes), complete_or_absent(path) as temporary:
        job.segmenter.write_labels(labels, temporary, prepared.properties)
        image = read_back(temporary, labels)
        written = SimpleITK.GetArrayFromImage(image)
        if prepared.turned_back:
            written = grid.to_stored(written)
            image = grid.image(written)
        voxel_mm3 = float(np.prod(image.GetSpacing()))
        values = _edited(written, prepared, job.options, voxel_mm3)
        # What needs no edit stays as nnU-Net wrote it.
        if prepared.turned_back or not np.array_equal(values, written):
            write_image(image_like(values, image), temporary, compressed=True)
        load = lesion_load(values == WMH, voxel_mm3)
    return image, load


def _write_maps(job: Job, prepared: Prepared, prediction: Prediction, like: SimpleITK.Image) -> Subject:
    """Write what lets a later run decide anew, if it is asked for; return a row that knows of nothing else."""
    found = prepared.found
    row = Subject(subject=found.name, status="ok", message="", inputs=[], made_with=dict(job.made_with))
    if not job.options.probabilities:
        return row
    assert prediction.probability is not None
    path = below(job.folder, found.probabilities)
    with writing(path, prediction.probability.nbytes), complete_or_absent(path) as temporary:
        write_image(image_like(prepared.grid.to_stored(prediction.probability), like), temporary, compressed=True)
    names: dict[str, str] = {"probabilities": found.probabilities.as_posix(), "probabilities_sha256": sha256([path])}
    if prediction.alternatives is not None:
        path = below(job.folder, found.alternatives)
        with writing(path, 3 * prediction.labels.nbytes), complete_or_absent(path) as temporary:
            write_alternatives(prediction.alternatives, prepared.grid, temporary)
        names |= {"alternatives": found.alternatives.as_posix(), "alternatives_sha256": sha256([path])}
    return row.model_copy(update=names)


def _edited(labels: _Labels, prepared: Prepared, options: Options, voxel_mm3: float) -> _Labels:
    """What the options leave of the WMH, and in BIDS, whose masks are binary, nothing but it."""
    wmh = labels == WMH
    if prepared.excluded is not None:
        wmh &= ~prepared.excluded
    if options.clear_ends is not None:
        wmh &= ~end_slices(labels.shape, prepared.grid.stored_code, options.clear_ends)
    if options.min_volume_mm3 is not None:
        wmh = without_small(wmh, voxel_mm3, options.min_volume_mm3)
    others = 0 if prepared.found.volume is not None else np.where(labels == WMH, 0, labels)
    return np.where(wmh, WMH, others).astype(labels.dtype)
