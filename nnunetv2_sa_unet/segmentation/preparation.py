"""What is done for a subject before the network: reading, checking, and finding out what an earlier run left of it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, is_intact, sha256
from nnunetv2_sa_unet.images.flair import read_flair
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.text_headers import files_of
from nnunetv2_sa_unet.segmentation.decision import Prediction
from nnunetv2_sa_unet.segmentation.dicom_object import with_object
from nnunetv2_sa_unet.segmentation.exclusion import read_exclusion
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.maps import read_prediction
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.orientation import Grid
from nnunetv2_sa_unet.segmentation.pipeline import Ready, make_ready
from nnunetv2_sa_unet.segmentation.record import Input, Options, Subject
from nnunetv2_sa_unet.segmentation.regions import has_regions, with_regions
from nnunetv2_sa_unet.segmentation.writing import FolderError

__all__ = ["Job", "Prepared", "Settled", "failed", "failed_unexpectedly", "hashed", "prepare", "read_channels"]


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
        ready: its image; has none for the network if there is a prediction.
        prediction: that an earlier run stored, on the grid of the model.
        earlier: the row of the run that stored it.
    """

    found: FoundSubject
    inputs: list[Input]
    exclude: Input | None
    ready: Ready
    prediction: Prediction | None = None
    earlier: Subject | None = None

    def without_image(self) -> Prepared:
        """The same, once the network has seen the image."""
        return replace(self, ready=replace(self.ready, image=None))


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
        inputs = [hashed(each) for each in inputs]
        if found.problem:
            raise InputError(found.problem)
        mask = job.exclude.get(found.name)
        exclude = None if mask is None else hashed(Input(path=str(mask), sha256=None))
        earlier = job.earlier.get(found.name)
        if earlier is None or not _saw_the_same(job, earlier, inputs):
            return _read(job, found, inputs, exclude, None)
        if _is_decided_alike(job, earlier, exclude) and _are_intact(job, earlier, with_mask=True):
            now = {"inputs": inputs, "exclude": exclude, "orientation": job.segmenter.orientation.code}
            row = earlier.model_copy(update=now)
            # The mask is there: its object and its regions need no network.
            complete = with_object(job.folder, found, row, job.segmenter.model, job.options.dicom_seg)
            if not has_regions(job.folder, complete, job.options.regions):
                complete = with_regions(job.folder, found, complete, job.options.regions)
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
    images, said = read_channels(inputs)
    ready = make_ready(
        job.segmenter,
        images,
        inputs[0].path,
        Path(inputs[0].path),
        excluded=None if exclude is None else read_exclusion(Path(exclude.path), images[0]),
        clear_ends=job.options.clear_ends,
        remarks=[*([found.remark] if found.remark else []), *said],
        is_predicted=stored is not None,
    )
    prediction = None if stored is None else read_prediction(job.folder, stored, ready.grid)
    return Prepared(found, inputs, exclude, ready, prediction, stored)


def read_channels(inputs: Sequence[Input]) -> tuple[list[SimpleITK.Image], list[str]]:
    """Read the images of all channels, and remarks on how they were read.

    Raises:
        InputError: one cannot be used, or they do not lie on one grid.
    """
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


def hashed(one: Input) -> Input:
    """An input with the hash of the bytes that it consists of.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(one.path)
    files = files_of(path) if one.files is None else [path / file for file in one.files]
    try:
        return one.model_copy(update={"sha256": sha256(files)})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


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
    return all(is_intact(below(job.folder, file), expected) for file, expected in written if file is not None)
