"""What one DICOM file says, read with pydicom: with or without the 128 bytes before its first tag."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pydicom

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.text import is_utf8, one_line, printable

__all__ = ["DicomFile", "Plane", "is_dicom", "read_dicom_file"]

# Values that break the standard are what is checked for here.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_TAGS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription",
    "ProtocolName", "SequenceName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "InversionTime", "EchoTime", "ComplexImageComponent", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagesInAcquisition",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_DEFLATED = "1.2.840.10008.1.2.1.99"
#: Pixels as real numbers.
_REAL_PIXELS = (0x7FE00008, 0x7FE00009)
#: Words of ImageType for what was made of a volume, or was taken to find the planes of one.
_DERIVED = ("MPR", "CSA RESAMPLED", "REFORMATTED", "MIP", "MINIP", "PROJECTION IMAGE", "SUBTRACTION")
_LOCALIZER = "LOCALIZER"
#: Components of a complex image that are no magnitude, as ImageType and ComplexImageComponent name them.
_PARTS = {
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "R": "real part", "REAL": "real part",
    "I": "imaginary part", "IMAGINARY": "imaginary part", "MIXED": "several parts",
}  # fmt: skip
#: What the name of a class of objects ends in whose files hold images.
_IMAGE_CLASS = "Image Storage"
#: Modality of files that have rows and columns and are made of images.
_SEGMENTATION = "SEG"


@dataclass(frozen=True)
class Plane:
    """One slice: a file, or a frame of a file with many.

    Attributes:
        name: of the file or frame.
        position: of the centre of the first pixel in mm (LPS); None if it is not given.
        orientation: cosines of the rows and of the columns; None if it is not given.
        spacing: of the rows and of the columns in mm; None if it is not given.
        thickness: of the slice in mm.
        between: from this slice to the next in mm, as the header says.
        part: what of a complex image it is; empty for a magnitude.
        echo: echo time in ms, as text.
        scale: what the stored numbers are multiplied by and what is added.
        number: in its series or stack; None if it is not given.
    """

    name: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    between: float | None
    part: str
    echo: str
    scale: tuple[float, float]
    number: int | None


@dataclass(frozen=True)
class DicomFile:
    """What a file says.

    Attributes:
        path: of the file.
        header: text by tag, such as ``0018|0082``, of what tells FLAIR.
        patient, study, series, instance: identifiers.
        number: of the series in its study.
        modality: such as ``MR``.
        is_image: whether it holds pixels, by its class and its tags; not so reports, presentations, segmentations, raw
            data.
        kind: of object, in the words of the standard.
        problem: why its pixels cannot be used; empty if nothing speaks against it.
        shape: rows and columns.
        pixels: bits, sign and scale of the stored numbers.
        images: in the acquisition, as the header says; None if it does not.
        syntax: how the pixels are encoded, in the words of the standard.
        derived: the word of ImageType for an image that was made of others; empty for one from the scanner.
        is_localizer: whether it was taken to find the planes of others.
        planes: one a frame.
    """

    path: Path
    header: Mapping[str, str]
    patient: str
    study: str
    series: str
    instance: str
    number: str
    modality: str
    is_image: bool
    kind: str
    problem: str
    shape: tuple[int, int]
    pixels: tuple[Any, ...]
    images: int | None
    syntax: str
    derived: str
    is_localizer: bool
    planes: tuple[Plane, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file says in its first bytes that it is DICOM; not so a DICOMDIR.

    Old exports lack the 128 bytes and the word ``DICM`` before the first tag.
    """
    # A pipe would be waited for.
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or _is_bare(start)


def read_dicom_file(path: Path) -> DicomFile:
    """Read what a file says, and see that its pixels are there; they are not decoded.

    Raises:
        InputError: this is no DICOM file, or it is damaged before its pixels; the message starts with the path.
    """
    where = printable(path)
    if not is_utf8(path):
        raise InputError(f"{where}: cannot be read: its name is no UTF-8: rename it")
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not stream.read(1):
                raise InputError(f"{where}: the file is empty (0 bytes)")
            stream.seek(0)
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
            if not (dataset.get("SOPClassUID") or (dataset.get("SeriesInstanceUID") and dataset.get("Rows"))):
                raise InputError(f"{where}: cannot be read: not a DICOM file, or cut short before its first tags")
            return _dicom_file(path, dataset, stream)
    except InputError:
        raise
    # pydicom raises errors of many kinds, by what it tries to make of damaged bytes.
    except Exception as error:
        raise InputError(f"{where}: cannot be read: {one_line(error) or type(error).__name__}") from error


def _dicom_file(path: Path, dataset: Any, stream: IO[bytes]) -> DicomFile:
    kind = pydicom.uid.UID(_text(dataset, "SOPClassUID")).name
    shape = int(_number(dataset, "Rows") or 0), int(_number(dataset, "Columns") or 0)
    is_image = kind.endswith(_IMAGE_CLASS) or (min(shape) > 0 and _text(dataset, "Modality") != _SEGMENTATION)
    names = {
        "0008|103e": "SeriesDescription", "0018|1030": "ProtocolName", "0018|0024": "SequenceName",
        "0018|0081": "EchoTime", "0018|0082": "InversionTime",
    }  # fmt: skip
    header = {tag: text for tag, name in names.items() if (text := _text(dataset, name))}
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if frames or shared is not None:
        header |= _times(shared, frames)
    pixels = tuple(_number(dataset, name) for name in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    images = _number(dataset, "ImagesInAcquisition")
    words = [word.upper() for word in _texts(dataset, "ImageType")]
    return DicomFile(
        path=path,
        header=header,
        patient=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        instance=_text(dataset, "SOPInstanceUID"),
        number=_text(dataset, "SeriesNumber"),
        modality=_text(dataset, "Modality"),
        is_image=is_image,
        kind=kind,
        problem=_pixel_problem(path, dataset, stream, shape, len(frames)) if is_image else "",
        shape=shape,
        pixels=pixels,
        images=None if images is None else int(images),
        syntax=pydicom.uid.UID(_syntax(dataset)).name,
        derived=next((word for word in words if word in _DERIVED), ""),
        is_localizer=_LOCALIZER in words,
        planes=tuple(_planes(path, dataset, shared, frames)),
    )


def _planes(path: Path, dataset: Any, shared: Any, frames: Iterable[Any]) -> Iterator[Plane]:
    part = _part([*_texts(dataset, "ImageType")[2:], *_texts(dataset, "ComplexImageComponent")])
    if shared is None and not frames:
        yield _plane(path.name, dataset, dataset, dataset, dataset, dataset, part, _text(dataset, "EchoTime"))
        return
    for number, frame in enumerate(frames, 1):

        def group(name: str, frame: Any = frame) -> Any:
            found = _first(frame, name)
            return found if found is not None else _first(shared, name)

        kind, echo = group("MRImageFrameTypeSequence"), group("MREchoSequence")
        named = [*_texts(kind, "FrameType")[2:], *_texts(kind, "ComplexImageComponent")]
        yield _plane(
            f"{path.name}, frame {number}",
            group("PlanePositionSequence"),
            group("PlaneOrientationSequence"),
            group("PixelMeasuresSequence"),
            group("PixelValueTransformationSequence"),
            group("FrameContentSequence"),
            _part(named) if named else part,
            _text(echo, "EffectiveEchoTime"),
        )


def _plane(
    name: str, position: Any, orientation: Any, measures: Any, values: Any, content: Any, part: str, echo: str
) -> Plane:
    slope, intercept = _number(values, "RescaleSlope"), _number(values, "RescaleIntercept")
    number = _number(content, "InStackPositionNumber")
    number = _number(content, "InstanceNumber") if number is None else number
    return Plane(
        name=name,
        position=_numbers(position, "ImagePositionPatient", 3),
        orientation=_numbers(orientation, "ImageOrientationPatient", 6),
        spacing=_numbers(measures, "PixelSpacing", 2),
        thickness=_number(measures, "SliceThickness"),
        between=_number(measures, "SpacingBetweenSlices"),
        part=part,
        echo=echo,
        scale=(1.0 if slope is None else slope, intercept or 0.0),
        number=None if number is None else int(number),
    )


def _times(shared: Any, frames: list[Any]) -> Iterator[tuple[str, str]]:
    groups = [group for group in (shared, *frames[:1]) if group is not None]
    for tag, sequence, name in (
        ("0018|0081", "MREchoSequence", "EffectiveEchoTime"),
        ("0018|0082", "MRModifierSequence", "InversionTimes"),
    ):
        for group in groups:
            texts = _texts(_first(group, sequence), name)
            if texts:
                yield tag, texts[0]


def _pixel_problem(path: Path, dataset: Any, stream: IO[bytes], shape: tuple[int, int], frames: int) -> str:
    """Why the pixels cannot be used: they are not all there, or no grey values."""
    samples = int(_number(dataset, "SamplesPerPixel") or 1)
    photometric = _text(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in ("MONOCHROME2", ""):
        return f"holds {photometric or f'{samples} values a pixel'}; expected grey values (MONOCHROME2)"
    if "MOSAIC" in _texts(dataset, "ImageType"):
        return "is a mosaic of slices; expected one slice a file"
    said = int(_number(dataset, "NumberOfFrames") or 1)
    if said != (frames or 1):
        return f"holds {said} frames, and the positions of {frames}; expected the position of each"
    if min(shape) < 1:
        return "gives no rows and columns"
    if _syntax(dataset) == _DEFLATED:
        return ""
    implicit, little = dataset.original_encoding
    order = "little" if little else "big"
    end = path.stat().st_size

    def whole(count: int) -> int:
        return int.from_bytes(stream.read(count), order)  # type: ignore[arg-type]

    tag = whole(2) << 16 | whole(2)
    if tag in _REAL_PIXELS:
        return "holds real numbers (FloatPixelData), which ITK does not read; expected whole ones (PixelData)"
    if tag != _PIXELS:
        return "is cut short before its pixels"
    if not implicit:
        stream.read(4)
    length = whole(4)
    if length == _UNDEFINED:
        return "" if _items_end(stream, end) else "is cut short"
    expected = math.prod(shape) * said * int(_number(dataset, "BitsAllocated") or 16) // 8
    if length < expected:
        return f"holds {length} of {expected} bytes of pixels"
    return "is cut short" if stream.tell() + length > end else ""


def _syntax(dataset: Any) -> str:
    return str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))


def _items_end(stream: IO[bytes], end: int) -> bool:
    """Whether compressed pixels come to their end; the standard has them little-endian."""
    while stream.tell() < end:
        tag, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if tag == b"\xfe\xff\xdd\xe0":
            return True
        if tag != b"\xfe\xff\x00\xe0":
            return False
        stream.seek(length, 1)
    return False


def _is_bare(start: bytes) -> bool:
    """Whether a file starts with a tag of the first groups, as DICOM without its 128 bytes does."""
    if len(start) < 16 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = start[4:6] in (b"UL", b"UI", b"CS", b"OB", b"DA", b"TM", b"LO", b"SH", b"PN")
    return explicit or int.from_bytes(start[4:8], "little") < 256


def _part(words: Iterable[str]) -> str:
    return next((_PARTS[word.upper()] for word in words if word.upper() in _PARTS), "")


def _first(group: Any, name: str) -> Any:
    found = None if group is None else group.get(name)
    return found[0] if found else None


def _text(group: Any, name: str) -> str:
    return "\\".join(_texts(group, name))


def _texts(group: Any, name: str) -> list[str]:
    value = None if group is None else group.get(name)
    if value is None:
        return []
    values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    return [text for each in values if (text := str(each).strip(" \0"))]


def _numbers(group: Any, name: str, count: int) -> tuple[float, ...] | None:
    texts = _texts(group, name)
    if not texts:
        return None
    try:
        found = tuple(map(float, texts))
    except ValueError:
        found = ()
    # What is no number is told from what is missing by its value.
    return found if len(found) == count else (math.nan,) * count


def _number(group: Any, name: str) -> float | None:
    found = _numbers(group, name, 1)
    return None if found is None or math.isnan(found[0]) else found[0]
