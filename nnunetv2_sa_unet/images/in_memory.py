"""Images that a program holds: SimpleITK's, nibabel's and arrays become SimpleITK's, and results what came in."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import nibabel
import numpy as np
import SimpleITK
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_problem, image_like
from nnunetv2_sa_unet.images.volumes import kind_problem, shape_problem
from nnunetv2_sa_unet.text import one_line

__all__ = ["ImageInMemory", "as_sitk", "in_type_of"]

ImageInMemory: TypeAlias = "SimpleITK.Image | SpatialImage | NDArray[Any]"

_OPPOSITES = ("RL", "AP", "SI")
#: Types that SimpleITK does not know, and what holds their values.
_STORED_AS = {"bool": "uint8", "float16": "float32", "float128": "float64"}


def as_sitk(
    image: ImageInMemory, spacing: Sequence[float] | None, orientation: str | None, name: str = "image"
) -> SimpleITK.Image:
    """An image as SimpleITK has it, with the voxels in the order in which they are.

    Args:
        image: 3D, of one channel.
        spacing: of an array, edges of a voxel in mm in the order of the array's axes; None for other images.
        orientation: of an array, where its axes run, in their order and by nibabel's letters: ``SPL`` for an array
            (z, y, x) of an LPS image of SimpleITK, ``RAS`` for an array (x, y, z) of an RAS image of nibabel.
        name: begins the messages of errors.

    Raises:
        InputError: an array comes without its geometry, another image with a second one; it is not 3D, does not hold
            one real and finite number a voxel, or its geometry makes no sense.
        TypeError: it is no image.
    """
    is_array = isinstance(image, np.ndarray)
    if not is_array and (spacing is not None or orientation is not None):
        raise InputError(f"{name}: has a geometry of its own: leave out spacing and orientation")
    if isinstance(image, SimpleITK.Image):
        made = image
    elif isinstance(image, SpatialImage):
        made = _of_nibabel(image, name)
    elif is_array:
        made = _of_array(image, spacing, orientation, name)
    else:
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        raise TypeError(f"{name}: found {kind}; expected a path, an image of SimpleITK or nibabel, or a NumPy array")
    problem = (
        shape_problem(made)
        or kind_problem(made)
        or geometry_problem(made.GetSize(), made.GetSpacing(), made.GetOrigin(), made.GetDirection())
        or _not_finite(SimpleITK.GetArrayViewFromImage(made))
    )
    if problem is not None:
        raise InputError(f"{name}: {problem}")
    return made


def in_type_of(image: ImageInMemory, values: NDArray[Any]) -> Any:
    """Values (z, y, x) on the grid of an image, as what it is: for nibabel's any a ``Nifti1Image``.

    Args:
        image: that :func:`as_sitk` took.
        values: in the order of SimpleITK's arrays of it.
    """
    if isinstance(image, SimpleITK.Image):
        return image_like(values, image)
    if isinstance(image, SpatialImage):
        return nibabel.Nifti1Image(values.T, image.affine)  # type: ignore[no-untyped-call]
    return values


def _of_nibabel(image: SpatialImage, name: str) -> SimpleITK.Image:
    try:
        values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name}: cannot be read: {one_line(error)}") from error
    if image.affine is None:
        raise InputError(f"{name}: has no affine, and with it no geometry")
    affine = np.array(image.affine, dtype=float)
    if values.ndim != 3:
        raise InputError(f"{name}: {values.ndim} axes; expected a 3D image of one channel")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    # SimpleITK's world axes run to the left and the back, nibabel's to the right and the front.
    lps = np.diag([-1.0, -1.0, 1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        direction = lps @ affine[:3, :3] / edges
    _refuse_geometry(values.shape, edges, lps @ affine[:3, 3], direction, name)
    made = _image(values.T, name)
    made.SetSpacing(edges.tolist())
    made.SetOrigin((lps @ affine[:3, 3]).tolist())
    made.SetDirection(direction.ravel().tolist())
    return made


def _of_array(
    values: NDArray[Any], spacing: Sequence[float] | None, orientation: str | None, name: str
) -> SimpleITK.Image:
    if spacing is None or orientation is None:
        raise InputError(
            f"{name}: an array says nothing of its voxels: give spacing=(…, …, …), their edges in mm, and "
            "orientation='…', where its axes run, both in the order of its axes (such as 'SPL' for (z, y, x) of an LPS "
            "image); or give an image of SimpleITK or nibabel"
        )
    if values.ndim != 3:
        raise InputError(f"{name}: {values.ndim} axes; expected a 3D array of one channel")
    code = orientation.upper() if isinstance(orientation, str) else ""
    if len(code) != 3 or not all(any(letter in pair for letter in code) for pair in _OPPOSITES):
        raise InputError(
            f"orientation: found {orientation!r}; expected three letters, one of R and L, one of A and P and one of S "
            "and I, such as 'SPL': to where the array's axes run"
        )
    if len(spacing) != 3:
        raise InputError(f"spacing: found {len(spacing)} numbers; expected one a voxel's edge in mm, three")
    edges = [float(edge) for edge in spacing][::-1]
    # ITK names the fastest axis first, which is an array's last.
    direction = SimpleITK.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code[::-1])
    _refuse_geometry(values.shape[::-1], edges, (0, 0, 0), direction, name)
    made = _image(values, name)
    made.SetSpacing(edges)
    made.SetDirection(direction)
    return made


def _refuse_geometry(size: Sequence[int], spacing: Any, origin: Any, direction: Any, name: str) -> None:
    """Before ITK is asked to hold it, which has words of its own for what makes no sense."""
    problem = geometry_problem(size, list(spacing), list(origin), np.ravel(direction).tolist())
    if problem is not None:
        raise InputError(f"{name}: {problem}")


def _image(values: NDArray[Any], name: str) -> SimpleITK.Image:
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: holds {values.dtype}; expected one real number a voxel")
    native = values.dtype.newbyteorder("=")
    return SimpleITK.GetImageFromArray(np.ascontiguousarray(values, _STORED_AS.get(native.name, native)))


def _not_finite(values: NDArray[Any]) -> str | None:
    if not np.issubdtype(values.dtype, np.floating):
        return None
    wrong = math.prod(values.shape) - int(np.isfinite(values).sum())
    return f"{wrong} voxels hold no number (NaN) or are infinite" if wrong else None
