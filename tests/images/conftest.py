"""DICOM files as scanners write them, made with pydicom: classic slices, many frames in one file, other objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SPACING = (2.0, 1.5, 4.0)
ORIGIN = np.array([-10.0, -20.0, 30.0])
#: (z, y, x)
HEAD = np.random.default_rng(0).integers(0, 400, (6, 16, 12)).astype(np.uint16)


def placed(index: float) -> np.ndarray:
    """The position of a slice in mm."""
    return ORIGIN + np.array([0, 0, index * SPACING[2]])


def dataset(pixels: np.ndarray, index: int = 0, series: str = "1.2.3", **tags: Any) -> FileDataset:
    """A slice (rows, columns) as a file; tags of the value None are left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", MR)
    meta.MediaStorageSOPInstanceUID = f"{series}.{index + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": MR,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MR",
        "PatientID": "phantom",
        "StudyInstanceUID": series.rpartition(".")[0],
        "SeriesInstanceUID": series,
        "SeriesNumber": series.rpartition(".")[2],
        "SeriesDescription": "FLAIR axial",
        "InstanceNumber": index + 1,
        "InversionTime": "2500",
        "EchoTime": "120",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "PixelSpacing": [SPACING[1], SPACING[0]],
        "SliceThickness": SPACING[2],
        "ImagePositionPatient": [f"{value:g}" for value in placed(index)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": pixels.astype("<u2").tobytes(),
        **tags,
    }
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    return made


def save(made: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def write_slices(folder: Path, values: np.ndarray = HEAD, series: str = "1.2.3", **tags: Any) -> list[Path]:
    """Write a classic series, a file a slice."""
    return [
        save(dataset(pixels, index, series, **tags), folder / f"IM{index:04}") for index, pixels in enumerate(values)
    ]


def enhanced(
    values: np.ndarray, positions: Sequence[float], shared: dict[str, Any] | None = None, **frames: Sequence[Any]
) -> FileDataset:
    """All slices in one file.

    Args:
        values: frames as they are stored, (frame, rows, columns).
        positions: the slice that each frame shows.
        shared: tags of the frames' sequences that differ from a plain volume's; None leaves one out.
        frames: tags of single frames, one value a frame (``echo``, ``slope``, ``part``).
    """
    made = dataset(values[0], SOPClassUID=ENHANCED_MR)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(made, name)
    made.NumberOfFrames = len(values)
    made.PixelData = values.astype("<u2").tobytes()
    tags = {
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [SPACING[1], SPACING[0]],
        "SliceThickness": SPACING[2],
        **(shared or {}),
    }
    group, orientation, measures = Dataset(), Dataset(), Dataset()
    for name, value in tags.items():
        if value is not None:
            setattr(orientation if "Orientation" in name else measures, name, value)
    group.PlaneOrientationSequence, group.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence = [group]
    made.PerFrameFunctionalGroupsSequence = []
    for index, position in enumerate(positions):
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [f"{value:g}" for value in placed(position)]
        content.InStackPositionNumber = int(position) + 1
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        for name, given in frames.items():
            item = Dataset()
            if name == "echo":
                item.EffectiveEchoTime = given[index]
                frame.MREchoSequence = [item]
            elif name == "slope":
                item.RescaleSlope, item.RescaleIntercept, item.RescaleType = given[index], 0, "US"
                frame.PixelValueTransformationSequence = [item]
            else:
                item.ComplexImageComponent = given[index]
                frame.MRImageFrameTypeSequence = [item]
        made.PerFrameFunctionalGroupsSequence.append(frame)
    return made


@pytest.fixture(scope="session")
def dicom() -> SimpleNamespace:
    """What makes DICOM files: see the functions of this file."""
    return SimpleNamespace(
        dataset=dataset, save=save, write=write_slices, enhanced=enhanced, head=HEAD, spacing=SPACING, origin=ORIGIN
    )
