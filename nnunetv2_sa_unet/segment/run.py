"""Many subjects through one model, each for itself, to masks and a record.

While the network works on one subject, the next are read and preprocessed and the last are exported, in threads: what
takes time there (decompression, resampling, compression) is compiled code that leaves Python's lock to others.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent, sha256, temporary_beside
from nnunetv2_sa_unet.images.bids import write_sidecar
from nnunetv2_sa_unet.images.flair import read_flair
from nnunetv2_sa_unet.images.geometry import geometry_differences, image_like
from nnunetv2_sa_unet.images.masks import WMH, BoolArray
from nnunetv2_sa_unet.images.writing import read_back, write_image
from nnunetv2_sa_unet.scores.lesion_sizes import lesion_load, without_small
from nnunetv2_sa_unet.segment.exclusion import read_exclusion
from nnunetv2_sa_unet.segment.inputs import FoundSubject
from nnunetv2_sa_unet.segment.model import Segmenter
from nnunetv2_sa_unet.segment.plausibility import oddities, too_thin
from nnunetv2_sa_unet.segment.record import Input, Options, Subject

__all__ = ["Job", "segment_all"]

_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """What holds for all subjects.

    Attributes:
        segmenter: the model.
        options: see there.
        folder: of the run.
        exclude: mask where nothing is WMH, by subject.
        earlier: what an earlier run with the same model and options recorded, by subject.
    """

    segmenter: Segmenter
    options: Options
    folder: Path
    exclude: Mapping[str, Path]
    earlier: Mapping[str, Subject]


@dataclass(frozen=True)
class _Prepared:
    """A subject that is ready for the network."""

    found: FoundSubject
    inputs: list[Input]
    exclude: Input | None
    excluded: BoolArray | None
    remarks: list[str]
    image: torch.Tensor
    properties: dict[str, Any]


@dataclass(frozen=True)
class _Settled:
    """A subject that needs no network: done before, or failed."""

    record: Subject
    is_new: bool


def segment_all(job: Job, subjects: Sequence[FoundSubject], done: Callable[[Subject, bool], None]) -> None:
    """Segment subjects one after the other; one that cannot be segmented does not stop the others.

    Args:
        job: see there.
        subjects: in the order in which to go through them.
        done: called in some thread for every subject with its record, once its files are there, and with whether it
            is new: not so if an earlier run had done the subject.

    Raises:
        InputError: a result cannot be written.
    """
    with ThreadPoolExecutor(_AHEAD) as preparing, ThreadPoolExecutor(_AHEAD) as exporting:
        exports: deque[Future[None]] = deque()
        for prepared in _ahead(preparing, job, subjects):
            if isinstance(prepared, _Settled):
                done(prepared.record, prepared.is_new)
                continue
            if len(exports) > _AHEAD:
                exports.popleft().result()
            try:
                logits = job.segmenter.predict(prepared.image)
            except Exception as error:
                done(_unexpected(prepared.found, prepared.inputs, error), True)
            else:
                exports.append(exporting.submit(_export, job, prepared, logits, done))
        for export in exports:
            export.result()


def _ahead(pool: ThreadPoolExecutor, job: Job, subjects: Iterable[FoundSubject]) -> Iterator[_Prepared | _Settled]:
    """Prepare subjects in threads, a few ahead of what is asked for."""
    waiting: deque[Future[_Prepared | _Settled]] = deque()
    for found in subjects:
        waiting.append(pool.submit(_prepare, job, found))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _prepare(job: Job, found: FoundSubject) -> _Prepared | _Settled:
    """Make a subject ready, or say that it failed, or that it was done before."""
    inputs = list(found.inputs)
    try:
        inputs = [_hashed(each) for each in inputs]
        if found.problem:
            raise InputError(found.problem)
        mask = job.exclude.get(found.name)
        exclude = None if mask is None else _hashed(Input(path=str(mask), sha256=None))
        earlier = job.earlier.get(found.name)
        if earlier is not None and _is_done(job.folder, earlier, inputs, exclude):
            return _Settled(earlier.model_copy(update={"inputs": inputs, "exclude": exclude}), False)
        return _read(job, found, inputs, exclude)
    except InputError as error:
        return _Settled(_failed(found, inputs, str(error)), True)
    except Exception as error:
        return _Settled(_unexpected(found, inputs, error), True)


def _read(job: Job, found: FoundSubject, inputs: list[Input], exclude: Input | None) -> _Prepared:
    images, remarks = [], [found.remark] if found.remark else []
    for each in inputs:
        image, said = read_flair(Path(each.path), each.files)
        images.append(image)
        remarks += said
    for each, image in zip(inputs[1:], images[1:], strict=True):
        differences = geometry_differences(images[0], image)
        if differences:
            raise InputError(f"{each.path}: not on the grid of {Path(inputs[0].path).name}: {'; '.join(differences)}")
    problem = too_thin(images[0], job.segmenter.spacing)
    if problem is not None:
        raise InputError(f"{inputs[0].path}: {problem}")
    remarks += oddities(Path(inputs[0].path), images[0], job.segmenter.spacing)
    excluded = None if exclude is None else read_exclusion(Path(exclude.path), images[0])
    with ExitStack() as stack:
        files = []
        for index, (each, image) in enumerate(zip(inputs, images, strict=True)):
            file = Path(each.path)
            if each.files is not None or not job.segmenter.reads(file):
                file = stack.enter_context(temporary_beside(job.folder / f"{found.name}_{index:04}.nii"))
                write_image(image, file, compressed=False)
            files.append(file)
        image, properties = job.segmenter.prepare(files)
    return _Prepared(found, inputs, exclude, excluded, remarks, image, properties)


def _export(job: Job, prepared: _Prepared, logits: np.ndarray[Any, Any], done: Callable[[Subject, bool], None]) -> None:
    options, found = job.options, prepared.found
    try:
        labels, probabilities = job.segmenter.finish(
            logits, prepared.properties, options.threshold, options.probabilities
        )
    except Exception as error:
        done(_unexpected(found, prepared.inputs, error), True)
        return
    mask, map_of_probabilities = job.folder / found.mask, job.folder / found.probabilities
    try:
        with complete_or_absent(mask) as temporary:
            job.segmenter.write_labels(labels, temporary, prepared.properties)
            image = read_back(temporary, labels)
            written = SimpleITK.GetArrayFromImage(image)
            values = _edited(written, prepared, options, _voxel_mm3(image))
            if not np.array_equal(values, written):
                write_image(image_like(values, image), temporary)
        if probabilities is not None:
            with complete_or_absent(map_of_probabilities) as temporary:
                write_image(image_like(probabilities, image), temporary)
        if found.volume is not None:
            for path in (mask, *([] if probabilities is None else [map_of_probabilities])):
                write_sidecar(path, found.volume)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{mask}: cannot be written: {' '.join(str(error).split())}") from error
    load = lesion_load(values == WMH, _voxel_mm3(image))
    record = Subject(
        subject=found.name,
        status="warning" if prepared.remarks else "ok",
        message="; ".join(prepared.remarks),
        inputs=prepared.inputs,
        exclude=prepared.exclude,
        mask=found.mask.as_posix(),
        mask_sha256=sha256([mask]),
        probabilities=None if probabilities is None else found.probabilities.as_posix(),
        probabilities_sha256=None if probabilities is None else sha256([map_of_probabilities]),
        **vars(load),
    )
    done(record, True)


def _edited(
    labels: np.ndarray[Any, Any], prepared: _Prepared, options: Options, voxel_mm3: float
) -> np.ndarray[Any, Any]:
    """What the options leave of the WMH, and in BIDS, whose masks are binary, nothing but it."""
    wmh = labels == WMH
    if prepared.excluded is not None:
        wmh &= ~prepared.excluded
    if options.min_volume_mm3 is not None:
        wmh = without_small(wmh, voxel_mm3, options.min_volume_mm3)
    others = 0 if prepared.found.volume is not None else np.where(labels == WMH, 0, labels)
    return np.where(wmh, WMH, others).astype(labels.dtype)


def _voxel_mm3(image: SimpleITK.Image) -> float:
    return float(np.prod(image.GetSpacing()))


def _hashed(one: Input) -> Input:
    path = Path(one.path)
    files = [path] if one.files is None else [path / file for file in one.files]
    try:
        return one.model_copy(update={"sha256": sha256(files)})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _is_done(folder: Path, earlier: Subject, inputs: Sequence[Input], exclude: Input | None) -> bool:
    """Whether an earlier record was made from the same bytes and its files are there as they were written."""
    if earlier.mask is None or _hashes(earlier.inputs, earlier.exclude) != _hashes(inputs, exclude):
        return False
    written = [(earlier.mask, earlier.mask_sha256), (earlier.probabilities, earlier.probabilities_sha256)]
    return all(
        (folder / file).is_file() and sha256([folder / file]) == expected
        for file, expected in written
        if file is not None
    )


def _hashes(inputs: Iterable[Input], exclude: Input | None) -> list[str | None]:
    return [*(each.sha256 for each in inputs), None if exclude is None else exclude.sha256]


def _failed(found: FoundSubject, inputs: list[Input], message: str) -> Subject:
    return Subject(subject=found.name, status="failed", message=" ".join(message.split()), inputs=inputs)


def _unexpected(found: FoundSubject, inputs: list[Input], error: Exception) -> Subject:
    """Record an error that nobody foresaw, such as a lack of memory, and print where it came from."""
    traceback.print_exception(error)
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return _failed(found, inputs, f"{type(error).__name__}: {first}")
