"""DICOM Segmentation objects: masks that go back to where their DICOM series came from.

The segment is coded by the standard's own terms: *White Matter T2 Hyperintensity* (DCM 110702) of the category
*Morphologically Abnormal Structure* (SCT 49755003) in the *Brain* (SCT 12738006). SNOMED CT has no structure of that
name that DICOM lists; DCM 110702 stands in its context group 7140, of volumes that are measured in brains.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import read_order
from nnunetv2_sa_unet.images.dicom_files import DicomFile, Plane
from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.images.slices import Stack
from nnunetv2_sa_unet.text import one_line

if TYPE_CHECKING:
    import highdicom

__all__ = ["Algorithm", "has_highdicom", "write_dicom_seg"]

#: Without these nobody finds the images that an object belongs to.
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
#: What an object has to carry of patient and study, if empty.
_CARRIED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_SEXES = ("M", "F", "O")
#: The largest number of a series.
_LARGEST = 2**31 - 1
#: How far (mm) a frame may lie from the slice that it shows.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Algorithm:
    """Who drew a mask, as the object says it.

    Attributes:
        name: of the model, of 64 characters or less.
        version: of the software.
        weights: SHA-256 of what the model consists of.
        parameters: by their names.
    """

    name: str
    version: str
    weights: str
    parameters: Mapping[str, str]


def has_highdicom() -> bool:
    """Whether the library is there that makes the objects."""
    return importlib.util.find_spec("highdicom") is not None


def write_dicom_seg(path: Path, mask: BoolArray, folder: Path, files: Sequence[str], algorithm: Algorithm) -> None:
    """Write a mask as a binary DICOM Segmentation object of one segment, and read it back.

    It holds a frame for every slice, empty ones too: an empty mask is an object in which nothing is marked. It has the
    patient, the study and the frame of reference of its source, and refers to each of the source's images.

    Args:
        path: which is no name that anybody reads yet (``files.complete_or_absent``).
        mask: (z, y, x), on the grid of the series as ``read_series`` reads it.
        folder: of the series.
        files: of the series, below the folder.
        algorithm: that drew the mask.

    Raises:
        InputError: the series does not say what an object needs, or the object does not hold the mask; the message
            does not start with a path.
        OSError: the file cannot be written.
    """
    read, stack = read_order(folder, files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = _sources(read, stack)
        try:
            made = _made(sources, mask, read, stack, algorithm)
        # highdicom raises errors of many kinds, by what it finds wrong with a header.
        except Exception as error:
            reason = one_line(error) or type(error).__name__
            raise InputError(f"no DICOM object can be made of its series: {reason}") from error
        made.save_as(path)
        _compare(path, mask, _planes(read, stack))


def _made(
    sources: list[list[Dataset]], mask: BoolArray, read: Sequence[DicomFile], stack: Stack, algorithm: Algorithm
) -> highdicom.seg.Segmentation:
    import highdicom

    first, planes = sources[0][0], _planes(read, stack)
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.cid7162.ArtificialIntelligence,
        version=algorithm.version,
        source="nnunetv2-sa-unet",
        parameters=dict(algorithm.parameters),
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="White matter hyperintensity",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.DCM.WhiteMatterT2Hyperintensity,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        anatomic_regions=[codes.SCT.Brain],
    )
    measures = highdicom.PixelMeasuresSequence(
        pixel_spacing=(stack.spacing[1], stack.spacing[0]),
        slice_thickness=planes[0].thickness or stack.spacing[2],
        spacing_between_slices=stack.spacing[2],
    )
    return highdicom.seg.Segmentation(
        source_images=sources[0],
        further_source_images=[each for group in sources[1:] for each in group],
        pixel_array=mask.astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        plane_positions=[
            highdicom.PlanePositionSequence(highdicom.CoordinateSystemNames.PATIENT, plane.position or ())
            for plane in planes
        ],
        pixel_measures=measures,
        omit_empty_frames=False,
        series_instance_uid=highdicom.UID(),
        sop_instance_uid=highdicom.UID(),
        series_number=_series_number(first),
        instance_number=1,
        series_description="White matter hyperintensities",
        content_label="WMH",
        content_description="White matter hyperintensities",
        manufacturer="nnunetv2-sa-unet",
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number=algorithm.weights,
    )


def _planes(read: Sequence[DicomFile], stack: Stack) -> list[Plane]:
    """In the order of the volume."""
    planes = [plane for each in read for plane in each.planes]
    return [planes[index] for index in stack.order]


def _sources(read: Sequence[DicomFile], stack: Stack) -> list[list[Dataset]]:
    """The headers of the images that the volume is made of: all with one slice, and each with many of its own."""
    owners = [each for each in read for _ in each.planes]
    used = list(dict.fromkeys(owners[index].path for index in stack.order))
    headers = [_completed(pydicom.dcmread(path, stop_before_pixels=True, force=True)) for path in used]
    many = [[header] for header in headers if "PerFrameFunctionalGroupsSequence" in header]
    single = [header for header in headers if "PerFrameFunctionalGroupsSequence" not in header]
    return [*([single] if single else []), *many]


def _completed(header: Dataset) -> Dataset:
    """A header with all that highdicom asks for: what may be empty and is not there is empty."""
    for name in _IDENTIFIERS:
        if not header.get(name):
            raise InputError(f"no DICOM object can be made of its series: it gives no {name}")
    for name in _CARRIED:
        if name not in header:
            setattr(header, name, "")
    if header.PatientSex not in _SEXES:
        header.PatientSex = ""
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(header.get(name))
        except ValueError:
            setattr(header, name, "")
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header
    # Some scanners repeat with every frame what holds for all.
    if not header.get("SharedFunctionalGroupsSequence"):
        header.SharedFunctionalGroupsSequence = [Dataset()]
    shared, frame = header.SharedFunctionalGroupsSequence[0], header.PerFrameFunctionalGroupsSequence[0]
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if name not in shared and name in frame:
            setattr(shared, name, frame[name].value)
    return header


def _series_number(source: Dataset) -> int:
    """Of the new series: beside that of its source, and above all that a scanner gives."""
    try:
        number = 1000 * int(source.get("SeriesNumber") or 0) + 1
    except (TypeError, ValueError):
        return 1
    return number if 0 < number <= _LARGEST else 1


def _compare(path: Path, mask: BoolArray, planes: Sequence[Plane]) -> None:
    """See that an object holds a mask, voxel by voxel, each frame at the place of its slice."""
    import highdicom

    found: Any = highdicom.seg.segread(path)
    frames = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    places = np.array([plane.position for plane in planes])
    seen = np.zeros(len(mask), bool)
    for item, frame in zip(found.PerFrameFunctionalGroupsSequence, frames, strict=True):
        distances = np.linalg.norm(places - np.array(item.PlanePositionSequence[0].ImagePositionPatient, float), axis=1)
        index = int(distances.argmin())
        if distances[index] > _SAME_PLACE or seen[index] or not np.array_equal(frame == 1, mask[index]):
            raise InputError("its DICOM object does not hold the mask that was written (is the disk full?)")
        seen[index] = True
    if not seen.all():
        raise InputError(f"its DICOM object holds {int(seen.sum())} of {len(seen)} slices")
