"""From a prediction to the files and the row of a subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from nnunetv2_sa_unet.files import below, complete_or_absent, sha256
from nnunetv2_sa_unet.images.bids import sidecar_path, write_sidecar
from nnunetv2_sa_unet.images.writing import read_back
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.maps import write_alternatives
from nnunetv2_sa_unet.segmentation.ownership import planned_files
from nnunetv2_sa_unet.segmentation.pipeline import Decided, decide
from nnunetv2_sa_unet.segmentation.preparation import Job, Prepared, failed_unexpectedly
from nnunetv2_sa_unet.segmentation.record import Subject
from nnunetv2_sa_unet.segmentation.writing import FolderError, write_image, writing

__all__ = ["export"]


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
        for file in planned_files(prepared.found, maps=True):
            below(job.folder, file).unlink(missing_ok=True)
        return failed_unexpectedly(prepared.found, prepared.inputs, error)


def _export(job: Job, prepared: Prepared, logits: npt.NDArray[Any] | None) -> Subject:
    options, found, ready, prediction = job.options, prepared.found, prepared.ready, prepared.prediction
    if prediction is None:
        assert logits is not None
        prediction = job.segmenter.finish(
            logits, ready.properties, options.probabilities or options.threshold is not None
        )
    # In BIDS masks are binary.
    decided = decide(ready, prediction, options.decision, keeps_others=found.volume is None)
    mask = below(job.folder, found.mask)
    _write_mask(job, prepared, decided, mask)
    stored = prepared.earlier or _write_maps(job, prepared, prediction)
    if found.volume is not None:
        for path in (mask, *([] if stored.probabilities is None else [below(job.folder, stored.probabilities)])):
            with writing(sidecar_path(path), 0):
                write_sidecar(path, found.volume)
    return Subject(
        subject=found.name,
        status="warning" if ready.remarks else "ok",
        message="; ".join([*ready.remarks, *ready.notes]),
        inputs=prepared.inputs,
        exclude=prepared.exclude,
        mask=found.mask.as_posix(),
        mask_sha256=sha256([mask]),
        probabilities=stored.probabilities,
        probabilities_sha256=stored.probabilities_sha256,
        alternatives=stored.alternatives,
        alternatives_sha256=stored.alternatives_sha256,
        orientation=ready.grid.code,
        decision=options.decision,
        made_with=stored.made_with,
        **vars(decided.load),
    )


def _write_mask(job: Job, prepared: Prepared, decided: Decided, path: Path) -> None:
    grid, first = prepared.ready.grid, prepared.inputs[0]
    source = Path(first.path)
    with writing(path, decided.labels.nbytes), complete_or_absent(path) as temporary:
        if decided.is_edited or first.files is not None or not job.segmenter.writes_as_nnunet(grid, source):
            write_image(grid.image(decided.labels), temporary, compressed=True)
        else:
            job.segmenter.write_as_nnunet(grid.to_model(decided.labels), temporary, source)
            read_back(temporary, decided.labels)


def _write_maps(job: Job, prepared: Prepared, prediction: Prediction) -> Subject:
    """Write what lets a later run decide anew, if it is asked for; return a row that knows of nothing else."""
    found, grid = prepared.found, prepared.ready.grid
    row = Subject(subject=found.name, status="ok", message="", inputs=[], made_with=dict(job.made_with))
    if not job.options.probabilities:
        return row
    assert prediction.probability is not None
    path = below(job.folder, found.probabilities)
    with writing(path, prediction.probability.nbytes), complete_or_absent(path) as temporary:
        write_image(grid.image(grid.to_stored(prediction.probability)), temporary, compressed=True)
    names: dict[str, str] = {"probabilities": found.probabilities.as_posix(), "probabilities_sha256": sha256([path])}
    if prediction.alternatives is not None:
        path = below(job.folder, found.alternatives)
        with writing(path, 3 * prediction.labels.nbytes), complete_or_absent(path) as temporary:
            write_alternatives(prediction.alternatives, grid, temporary)
        names |= {"alternatives": found.alternatives.as_posix(), "alternatives_sha256": sha256([path])}
    return row.model_copy(update=names)
