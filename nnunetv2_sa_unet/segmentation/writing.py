"""Images written below the folder of a run, and what is said when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import temporary_beside
from nnunetv2_sa_unet.images import writing as writing_images
from nnunetv2_sa_unet.text import one_line

__all__ = ["FolderError", "write_image", "writing"]

_BLOCK = 1 << 20


class FolderError(InputError):
    """The folder of a run cannot be written to, which ends the run: the next subject would fare no better."""


@contextmanager
def writing(path: Path, size: int) -> Iterator[None]:
    """Tell whether it is the folder or the image that keeps the block from writing a file.

    Args:
        path: that is written.
        size: of the image in bytes.

    Raises:
        FolderError: nothing of that size can be written there.
    """
    try:
        yield
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {one_line(error)}") from error
    except FolderError:
        raise
    except (RuntimeError, InputError):
        # ITK says the same of a full disk and of an image that the format does not hold.
        _try_to_write(path, size)
        raise


def write_image(image: SimpleITK.Image, path: Path, compressed: bool) -> None:
    """Write an image as :func:`.images.writing.write_image` does; see :func:`writing`."""
    size = image.GetNumberOfPixels() * image.GetSizeOfPixelComponent() * image.GetNumberOfComponentsPerPixel()
    with writing(path, size):
        writing_images.write_image(image, path, compressed)


def _try_to_write(path: Path, size: int) -> None:
    try:
        with temporary_beside(path) as trial, trial.open("wb") as stream:
            for _ in range(0, size, _BLOCK):
                stream.write(b"\1" * _BLOCK)
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {one_line(error)}") from error
