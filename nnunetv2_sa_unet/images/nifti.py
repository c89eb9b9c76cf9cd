"""What a NIfTI file says and holds, read apart from ITK, which makes up what is missing without a word.

ITK gives a voxel of 1 mm where pixdim is 0 or no number, reads what is no number as 0, pads a file that was cut, and
takes the sform's or the qform's place without saying which.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import Header, geometry_problem, listed, times
from nnunetv2_sa_unet.text import one_line

__all__ = ["Nifti", "is_nifti", "nifti_remarks", "read_nifti_header", "read_nifti_values"]

_SIZE, _LARGEST_OFFSET = 348, 1 << 30
_NIFTI_2 = 540
_SIZES = (_SIZE, _NIFTI_2)
_GZIP = b"\x1f\x8b"
#: How files begin that Git LFS has in the place of large ones.
_POINTERS = b"version https://git-lfs"
_SINGLE_FILE = b"n+1"
#: Type codes of the standard that ITK reads as one number a voxel.
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_NO_NUMBERS = {
    1: "single bits", 32: "complex numbers", 128: "colours (RGB)", 1536: "numbers of 128 bits",
    1792: "complex numbers", 2048: "complex numbers", 2304: "colours (RGBA)",
}  # fmt: skip
#: Millimetres of a unit, by its code; 0 is unknown, which everybody takes for millimetres.
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "metre", 3: "micrometre"}
#: How far two readings of a header may put a voxel apart (mm), and their volumes differ (as a fraction).
_APART, _VOLUME = 0.5, 0.01
#: SimpleITK's world axes run to the left and the back, NIfTI's to the right and the front.
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Nifti:
    """A header whose fields make sense.

    Attributes:
        path: of the file.
        shape: voxels (x, y, z …).
        dtype: of the stored numbers.
        offset: of the first voxel in the file, in bytes.
        slope: that stored numbers are multiplied by.
        intercept: that is added then.
        qform: voxel to world (mm, RAS) by the scanner; None if its code is 0.
        sform: voxel to world by any software; None if its code is 0.
        pixdim: edges of a voxel in mm, with the sign of the header.
        remarks: on the unit.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None
    pixdim: tuple[float, ...]
    remarks: tuple[str, ...]


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_nifti_header(path: Path) -> Nifti:
    """Read and check the fields of a header.

    Raises:
        InputError: a field makes no sense; the message starts with the path.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    _refuse_other_compression(path)
    with _open(path) as stream:
        content = stream.read(_SIZE)
    fields = _fields(path, content)
    shape = _shape(path, fields)
    dtype = _dtype(path, fields)
    offset = float(fields["vox_offset"])
    if not (_SIZE + 4 <= offset <= _LARGEST_OFFSET and offset == int(offset)):
        raise InputError(f"{path}: header field vox_offset is {offset:g}; expected {_SIZE + 4} or more")
    slope, intercept = _scale(path, fields)
    unit = int(fields["xyzt_units"]) & 7
    if unit not in _UNITS:
        raise InputError(f"{path}: header field xyzt_units names unit {unit}; expected 2 (mm)")
    pixdim = tuple(float(value) * _UNITS[unit] for value in fields["pixdim"][1:4])
    edges = [abs(value) for value in pixdim]
    if not all(0 < edge < math.inf for edge in edges):
        raise InputError(
            f"{path}: header field pixdim is {listed(pixdim)}; expected the edges of a voxel in mm: correct the header"
        )
    problem = geometry_problem(shape[:3], edges[: len(shape)], (0,), (1,))
    if problem is not None:
        raise InputError(f"{path}: {problem}")
    remarks = (f"its header gives lengths in {_UNIT_NAMES[unit]}s",) if unit in _UNIT_NAMES else ()
    qform, sform = _qform(path, fields, edges, _UNITS[unit]), _sform(path, fields, _UNITS[unit])
    return Nifti(path, shape, dtype, int(offset), slope, intercept, qform, sform, pixdim, remarks)


def read_nifti_values(header: Nifti) -> NDArray[Any]:
    """Read a file to its last byte, with the checksum of compressed ones.

    Returns:
        The numbers as they are stored (z, y, x), not scaled yet.

    Raises:
        InputError: there are fewer or more than the header says, or some are no number.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    expected = math.prod(header.shape) * header.dtype.itemsize
    with _open(header.path) as stream:
        stream.read(header.offset)
        # Not asked for at once: a header may promise more than the file holds.
        blocks, found = [], 0
        try:
            for block in iter(lambda: stream.read(1 << 22), b""):
                found += len(block)
                if found - len(block) < expected:
                    blocks.append(block)
        except gzip.BadGzipFile as error:
            raise InputError(
                f"{header.path}: other bytes follow its compressed ones ({one_line(error)}): fetch or write it again"
            ) from None
    if found < expected:
        raise InputError(
            f"{header.path}: cannot be read: it ends after {header.offset + found} of {header.offset + expected} bytes"
        )
    a_slice = expected // header.shape[-1] if len(header.shape) > 2 else expected
    if found >= expected + a_slice:
        raise InputError(
            f"{header.path}: holds {found} bytes of voxels, and its header says {times(header.shape)} voxels, "
            f"{expected} bytes: correct the header's size"
        )
    values = np.frombuffer(b"".join(blocks), header.dtype, math.prod(header.shape)).reshape(header.shape[::-1])
    if np.issubdtype(values.dtype, np.floating):
        wrong = int(values.size - np.isfinite(values).sum())
        if wrong:
            raise InputError(f"{header.path}: {wrong} voxels hold no number (NaN) or are infinite")
    return values


def nifti_remarks(nifti: Nifti, header: Header) -> list[str]:
    """Say what contradicts itself in a header, and which reading was used.

    Args:
        nifti: of the file.
        header: what ITK made of it, which is what is used.

    Raises:
        InputError: the readings give voxels of different volumes.
    """
    forms = {name: form for name, form in (("qform", nifti.qform), ("sform", nifti.sform)) if form is not None}
    remarks = list(nifti.remarks)
    used = _affine(header)
    edges = {"pixdim": [abs(value) for value in nifti.pixdim]}
    edges |= {name: np.linalg.norm(form[:3, :3], axis=0).tolist() for name, form in forms.items()}
    volumes = {name: math.prod(lengths) for name, lengths in edges.items()}
    if max(volumes.values()) > min(volumes.values()) * (1 + _VOLUME) or any(
        not np.allclose(lengths, header.spacing, rtol=_VOLUME, atol=0) for lengths in edges.values()
    ):
        said = ", ".join(f"{name} {times(np.round(lengths, 4))}" for name, lengths in edges.items())
        raise InputError(f"{nifti.path}: its header contradicts itself on the voxel (mm): {said}: correct the header")
    apart = {name: _distance(form, used, nifti.shape) for name, form in forms.items()}
    right = [name for name, distance in apart.items() if distance <= _APART]
    wrong = [name for name, distance in apart.items() if distance > _APART]
    if wrong and right:
        remarks.append(f"qform and sform disagree by {apart[wrong[0]]:.1f} mm: the {right[0]} was used")
    elif wrong and min(nifti.pixdim) < 0:
        remarks.append(
            f"pixdim {listed(nifti.pixdim)} is below zero: the axis was turned, and where a program takes the "
            f"{wrong[-1]} the mask lies up to {apart[wrong[-1]]:.1f} mm beside the image"
        )
    elif wrong:
        raise InputError(
            f"{nifti.path}: ITK, and nnU-Net with it, places it {apart[wrong[0]]:.1f} mm from its {wrong[0]}: "
            "correct the header"
        )
    elif min(nifti.pixdim) < 0:
        remarks.append(f"pixdim {listed(nifti.pixdim)} is below zero: read without its sign")
    return remarks


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb"))


def _refuse_other_compression(path: Path) -> None:
    """Say what a file is that is not compressed as its name says; gzip tells two of its bytes."""
    if not path.name.lower().endswith(".gz"):
        return
    with path.open("rb") as stream:
        start = stream.read(_SIZE)
    if start[:2] == _GZIP:
        return
    if int.from_bytes(start[:4], "little") in _SIZES or int.from_bytes(start[:4], "big") in _SIZES:
        raise InputError(f"{path}: is not compressed: rename it to .nii")
    if start.startswith(_POINTERS) or b"annex/objects" in start:
        raise InputError(f"{path}: stands for a file that is not there: fetch it (git lfs pull, git annex get)")
    raise InputError(f"{path}: cannot be read: not a NIfTI file by its first bytes, and not compressed with gzip")


def _fields(path: Path, content: bytes) -> Any:
    if len(content) < _SIZE:
        raise InputError(f"{path}: cannot be read: it ends after {len(content)} bytes, within its header")
    if content[:2] == _GZIP:
        twice = path.name.lower().endswith(".gz")
        raise InputError(f"{path}: is compressed{' twice: unpack it once' if twice else ': rename it to .nii.gz'}")
    untyped: Any = nibabel.nifti1
    for order in "<>":
        fields = np.frombuffer(content, untyped.header_dtype.newbyteorder(order))[0]
        if fields["sizeof_hdr"] == _SIZE and bytes(fields["magic"])[:3] == _SINGLE_FILE:
            return fields
        if fields["sizeof_hdr"] == _NIFTI_2:
            raise InputError(f"{path}: is NIfTI-2, which ITK does not read: convert it to NIfTI-1")
    raise InputError(f"{path}: cannot be read: not a NIfTI file by its first bytes")


def _shape(path: Path, fields: Any) -> tuple[int, ...]:
    dim = [int(value) for value in fields["dim"]]
    if not 1 <= dim[0] <= 7 or any(length < 1 for length in dim[1 : 1 + dim[0]]):
        raise InputError(f"{path}: header field dim is {listed(dim)}; expected the number of axes and their lengths")
    shape = dim[1 : 1 + dim[0]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _dtype(path: Path, fields: Any) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in _TYPES:
        what = _NO_NUMBERS.get(code, f"data of type {code}, which is unknown")
        raise InputError(f"{path}: holds {what}; expected one number a voxel, as of a magnitude image")
    swapped = fields.dtype["datatype"].byteorder == ">"
    return np.dtype(f"{'>' if swapped else '<'}{_TYPES[code]}")


def _scale(path: Path, fields: Any) -> tuple[float, float]:
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        # Not set: the numbers are meant as they are stored. ITK adds the intercept nevertheless.
        if intercept != 0 and not math.isnan(intercept):
            raise InputError(f"{path}: header fields scl_slope {slope:g} and scl_inter {intercept:g}; expected 1 and 0")
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError(f"{path}: header fields scl_slope {slope:g} and scl_inter {intercept:g}; expected numbers")
    return slope, intercept


def _qform(path: Path, fields: Any, edges: list[float], unit: float) -> NDArray[np.float64] | None:
    if int(fields["qform_code"]) <= 0:
        return None
    b, c, d = (float(fields[f"quatern_{letter}"]) for letter in "bcd")
    offset = [float(fields[f"qoffset_{letter}"]) * unit for letter in "xyz"]
    square = b * b + c * c + d * d
    if not np.isfinite([b, c, d, *offset]).all() or square > 1.01:
        raise InputError(f"{path}: its qform is no rotation (quaternion {listed((b, c, d))}): correct the header")
    a = math.sqrt(max(0.0, 1 - square))
    if square > 1:
        b, c, d = (value / math.sqrt(square) for value in (b, c, d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = -1.0 if float(fields["pixdim"][0]) < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * [edges[0], edges[1], edges[2] * handed]
    affine[:3, 3] = offset
    return affine


def _sform(path: Path, fields: Any, unit: float) -> NDArray[np.float64] | None:
    if int(fields["sform_code"]) <= 0:
        return None
    affine = np.eye(4)
    affine[:3] = [np.asarray(fields[f"srow_{letter}"], dtype=float) * unit for letter in "xyz"]
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or edges.min() <= 0:
        raise InputError(f"{path}: its sform is no affine transform (rows {listed(affine[:3].ravel())})")
    axes = affine[:3, :3] / edges
    problem = geometry_problem((1, 1, 1), (1, 1, 1), (0, 0, 0), axes.ravel().tolist())
    if problem is not None:
        raise InputError(f"{path}: its sform: {problem}")
    return affine


def _affine(header: Header) -> NDArray[np.float64]:
    """Voxel to world (mm, RAS) of a 3D image."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(header.direction).reshape(3, 3) * header.spacing
    affine[:3, 3] = header.origin
    return _LPS @ affine


def _distance(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """How far two transforms put the corner of an image apart that they put furthest apart, in mm."""
    corners = np.array(np.meshgrid(*((0, length - 1) for length in shape[:3]), [1])).reshape(4, -1)
    return float(np.linalg.norm(((first - second) @ corners)[:3], axis=0).max())
