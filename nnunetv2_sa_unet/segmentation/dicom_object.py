"""The DICOM Segmentation object beside the mask of a subject that comes from a DICOM series."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import SimpleITK

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, complete_or_absent, is_intact, sha256
from nnunetv2_sa_unet.images.dicom_seg import Algorithm, write_dicom_seg
from nnunetv2_sa_unet.images.masks import WMH
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.record import Decision, Model, Subject
from nnunetv2_sa_unet.segmentation.writing import FolderError, writing

__all__ = ["with_object"]

#: As much of a name as DICOM takes.
_LONGEST = 64


def with_object(folder: Path, found: FoundSubject, row: Subject, model: Model, is_wanted: bool) -> Subject:
    """Write the object of a subject, unless it is there and intact; a row that names it, or says why there is none.

    Args:
        folder: of the run.
        found: the subject.
        row: with a mask that is there and intact.
        model: that segmented.
        is_wanted: whether objects are written; those of an earlier run stay whose mask did.

    Raises:
        FolderError: nothing can be written to the folder of the run.
    """
    if row.dicom_seg is not None and is_intact(below(folder, row.dicom_seg), row.dicom_seg_sha256):
        return row
    row = row.model_copy(update={"dicom_seg": None, "dicom_seg_sha256": None})
    if not is_wanted or not found.is_dicom:
        return row
    assert row.mask is not None
    assert row.decision is not None
    path = below(folder, found.dicom_seg)
    mask: Any = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(below(folder, row.mask)))) == WMH
    try:
        with writing(path, mask.size // 8), complete_or_absent(path) as temporary:
            series = row.inputs[0]
            write_dicom_seg(temporary, mask, Path(series.path), series.files or [], _algorithm(model, row.decision))
    except FolderError:
        raise
    except InputError as error:
        path.unlink(missing_ok=True)
        # An earlier run may have said so already.
        said = [row.message] if row.message else []
        message = row.message if str(error) in row.message else "; ".join([*said, str(error)])
        return row.model_copy(update={"status": "warning", "message": message})
    return row.model_copy(update={"dicom_seg": found.dicom_seg.as_posix(), "dicom_seg_sha256": sha256([path])})


def _algorithm(model: Model, decision: Decision) -> Algorithm:
    weights = hashlib.sha256("".join(f"{name} {found}\n" for name, found in sorted(model.sha256.items())).encode())
    name = model.name or f"{model.trainer} {model.configuration}"
    parameters = {
        "model": f"{name} {model.version}" if model.version else f"{model.dataset} {model.plans}",
        "folds": " ".join(map(str, model.folds)),
        **{key: str(value) for key, value in decision.model_dump().items() if value is not None},
    }
    return Algorithm(name[:_LONGEST], __version__, weights.hexdigest(), parameters)
