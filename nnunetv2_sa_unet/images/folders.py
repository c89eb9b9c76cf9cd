"""The images of a folder, by name."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_sa_unet.errors import InputError

__all__ = ["IMAGE_ENDINGS", "images_in"]

#: Endings of the 3D images that SimpleITK reads with a full header. The longer ones come first.
IMAGE_ENDINGS = (".nii.gz", ".gipl.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl")


def images_in(folder: Path) -> dict[str, list[Path]]:
    """The images of a folder by case, the file's name without its ending, in alphabetical order.

    Other files (nnU-Net's JSON, NPZ and PKL files), folders and hidden files are passed over. A case has more
    than one path if it is stored in several formats.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of images, one a case")
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in IMAGE_ENDINGS if path.name.lower().endswith(ending)), None)
        if ending is not None and path.is_file() and not path.name.startswith("."):
            images.setdefault(path.name[: -len(ending)], []).append(path)
    return images
