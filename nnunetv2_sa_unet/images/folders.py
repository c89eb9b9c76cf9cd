"""The images of a folder, by name, and what in it is none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.text import printable

__all__ = [
    "DANGLING", "EMPTY_FOLDER", "IMAGE_ENDINGS", "PassedOver", "images_and_others", "images_in", "reason_for_passing",
    "walk",
]  # fmt: skip

#: Endings of the 3D images that SimpleITK reads with a full header. The longer ones come first.
IMAGE_ENDINGS = (".nii.gz", ".gipl.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl")
#: What a link is that leads nowhere.
DANGLING = "a link to a file that is not there: fetch it (datalad get, git annex get) or mount its disk"
#: What a folder is of which nothing was copied, or fetched.
EMPTY_FOLDER = "an empty folder: fetch what belongs there, or remove it"
#: Endings of images in formats that are not read, with what to do.
_OTHER_IMAGES = {
    ".mgz": "FreeSurfer's format is not read: convert it to NIfTI (mri_convert)",
    ".mgh": "FreeSurfer's format is not read: convert it to NIfTI (mri_convert)",
    ".hdr": "a pair of .hdr and .img is not read: convert it to NIfTI (.nii.gz)",
    ".img": "a pair of .hdr and .img is not read: convert it to NIfTI (.nii.gz)",
    ".mnc": "MINC is not read: convert it to NIfTI (mnc2nii)",
    ".head": "AFNI's format is not read: convert it to NIfTI (3dAFNItoNIFTI)",
    ".brik": "AFNI's format is not read: convert it to NIfTI (3dAFNItoNIFTI)",
    ".brik.gz": "AFNI's format is not read: convert it to NIfTI (3dAFNItoNIFTI)",
    ".par": "Philips PAR/REC is not read: convert it to NIfTI (dcm2niix)",
    ".rec": "Philips PAR/REC is not read: convert it to NIfTI (dcm2niix)",
    ".dcm": "a DICOM file: give a folder of DICOM series alone",
    ".dicom": "a DICOM file: give a folder of DICOM series alone",
    ".ima": "a DICOM file: give a folder of DICOM series alone",
}
#: Further endings of files that may hold an image: unfinished downloads, and other compressions.
_WRAPPED = (
    ".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp", ".bz2", ".xz", ".zst", ".lzma", ".z", ".zip",
    ".7z", ".rar", ".tar", ".tgz", ".gz",
)  # fmt: skip
#: Files that are no image even where they are empty.
_NO_IMAGES = (
    ".txt", ".json", ".csv", ".tsv", ".md", ".log", ".xml", ".html", ".bval", ".bvec", ".pdf", ".png", ".jpg", ".py",
)  # fmt: skip
#: Files that hold voxels for a header beside them.
_VOXELS = (".raw", ".zraw", ".raw.gz")


@dataclass(frozen=True)
class PassedOver:
    """Something that was looked at and not used.

    Attributes:
        path: of the file or folder.
        reason: why not, in one line.
        harmless: whether it plainly is no image that was meant to be read.
    """

    path: Path
    reason: str
    harmless: bool


def images_in(folder: Path) -> dict[str, list[Path]]:
    """The images of a folder by case, the file's name without its ending, in alphabetical order.

    Other files (nnU-Net's JSON, NPZ and PKL files), folders and hidden files are passed over; links whose file is not
    there and folders that are named as an image are not, so that they are missed by name. A case has more than one
    path if it is stored in several formats.

    Raises:
        InputError: there is no such folder, or it cannot be read.
    """
    return images_and_others(folder)[0]


def images_and_others(folder: Path) -> tuple[dict[str, list[Path]], list[PassedOver]]:
    """As :func:`images_in`, with what was passed over; hidden files are not looked at."""
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: no such folder; expected a folder of images, one a case")
    images: dict[str, list[Path]] = {}
    others = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{printable(folder)}: cannot be read: {error.strerror}") from error
    for path in entries:
        ending = next((ending for ending in IMAGE_ENDINGS if path.name.lower().endswith(ending)), None)
        if path.name.startswith("."):
            continue
        if ending is not None:
            images.setdefault(path.name[: -len(ending)], []).append(path)
        else:
            others.append(reason_for_passing(path))
    return images, others


def reason_for_passing(path: Path) -> PassedOver:
    """Why a file or folder is not read that is no image by its name."""
    name = path.name.lower()
    if path.is_symlink() and not path.exists():
        return PassedOver(path, DANGLING, False)
    if not os.access(path, os.R_OK):
        return PassedOver(path, "cannot be read: no permission", False)
    if not (path.is_dir() or path.is_file()):
        return PassedOver(path, "a pipe or a device", False)
    if path.is_dir():
        return PassedOver(path, "a folder, which is not looked into", True)
    if name.endswith(IMAGE_ENDINGS):
        return PassedOver(path, "an image file among DICOM folders: give its folder as an input of its own", False)
    for ending, reason in _OTHER_IMAGES.items():
        if name.endswith(ending):
            return PassedOver(path, reason, False)
    if name.endswith(_VOXELS):
        return PassedOver(path, "voxels, which are read with the header beside them", True)
    if name.endswith(_WRAPPED):
        return PassedOver(path, "unfinished, or packed in a way that is not read", False)
    if not name.endswith(_NO_IMAGES) and path.is_file() and not path.stat().st_size:
        return PassedOver(path, "is empty (0 bytes)", False)
    return PassedOver(path, "no image by its name", True)


def walk(
    folder: Path, passed_over: list[PassedOver], leave_out: Sequence[str] = ()
) -> Iterator[tuple[Path, list[str]]]:
    """Go through a folder and those below it, in the order of their names, and through linked folders once.

    Args:
        folder: where to begin.
        passed_over: grows by folders that cannot be read or hold nothing, and by links to folders that were seen.
        leave_out: names of folders in the first one that are not looked into.

    Yields:
        A folder and the names of the files in it; hidden ones are left out.
    """
    seen = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        real = os.path.realpath(place)
        if real in seen:
            passed_over.append(PassedOver(place, "a link to a folder that was looked at already", True))
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            passed_over.append(PassedOver(place, f"a folder that cannot be read: {error.strerror}", False))
            continue
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        if not shown and place != folder:
            passed_over.append(PassedOver(place, EMPTY_FOLDER, False))
        yield place, [entry.name for entry in shown if not entry.is_dir()]
        left_out = leave_out if place == folder else ()
        waiting += [place / entry.name for entry in reversed(shown) if entry.is_dir() and entry.name not in left_out]
