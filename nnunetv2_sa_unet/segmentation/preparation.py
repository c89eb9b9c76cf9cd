"""What is done for a subject before the network: reading, checking, and finding out what an earlier run left of it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, sha256, temporary_beside
from nnunetv2_sa_unet.images.flair import read_flair
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.images.text_headers import files_of
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.dicom_object import with_object
from nnunetv2_sa_unet.segmentation.ends import describe_ends
from nnunetv2_sa_unet.segmentation.exclusion import read_exclusion
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.maps import read_prediction
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.orientation import Grid
from nnunetv2_sa_unet.segmentation.plausibility import oddities, too_thin
from nnunetv2_sa_unet.segmentation.record import Input, Options, Subject
from nnunetv2_sa_unet.segmentation.writing import FolderError, write_image, writing

__all__ = ["Job", "Prepared", "Settled", "failed", "failed_unexpectedly", "prepare"]


@dataclass(frozen=True)
class Job:
    """What holds for all subjects.

    Attributes:
        segmenter: the model.
        options: see there.
        folder: of the run.
        exclude: mask where nothing is WMH, by subject.
        earlier: what an earlier run with the same model recorded, by subject.
        made_with: for the rows of subjects that this run segments.
    """

    segmenter: Segmenter
    options: Options
    folder: Path
    exclude: Mapping[str, Path]
    earlier: Mapping[str, Subject]
    made_with: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """A subject that is ready for the network, or needs none.

    Attributes:
        found: the subject.
        inputs: hashed.
        exclude: mask where nothing is WMH, hashed.
        excluded: its voxels on the stored grid (z, y, x).
        remarks: what is odd, which makes a warning.
        notes: what was assumed, which makes none.
        grid: of the image.
        turned_back: whether labels of the model's writer have to be turned back.
        properties: for the model's writer.
        image: for the network (channels, z, y, x); None if there is a prediction.
        prediction: that an earlier run stored, on the grid of the model.
        earlier: the row of the run that stored it.
    """

    found: FoundSubject
    inputs: list[Input]
    exclude: Input | None
    excluded: BoolArray | None
    remarks: list[str]
    notes: list[str]
    grid: Grid
    turned_back: bool
    properties: dict[str, Any]
    image: torch.Tensor | None = None
    prediction: Prediction | None = None
    earlier: Subject | None = None


@dataclass(frozen=True)
class Settled:
    """A subject that needs nothing more: done before, or failed."""

    row: Subject
    is_new: bool


def prepare(job: Job, found: FoundSubject) -> Prepared | Settled:
    """Make a subject ready, or say that it failed, or that it was done before.

    Raises:
        FolderError: nothing can be written to the folder of the run.
    """
    inputs = list(found.inputs)
    try:
        inputs = [_hashed(each) for each in inputs]
        if found.problem:
            raise InputError(found.problem)
        mask = job.exclude.get(found.name)
        exclude = None if mask is None else _hashed(Input(path=str(mask), sha256=None))
        earlier = job.earlier.get(found.name)
        if earlier is None or not _saw_the_same(job, earlier, inputs):
            return _read(job, found, inputs, exclude, None)
        if _is_decided_alike(job, earlier, exclude) and _are_intact(job, earlier, with_mask=True):
            now = {"inputs": inputs, "exclude": exclude, "orientation": job.segmenter.orientation.code}
            row = earlier.model_copy(update=now)
            # The mask is there: its object needs no network.
            complete = with_object(job.folder, found, row, job.segmenter.model, job.options.dicom_seg)
            return Settled(complete, complete != row)
        stored = earlier if earlier.probabilities and _are_intact(job, earlier, with_mask=False) else None
        return _read(job, found, inputs, exclude, stored)
    except FolderError:
        raise
    except InputError as error:
        return Settled(failed(found, inputs, str(error)), True)
    except Exception as error:
        return Settled(failed_unexpectedly(found, inputs, error), True)


def failed(found: FoundSubject, inputs: list[Input], message: str) -> Subject:
    """The row of a subject that cannot be segmented."""
    return Subject(subject=found.name, status="failed", message=" ".join(message.split()), inputs=inputs)


def failed_unexpectedly(found: FoundSubject, inputs: list[Input], error: Exception) -> Subject:
    """The row after an error that nobody foresaw, such as a lack of memory; prints where it came from."""
    traceback.print_exception(error)
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return failed(found, inputs, f"{type(error).__name__}: {first}")


def _read(
    job: Job, found: FoundSubject, inputs: list[Input], exclude: Input | None, stored: Subject | None
) -> Prepared:
    segmenter = job.segmenter
    images, said = _images(inputs)
    remarks = [*([found.remark] if found.remark else []), *said]
    excluded = None if exclude is None else read_exclusion(Path(exclude.path), images[0])
    grid = Grid(images[0], segmenter.orientation.code)
    notes = []
    if grid.is_turned and segmenter.orientation.source == "assumed":
        notes.append(
            f"turned from {grid.stored_code} to {grid.code}, in which the model's training images are assumed to be "
            "stored"
        )
    if job.options.clear_ends is not None:
        notes.append(describe_ends(images[0].GetSize()[::-1], grid.stored_code, job.options.clear_ends))
    turned = [grid.turned(image) for image in images]
    problem = too_thin(turned[0], segmenter.spacing)
    if problem is not None:
        raise InputError(f"{inputs[0].path}: {problem}")
    remarks += oddities(Path(inputs[0].path), turned[0], segmenter.spacing)
    # None for what no reader of the model can take as it is.
    stored_files = [Path(o.path) if o.files is None and segmenter.reads(Path(o.path)) else None for o in inputs]
    reader_turns = segmenter.orientation.is_made_by_reader
    by_reader = reader_turns and all(map(grid.is_read_alike, stored_files))
    turned_by_us = grid.is_turned and not by_reader
    is_rewritten = turned_by_us or (reader_turns and not by_reader)
    with ExitStack() as stack:
        known = [None if is_rewritten else file for file in stored_files]
        files = _files(job, found, known, images if by_reader else turned, stack)
        # Of large volumes nothing is kept that is not needed any more.
        del images, turned
        rest = (found, inputs, exclude, excluded, remarks, notes, grid, turned_by_us)
        if stored is not None:
            prediction = read_prediction(job.folder, stored, grid)
            return Prepared(*rest, segmenter.properties(files), prediction=prediction, earlier=stored)
        network_input, properties = segmenter.prepare(files)
    return Prepared(*rest, properties, image=network_input)


def _images(inputs: Sequence[Input]) -> tuple[list[SimpleITK.Image], list[str]]:
    """The images of all channels, which lie on one grid, and remarks on how they were read."""
    images: list[SimpleITK.Image] = []
    remarks: list[str] = []
    for one in inputs:
        image, said = read_flair(Path(one.path), one.files)
        images.append(image)
        remarks += said
    for one, image in zip(inputs[1:], images[1:], strict=True):
        differences = geometry_differences(images[0], image)
        if differences:
            raise InputError(f"{one.path}: not on the grid of {Path(inputs[0].path).name}: {'; '.join(differences)}")
    return images, remarks


def _files(
    job: Job,
    found: FoundSubject,
    files: Sequence[Path | None],
    images: Sequence[SimpleITK.Image],
    stack: ExitStack,
) -> list[Path]:
    """The files that the model's reader reads: those of the user, and for None one that the stack removes again."""
    read = []
    for index, (file, image) in enumerate(zip(files, images, strict=True)):
        if file is None:
            place = below(job.folder, f"{found.name}_{index:04}.nii")
            with writing(place, 0):
                file = stack.enter_context(temporary_beside(place))
            write_image(image, file, compressed=False)
        read.append(file)
    return read


def _hashed(one: Input) -> Input:
    path = Path(one.path)
    files = files_of(path) if one.files is None else [path / file for file in one.files]
    try:
        return one.model_copy(update={"sha256": sha256(files)})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _saw_the_same(job: Job, earlier: Subject, inputs: Sequence[Input]) -> bool:
    """Whether the network of an earlier run saw the same voxels in the same order."""
    if earlier.mask is None or [one.sha256 for one in earlier.inputs] != [one.sha256 for one in inputs]:
        return False
    orientation = job.segmenter.orientation
    if earlier.orientation is None and orientation.source != "reader":
        # Versions that turned no image have noted no orientation.
        return not Grid(read_flair(Path(inputs[0].path), inputs[0].files)[0], orientation.code).is_turned
    return earlier.orientation in (None, orientation.code)


def _is_decided_alike(job: Job, earlier: Subject, exclude: Input | None) -> bool:
    hashes = [None if mask is None else mask.sha256 for mask in (earlier.exclude, exclude)]
    return earlier.decision == job.options.decision and hashes[0] == hashes[1]


def _are_intact(job: Job, earlier: Subject, with_mask: bool) -> bool:
    """Whether the files of an earlier run are there as they were written."""
    written = [
        (earlier.probabilities, earlier.probabilities_sha256),
        (earlier.alternatives, earlier.alternatives_sha256),
    ]
    if with_mask:
        written.append((earlier.mask, earlier.mask_sha256))
    return all(
        below(job.folder, file).is_file() and sha256([job.folder / file]) == expected
        for file, expected in written
        if file is not None
    )
