"""NRRD, MetaImage and GIPL: what their headers leave out, and whether all of their bytes are there.

ITK takes a voxel of 1 mm where the spacing is missing, keeps what a damaged compressed stream gave before the damage,
and reads a GIPL file that was cut short as if the rest were there.
"""

from __future__ import annotations

import bz2
import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import direction_problem, geometry_problem

__all__ = ["Stored", "check_bytes", "files_of", "read_stored"]

_ORIENTATION_UNKNOWN = "orientation unknown: {} gives none"
_NRRD_BYTES = {
    "char": 1, "int8": 1, "int8_t": 1, "signed char": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "int16": 2, "int16_t": 2, "ushort": 2, "unsigned short": 2,
    "uint16": 2, "uint16_t": 2, "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4,
    "uint32": 4, "uint32_t": 4, "longlong": 8, "long long": 8, "int64": 8, "int64_t": 8, "ulonglong": 8,
    "unsigned long long": 8, "uint64": 8, "uint64_t": 8, "float": 4, "double": 8,
}  # fmt: skip
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
#: Bits of a voxel by the type's number.
_GIPL_BITS = {1: 1, 7: 8, 8: 8, 15: 16, 16: 16, 31: 32, 32: 32, 64: 32, 65: 64}
_GIPL_HEADER, _GIPL_MAGIC = 256, 719555000
_BLOCK = 1 << 22
_MOST_LINES = 1000


@dataclass(frozen=True)
class Stored:
    """Where the voxels of an image stand.

    Attributes:
        path: of the header.
        file: that holds them.
        offset: of the first in it.
        expected: their bytes; None if the encoding (text) has no fixed number.
        decompress: makes a stream of the file's.
        remarks: on what the header leaves out.
    """

    path: Path
    file: Path
    offset: int
    expected: int | None
    decompress: Callable[[IO[bytes]], Iterator[bytes]]
    remarks: tuple[str, ...]


def read_stored(path: Path) -> Stored | None:
    """Read and check a header.

    Returns:
        Where the voxels stand; None for another format, and for what is no 3D image of one channel.

    Raises:
        InputError: a field is missing or makes no sense; the message starts with the path.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    name = path.name.lower()
    if name.endswith((".nrrd", ".nhdr")):
        return _nrrd(path)
    if name.endswith((".mha", ".mhd")):
        return _meta(path)
    return _gipl(path) if name.endswith((".gipl", ".gipl.gz")) else None


def files_of(path: Path) -> list[Path]:
    """All files that an image consists of: its own, and the one that its header names for the voxels."""
    try:
        stored = read_stored(path)
    except (InputError, OSError, EOFError, zlib.error):
        # Whoever reads the image says why.
        stored = None
    return [path] if stored is None or stored.file == path else [path, stored.file]


def check_bytes(stored: Stored) -> None:
    """Read the voxels to the last byte, with the checksum of compressed ones, and count them.

    Raises:
        InputError: there are fewer or more than the header says.
        OSError, EOFError, zlib.error: the file cannot be read, or is damaged.
    """
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        found = sum(map(len, stored.decompress(stream)))
    if stored.expected is not None and found != stored.expected:
        where = stored.path if stored.file == stored.path else f"{stored.path}: {stored.file.name}"
        raise InputError(f"{where}: holds {found} bytes of voxels, and its header says {stored.expected}")


def _nrrd(path: Path) -> Stored | None:
    fields, end = _lines(path, ":", lambda line: not line.strip())
    if not fields.get("", "").startswith("NRRD"):
        raise InputError(f"{path}: cannot be read: not a NRRD file by its first bytes")
    size = _whole_numbers(path, fields, "sizes")
    if len(size) != 3:
        return None
    units = set(fields.get("space units", "").replace('"', " ").split()) - {"mm", "millimeter", "millimeters"}
    if units:
        raise InputError(f"{path}: space units: {', '.join(sorted(units))}; expected mm")
    remarks = []
    if "space directions" in fields:
        vectors = fields["space directions"].replace("(", " ").replace(")", " ").replace(",", " ")
        axes = _numbers(path, "space directions", vectors.replace("none", "nan"), 9)
        spacing = np.linalg.norm(np.reshape(axes, (3, 3)), axis=1)
        direction = (np.reshape(axes, (3, 3)) / np.where(spacing > 0, spacing, 1)[:, None]).T.ravel().tolist()
    elif "spacings" in fields:
        spacing = np.array(_numbers(path, "spacings", fields["spacings"], 3))
        direction = [1, 0, 0, 0, 1, 0, 0, 0, 1]
        remarks.append(_ORIENTATION_UNKNOWN.format("its header"))
    else:
        raise InputError(f"{path}: no spacing in its header (space directions or spacings); expected voxels in mm")
    origin = fields.get("space origin", "(0,0,0)").strip("() ").replace(",", " ")
    _check(path, size, spacing.tolist(), _numbers(path, "space origin", origin, 3), direction)
    if "space directions" in fields and not fields.get("space"):
        remarks.append(_ORIENTATION_UNKNOWN.format("its header (space)"))
    file, offset = path, end
    if "data file" in fields or "datafile" in fields:
        file, offset = _voxels(path, "data file", fields.get("data file", fields.get("datafile", ""))), 0
    encoding = fields.get("encoding", "raw").lower()
    kind = fields.get("type", "").lower()
    if kind not in _NRRD_BYTES:
        raise InputError(f"{path}: type: {kind}; expected a type of whole or real numbers")
    expected: int | None = math.prod(size) * _NRRD_BYTES[kind]
    if encoding in ("gzip", "gz"):
        decompress = _gzip
    elif encoding in ("bzip2", "bz2"):
        decompress = _bzip2
    elif encoding == "raw":
        decompress = _plain
    else:
        decompress, expected = _plain, None
    skip = int(_numbers(path, "byte skip", fields.get("byte skip", fields.get("byteskip", "0")), 1)[0])
    lines = int(_numbers(path, "line skip", fields.get("line skip", fields.get("lineskip", "0")), 1)[0])
    if skip == -1 and expected is not None:
        offset = max(offset, file.stat().st_size - expected)
    elif skip or lines:
        raise InputError(f"{path}: byte skip {skip}, line skip {lines}; expected 0: write the image again")
    return Stored(path, _there(path, file), offset, expected, decompress, tuple(remarks))


def _meta(path: Path) -> Stored | None:
    fields, end = _lines(path, "=", lambda line: line.startswith(b"ElementDataFile"))
    if "DimSize" not in fields or "ElementDataFile" not in fields:
        raise InputError(f"{path}: cannot be read: not a MetaImage file by its header (DimSize, ElementDataFile)")
    size = _whole_numbers(path, fields, "DimSize")
    channels = int(_numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)[0])
    if len(size) != 3 or channels != 1:
        return None
    words = fields.get("ElementSpacing") or fields.get("ElementSize")
    if words is None:
        raise InputError(f"{path}: no ElementSpacing in its header; expected voxels in mm")
    spacing = _numbers(path, "ElementSpacing", words, 3)
    names = ("TransformMatrix", "Rotation", "Orientation")
    matrix = next((fields[name] for name in names if name in fields), None)
    remarks = () if matrix else (_ORIENTATION_UNKNOWN.format("its header (TransformMatrix)"),)
    direction = _numbers(path, "TransformMatrix", matrix or "1 0 0 0 1 0 0 0 1", 9)
    offset = next((fields[name] for name in ("Offset", "Position", "Origin") if name in fields), "0 0 0")
    # ITK turns the axis where the spacing is below zero.
    _check(path, size, [abs(edge) for edge in spacing], _numbers(path, "Offset", offset, 3), direction)
    kind = fields.get("ElementType", "")
    if kind not in _META_BYTES:
        raise InputError(f"{path}: ElementType = {kind}; expected a type of whole or real numbers")
    compressed = fields.get("CompressedData", "False").lower() in ("true", "1")
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    file = path if local else _there(path, _voxels(path, "ElementDataFile", name))
    expected = math.prod(size) * _META_BYTES[kind]
    skip = int(_numbers(path, "HeaderSize", fields.get("HeaderSize", "0"), 1)[0])
    start = end if local else skip if skip > 0 else max(0, file.stat().st_size - expected) if skip < 0 else 0
    decompress = _zlib if compressed else _plain
    if fields.get("BinaryData", "True").lower() not in ("true", "1"):
        return Stored(path, file, start, None, _plain, remarks)
    return Stored(path, file, start, expected, decompress, remarks)


def _gipl(path: Path) -> Stored | None:
    compressed = path.name.lower().endswith(".gz")
    with cast("IO[bytes]", gzip.open(path) if compressed else path.open("rb")) as stream:
        content = stream.read(_GIPL_HEADER)
    if len(content) < _GIPL_HEADER or struct.unpack(">I", content[252:256])[0] not in (_GIPL_MAGIC, 4026526128):
        raise InputError(f"{path}: cannot be read: not a GIPL file by its first {_GIPL_HEADER} bytes")
    size = [length for length in struct.unpack(">4H", content[:8]) if length]
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    (kind,) = struct.unpack(">H", content[8:10])
    if len(size) != 3:
        return None
    if kind not in _GIPL_BITS:
        raise InputError(f"{path}: holds data of type {kind}; expected numbers")
    spacing = struct.unpack(">4f", content[10:26])[:3]
    origin = struct.unpack(">4d", content[204:236])[:3]
    _check(path, size, spacing, origin, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    expected = _GIPL_HEADER + math.prod(size) * _GIPL_BITS[kind] // 8
    return Stored(
        path, path, 0, expected, _gzip if compressed else _plain, (_ORIENTATION_UNKNOWN.format("GIPL"),)
    )  # fmt: skip


def _check(
    path: Path, size: list[int], spacing: Iterable[float], origin: Iterable[float], direction: Iterable[float]
) -> None:
    problem = geometry_problem(size, [*spacing], [*origin], [*direction]) or direction_problem([*direction])
    if problem is not None:
        raise InputError(f"{path}: {problem}")


def _lines(path: Path, separator: str, is_last: Callable[[bytes], bool]) -> tuple[dict[str, str], int]:
    """The fields of a header in lines of text, and where they end; a first line without field as ``""``."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for _ in range(_MOST_LINES):
            line = stream.readline(1 << 16)
            text = line.decode("utf-8", "replace").strip()
            name, found, value = text.partition(separator)
            if found and not text.startswith("#"):
                fields[name.strip()] = value.removeprefix("=").strip()
            elif not fields:
                fields[""] = text
            if not line or is_last(line):
                break
        return fields, stream.tell()


def _numbers(path: Path, field: str, words: str, count: int) -> list[float]:
    try:
        found = [float(word) for word in words.split()]
    except ValueError:
        found = []
    if len(found) != count:
        raise InputError(f"{path}: {field}: {words}; expected {count} numbers")
    return found


def _whole_numbers(path: Path, fields: Mapping[str, str], field: str) -> list[int]:
    words = fields.get(field, "")
    try:
        return [int(word) for word in words.split()]
    except ValueError:
        raise InputError(f"{path}: {field}: {words}; expected the length of each axis") from None


def _voxels(path: Path, field: str, name: str) -> Path:
    """The file that a header names for its voxels."""
    if not name or name.split()[0] == "LIST" or "%" in name:
        raise InputError(f"{path}: its voxels stand in several files, or in none ({field}: {name}); write it as one")
    return path.parent / name


def _there(path: Path, file: Path) -> Path:
    if not file.is_file():
        raise InputError(f"{path}: names {file.name} for its voxels, and there is no such file")
    return file


def _plain(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(_BLOCK), b"")


def _gzip(stream: IO[bytes]) -> Iterator[bytes]:
    with gzip.open(stream) as content:
        yield from _plain(cast("IO[bytes]", content))


def _bzip2(stream: IO[bytes]) -> Iterator[bytes]:
    with bz2.open(stream) as content:
        yield from _plain(cast("IO[bytes]", content))


def _zlib(stream: IO[bytes]) -> Iterator[bytes]:
    unpacked = zlib.decompressobj()
    for block in _plain(stream):
        # The rest of a block that unpacks to very much comes with the next call.
        while block:
            yield unpacked.decompress(block, _BLOCK)
            block = unpacked.unconsumed_tail
    yield unpacked.flush()
    if not unpacked.eof:
        raise EOFError("its compressed data end before they are complete")
