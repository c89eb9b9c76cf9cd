"""``segment``: one image that a program holds, or a file, to its mask and volumes, without a file or a printed word."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar, overload

import numpy as np
import SimpleITK
import torch
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.flair import flair_problem
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.in_memory import ImageInMemory, as_sitk, in_type_of
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.segmentation.exclusion import read_exclusion
from nnunetv2_sa_unet.segmentation.inputs import find_subject
from nnunetv2_sa_unet.segmentation.limits import CLEAR_ENDS, MIN_VOLUME, STEP_SIZE, THRESHOLD
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.pipeline import decide, make_ready
from nnunetv2_sa_unet.segmentation.preparation import read_channels
from nnunetv2_sa_unet.segmentation.record import Decision, Model
from nnunetv2_sa_unet.weights.registry import DEFAULT, find_model

__all__ = ["Segmented", "segment"]

_Image = TypeVar("_Image")
#: Loading, torch's number of threads, and the network that takes the weights of one fold after the other are shared.
_LOCK = Lock()


@dataclass(frozen=True)
class Segmented(Generic[_Image]):
    """What :func:`segment` found; numbers have the names and values of ``volumes.csv`` and ``volumes.json``.

    Attributes:
        mask: labels on the grid of the image, as what came in (array, ``Nifti1Image``, SimpleITK image; for a path the
            last): 0 background, 1 WMH; a model of other pathology, too, marks it as 2.
        probability: of WMH, 0 to 1 in 32 bits, on the same grid; of a model in the box on the scale that it decides by
            (its card). None for a model of regions none of which is label 1 alone.
        volume_ml: of all lesions, in ml.
        lesions: their number: components connected by faces, edges or corners in 3D.
        largest_ml: volume of the largest in ml; 0 if there is none.
        lesions_by_size: their number by the name of the size class: ``below_15_mm3``, ``15_to_500_mm3``,
            ``500_to_4000_mm3``, ``from_4000_mm3``.
        ml_by_size: their volume in ml likewise.
        remarks: what is odd about the image: with any, ``segment`` on the command line makes the row a warning.
        notes: what was assumed, which is no reason for one.
        model: name and version of a model in the box; hashes of the files of any.
    """

    mask: _Image
    probability: _Image | None
    volume_ml: float
    lesions: int
    largest_ml: float
    lesions_by_size: dict[str, int]
    ml_by_size: dict[str, float]
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    model: Model


@overload
def segment(
    image: SpatialImage,
    *,
    model: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    min_volume: float | None = None,
    clear_ends: float | None = None,
    exclude: str | os.PathLike[str] | ImageInMemory | None = None,
    device: str = "auto",
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    mirroring: bool = True,
    step_size: float = 0.5,
    trust_model: bool = False,
) -> Segmented[Nifti1Image]: ...
@overload
def segment(
    image: NDArray[Any],
    *,
    spacing: Sequence[float],
    orientation: str,
    model: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    min_volume: float | None = None,
    clear_ends: float | None = None,
    exclude: str | os.PathLike[str] | ImageInMemory | None = None,
    device: str = "auto",
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    mirroring: bool = True,
    step_size: float = 0.5,
    trust_model: bool = False,
) -> Segmented[NDArray[Any]]: ...
@overload
def segment(
    image: str | os.PathLike[str] | SimpleITK.Image,
    *,
    model: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    min_volume: float | None = None,
    clear_ends: float | None = None,
    exclude: str | os.PathLike[str] | ImageInMemory | None = None,
    device: str = "auto",
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    mirroring: bool = True,
    step_size: float = 0.5,
    trust_model: bool = False,
) -> Segmented[SimpleITK.Image]: ...
def segment(
    image: str | os.PathLike[str] | ImageInMemory,
    *,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
    model: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    min_volume: float | None = None,
    clear_ends: float | None = None,
    exclude: str | os.PathLike[str] | ImageInMemory | None = None,
    device: str = "auto",
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    mirroring: bool = True,
    step_size: float = 0.5,
    trust_model: bool = False,
) -> Segmented[Any]:
    """Segment white matter hyperintensities (WMH) in one FLAIR image, as ``nnUNetv2_sa_unet segment`` does.

    The mask is the command's, voxel for voxel. The last model stays loaded until another is asked for. Calls from
    several threads wait for one another.

    Args:
        image: 3D FLAIR as a path (an image file, a folder of a DICOM series, or of the channels of one subject as the
            command takes them), an image of SimpleITK or nibabel, or an array with ``spacing`` and ``orientation``.
        spacing: of an array: edges of a voxel in mm, in the order of its axes.
        orientation: of an array: three letters, in the order of its axes, to where they run: L or R, A or P, S or I.
            ``SPL`` is SimpleITK's array (z, y, x) of an image whose direction is the identity, ``RAS`` an array
            (x, y, z) as nibabel names it.
        model: name of a model in the box, or nnU-Net's model folder; ``openflair1`` if None.
        threshold: WMH from this probability on, above 0 to 1; None for the most probable label.
        min_volume: lesions of less mm³ are dropped; None keeps all.
        clear_ends: nothing is WMH in this fraction of the axial slices at either end; None for no slice.
        exclude: a mask on the grid of the image where nothing is WMH: a path, or as ``image`` (an array in the order
            of its axes).
        device: ``auto`` (a GPU that works, else the CPU), ``cuda``, ``mps`` or ``cpu``.
        folds: whose predictions are averaged; None for all that are trained.
        checkpoint: name of the file in each fold's folder; None for the usual one.
        mirroring: average predictions of mirrored images, if the model was trained with them.
        step_size: of the sliding window, as a fraction of the patch, .1 to 1.
        trust_model: load a model whose files may run code of their own: only if you trust where it is from.

    Raises:
        InputError: (a ``ValueError``) the image, an option or the model cannot be used, and why, in one line.
        TypeError: the image is none.
    """
    for name, value, limit in (
        ("threshold", threshold, THRESHOLD),
        ("min_volume", min_volume, MIN_VOLUME),
        ("clear_ends", clear_ends, CLEAR_ENDS),
        ("step_size", step_size, STEP_SIZE),
    ):
        if value is not None and not limit.allows(value):
            raise InputError(f"{name}: found {value}, expected {limit.expected}")
    folder, file = find_model(DEFAULT if model is None else os.fspath(model), checkpoint)
    chosen = None if folds is None else tuple(map(str, folds))
    source: Path | None = None
    if isinstance(image, (str, os.PathLike)):
        source = Path(image)
        if spacing is not None or orientation is not None:
            raise InputError(f"{source}: has a geometry of its own: leave out spacing and orientation")
    else:
        held = _held(image, spacing, orientation)
    with _LOCK, _threads_kept():
        segmenter = _loaded(folder.absolute(), chosen, file, device, step_size, mirroring, trust_model)
        torch.set_num_threads(segmenter.threads)
        if threshold is not None and not segmenter.gives_probability:
            raise InputError(f"{folder}: gives no probability of WMH: leave out threshold")
        if source is not None:
            source, images, said = _read(source, segmenter.channels)
        else:
            _refuse_channels(segmenter.channels)
            images, said = [held], []
        where = "image" if source is None else str(source)
        excluded = None if exclude is None else _excluded(exclude, images[0], spacing, orientation)
        ready = make_ready(segmenter, images, where, source, excluded, clear_ends, said)
        assert ready.image is not None
        logits = segmenter.predict(ready.image)
        prediction = segmenter.finish(logits, ready.properties, segmenter.gives_probability)
    decided = decide(ready, prediction, Decision(threshold=threshold, min_volume_mm3=min_volume, clear_ends=clear_ends))
    like = image if source is None else images[0]
    probability = None
    if prediction.probability is not None:
        probability = in_type_of(like, ready.grid.to_stored(prediction.probability))
    return Segmented(
        in_type_of(like, decided.labels),
        probability,
        **vars(decided.load),
        remarks=tuple(ready.remarks),
        notes=tuple(ready.notes),
        model=segmenter.model,
    )


@lru_cache(maxsize=1)
def _loaded(
    folder: Path,
    folds: tuple[str, ...] | None,
    checkpoint: str,
    device: str,
    step_size: float,
    mirroring: bool,
    trust: bool,
) -> Segmenter:
    return Segmenter(folder, folds, checkpoint, choose_device(device).name, step_size, mirroring, trust)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give torch back the number of threads of the program that calls."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(path: Path, channels: int) -> tuple[Path, list[SimpleITK.Image], list[str]]:
    found = find_subject(path, channels)
    images, said = read_channels(found.inputs)
    return Path(found.inputs[0].path), images, [*([found.remark] if found.remark else []), *said]


def _held(image: ImageInMemory, spacing: Sequence[float] | None, orientation: str | None) -> SimpleITK.Image:
    made = as_sitk(image, spacing, orientation)
    problem = flair_problem(made)
    if problem is not None:
        raise InputError(f"image: {problem}")
    return made


def _refuse_channels(channels: int) -> None:
    if channels > 1:
        raise InputError(
            f"image: the model needs {channels} channels, and this is one: give the folder of their files, NAME_0000, "
            "NAME_0001 …"
        )


def _excluded(
    exclude: str | os.PathLike[str] | ImageInMemory,
    image: SimpleITK.Image,
    spacing: Sequence[float] | None,
    orientation: str | None,
) -> BoolArray:
    """The voxels of a mask (z, y, x) on the stored grid."""
    if isinstance(exclude, (str, os.PathLike)):
        return read_exclusion(Path(exclude), image)
    is_array = isinstance(exclude, np.ndarray)
    mask = as_sitk(exclude, spacing if is_array else None, orientation if is_array else None, "exclude")
    differences = geometry_differences(image, mask)
    if differences:
        raise InputError(f"exclude: not on the grid of the image: {'; '.join(differences)}")
    return SimpleITK.GetArrayViewFromImage(mask) != 0  # type: ignore[no-any-return]
