"""The record of a segmentation run: ``volumes.json``, and ``volumes.csv`` made from it.

Nothing in it depends on when or in how many attempts a run was made, so that a run that was killed and went on writes
the same bytes as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import SimpleITK
from pydantic import BaseModel, ConfigDict, ValidationError

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json, write_rows
from nnunetv2_sa_unet.images.dicom import read_series
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.scores.lesion_sizes import SIZE_CLASSES

__all__ = [
    "RECORD_NAME", "TABLE_NAME", "Input", "Model", "Options", "Segmentation", "Subject", "read_input",
    "read_segmentation", "write_segmentation",
]  # fmt: skip

RECORD_NAME = "volumes.json"
TABLE_NAME = "volumes.csv"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    """A file, or a DICOM series.

    Attributes:
        path: absolute; of a series its folder.
        sha256: of the file; of a series that of its files' bytes, one after the other. None if it cannot be read.
        series_uid: the series' identifier; None for a file.
        files: the names of the series' files in the order of the slices; None for a file.
    """

    path: str
    sha256: str | None
    series_uid: str | None = None
    files: list[str] | None = None


class Model(_Strict):
    """The model that segmented.

    Attributes:
        folder: absolute.
        dataset: that it was trained on.
        trainer: name of its class.
        plans: name of its plans.
        configuration: such as ``3d_fullres``.
        folds: whose networks were averaged, in order.
        checkpoint: name of the file in each fold's folder.
        sha256: by the file's path in ``folder``: plans, data set and a checkpoint a fold.
        name: of a model in the box; None for others.
        version: of its weights.
    """

    folder: str
    dataset: str
    trainer: str
    plans: str
    configuration: str
    folds: list[int | str]
    checkpoint: str
    sha256: dict[str, str]
    name: str | None = None
    version: str | None = None


class Options(_Strict):
    """What changes the masks, or which files there are.

    Attributes:
        threshold: probability from which a voxel is WMH; None for nnU-Net's own choice of the most probable label.
        min_volume_mm3: smaller lesions are dropped; None keeps all.
        exclude: absolute path of the mask, or of the folder of masks, where nothing is WMH; None for none.
        probabilities: whether probability maps are written.
        step_size: of the sliding window, as a fraction of the patch.
        mirroring: whether predictions of mirrored images are averaged.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    threshold: float | None = None
    min_volume_mm3: float | None = None
    exclude: str | None = None
    probabilities: bool = False
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "cpu"


class Subject(_Strict):
    """One subject: a row of the table.

    Attributes:
        subject: its name, which also begins the names of its files.
        status: ``ok``; ``warning`` if it was segmented but looks odd; ``failed`` if it was not.
        message: what is odd or wrong, in one line; empty for ``ok``.
        inputs: one a channel.
        exclude: the mask where nothing is WMH, if it has one.
        mask: of the label map, below the folder of the run.
        mask_sha256: of that file.
        probabilities: of the map of the probability of WMH (0 to 1), likewise.
        probabilities_sha256: of that file.
        volume_ml: of all lesions.
        lesions: their number.
        largest_ml: volume of the largest; 0 if there is none.
        lesions_by_size: their number by the name of the size class (``lesion_sizes.SIZE_CLASSES``).
        ml_by_size: their volume likewise.
    """

    subject: str
    status: Literal["ok", "warning", "failed"]
    message: str
    inputs: list[Input]
    exclude: Input | None = None
    mask: str | None = None
    mask_sha256: str | None = None
    probabilities: str | None = None
    probabilities_sha256: str | None = None
    volume_ml: float | None = None
    lesions: int | None = None
    largest_ml: float | None = None
    lesions_by_size: dict[str, int] | None = None
    ml_by_size: dict[str, float] | None = None


class Segmentation(_Strict):
    """The content of ``volumes.json``.

    Attributes:
        nnunetv2_sa_unet: version of this package.
        versions: of python and of the packages that the masks depend on.
        model: see :class:`Model`.
        options: see :class:`Options`.
        subjects: in the order of their names.
    """

    nnunetv2_sa_unet: str
    versions: dict[str, str]
    model: Model
    options: Options
    subjects: list[Subject]


def read_segmentation(folder: Path) -> Segmentation:
    """Read the record of the run that wrote a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = folder / RECORD_NAME
    try:
        return Segmentation.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; expected a folder that nnUNetv2_sa_unet segment wrote"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise InputError(
            f"{path}: {field}: {first['msg']}; expected the record that nnUNetv2_sa_unet segment of this version writes"
        ) from None


def write_segmentation(folder: Path, segmentation: Segmentation) -> None:
    """Write ``volumes.json`` and ``volumes.csv``."""
    write_json(folder / RECORD_NAME, segmentation.model_dump())
    write_rows(folder / TABLE_NAME, _HEADER, map(_row, segmentation.subjects))


def read_input(subject: Subject) -> SimpleITK.Image:
    """Read the image that a subject's mask was made from, of several channels the first.

    Raises:
        InputError: it is not there any more, or cannot be read.
    """
    if not subject.inputs:
        raise InputError(f"{subject.subject}: has no input")
    first = subject.inputs[0]
    return read_volume(Path(first.path)) if first.files is None else read_series(Path(first.path), first.files)


_HEADER = (
    "subject",
    "volume_ml",
    "lesions",
    "largest_ml",
    *(f"lesions_{size.name}" for size in SIZE_CLASSES),
    *(f"ml_{size.name}" for size in SIZE_CLASSES),
    "status",
    "message",
)


def _row(subject: Subject) -> Iterator[str | float | None]:
    yield from (subject.subject, subject.volume_ml, subject.lesions, subject.largest_ml)
    for by_size in (subject.lesions_by_size, subject.ml_by_size):
        yield from ((by_size or {}).get(size.name) for size in SIZE_CLASSES)
    yield from (subject.status, subject.message)
