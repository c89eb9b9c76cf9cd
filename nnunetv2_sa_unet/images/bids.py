"""A data set in BIDS: its images by their names, and the masks of a derivative.

A name tells all that is needed (``sub-01_ses-2_acq-3D_FLAIR.nii.gz``), and it is read here, not through pybids: version
0.22.0 takes entities of the folders above the data set for those of its files, so that patients are mixed below a
folder called ``sub-…``, and leaves out in silence what its list of names does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json, write_text
from nnunetv2_sa_unet.images.folders import EMPTY_FOLDER, PassedOver, reason_for_passing, walk
from nnunetv2_sa_unet.text import printable

__all__ = [
    "BIDS_VERSION", "DESCRIPTION", "BidsImage", "case_name", "describe_derivative", "find_flair", "find_images",
    "mask_path", "probabilities_path", "sidecar_path", "write_sidecar",
]  # fmt: skip

DESCRIPTION = "dataset_description.json"
BIDS_VERSION = "1.10.0"
_README = """\
# White matter hyperintensities
Binary masks of white matter hyperintensities, and where asked for maps of their probability, on the grid of the FLAIR
volumes, predicted by nnU-Net with nnunetv2-sa-unet. The JSON file beside each names its FLAIR volume.
"""
_NIFTI = (".nii.gz", ".nii")
#: Folders at the top of a data set that hold no raw images of it.
_NOT_RAW = ("code", "derivatives", "models", "phenotype", "sourcedata", "stimuli")
#: Parts of a complex image that are no picture of the tissue.
_PARTS = {"phase": "phase", "real": "real part", "imag": "imaginary part"}


@dataclass(frozen=True)
class BidsImage:
    """An image of a data set.

    Attributes:
        path: of the file.
        place: in its data set.
        entities: by their short names, such as ``sub``, ``ses`` and ``acq``; subject and session are those of its
            folders where its name leaves them out.
        words: parts of the name that are no entity, the suffix aside.
        suffix: the last part of the name, such as ``FLAIR``.
    """

    path: Path
    place: Path
    entities: Mapping[str, str]
    words: tuple[str, ...]
    suffix: str


def find_flair(source: Path) -> tuple[list[BidsImage], list[PassedOver]]:
    """Find every FLAIR volume of a BIDS data set by the names of its files. No image is opened.

    Returns:
        The volumes in the order of their paths, and what else looks like one and is none, with the reason.

    Raises:
        InputError: this is no BIDS data set, or it has no FLAIR.
    """
    if not (source / DESCRIPTION).is_file():
        raise InputError(f"{printable(source)}: not a BIDS data set: there is no {DESCRIPTION} in it")
    images, passed_over = find_images(source, ("flair",), leave_out=_NOT_RAW)
    volumes = []
    for image in images:
        part, suffix = image.entities.get("part", "mag"), image.suffix
        if suffix != "FLAIR":
            if "flair" in image.path.name.lower():
                reason = f"not read as FLAIR, since the last part of its name is {suffix}"
                # An entity may speak of the FLAIR that another image was made for.
                own = "_".join([*image.words, suffix]).lower()
                passed_over.append(PassedOver(image.path, reason, "flair" not in own))
        elif not image.place.parts[0].startswith("sub-") or len(image.place.parts) == 1:
            passed_over.append(PassedOver(image.path, "does not lie in a folder sub-… of the data set", False))
        elif part != "mag":
            passed_over.append(PassedOver(image.path, f"the {_PARTS.get(part, part)} of a complex image", True))
        else:
            volumes.append(image)
    if not volumes:
        seen = "".join(f"\n  {printable(each.path)}: {each.reason}" for each in passed_over if not each.harmless)
        raise InputError(f"{printable(source)}: no FLAIR; expected files such as sub-01/anat/sub-01_FLAIR.nii.gz{seen}")
    return volumes, passed_over


def find_images(
    folder: Path, words: Sequence[str], leave_out: Sequence[str] = ()
) -> tuple[list[BidsImage], list[PassedOver]]:
    """Find every NIfTI file of a data set or derivative, in the order of their paths.

    Args:
        folder: of the data set; entities are read below it alone.
        words: in lower case, of which the names of the images that are looked for have one.
        leave_out: names of folders in it that are not looked into.

    Returns:
        The images, whatever their names; and what else may have been looked for and is not there: images whose name
        and folders contradict each other, files in other formats, folders of subjects that are empty or lead nowhere.
    """
    left_out: list[PassedOver] = []
    images = []
    for parent, names in walk(folder, left_out, leave_out):
        for path in (parent / name for name in names):
            if not path.name.lower().endswith(_NIFTI):
                left_out.append(reason_for_passing(path))
                continue
            image = _read_name(path, path.relative_to(folder))
            if isinstance(image, BidsImage):
                images.append(image)
            else:
                left_out.append(PassedOver(path, image, False))
    return sorted(images, key=lambda image: image.path), [each for each in left_out if _may_be_meant(each, words)]


def _may_be_meant(left_out: PassedOver, words: Sequence[str]) -> bool:
    """Whether something may be or hold an image that is looked for; derivatives are full of files of others."""
    path, name = left_out.path, left_out.path.name.lower()
    if path.is_dir() and left_out.reason != EMPTY_FOLDER:
        return True
    # A subject of which nothing was fetched is an empty folder, or a link to nowhere.
    if name.startswith(("sub-", "ses-", "anat")) and (path.is_dir() or (path.is_symlink() and not path.exists())):
        return True
    return any(word in name for word in words) and not left_out.harmless


def _read_name(path: Path, place: Path) -> BidsImage | str:
    """The image that a path names, or why it does not."""
    ending = next(ending for ending in _NIFTI if path.name.lower().endswith(ending))
    *parts, suffix = path.name[: -len(ending)].split("_")
    entities = dict(part.split("-", 1) for part in parts if "-" in part)
    for folder in _folders(place):
        key, _, value = folder.partition("-")
        if entities.setdefault(key, value) != value:
            return f"lies in {folder}, but its name says {key}-{entities[key]}"
    return BidsImage(path, place, entities, tuple(part for part in parts if "-" not in part), suffix)


def _folders(place: Path) -> list[str]:
    """The folders of a subject and session that a file lies in; what lies above the subject is no entity."""
    folders = place.parts[:-1]
    subjects = [index for index, folder in enumerate(folders) if folder.startswith("sub-")]
    if not subjects:
        return []
    subject, *session = folders[subjects[-1] :][:2]
    return [subject, *(folder for folder in session if folder.startswith("ses-"))]


def case_name(volume: Path) -> str:
    """The name of a volume without ``_FLAIR``: ``sub-01_ses-2``."""
    return volume.name.partition("_FLAIR.")[0]


def mask_path(volume: Path) -> Path:
    """Where the mask of a FLAIR volume stands in a derivative.

    Args:
        volume: in its BIDS data set, such as ``sub-01/anat/sub-01_FLAIR.nii.gz``.
    """
    return volume.with_name(f"{case_name(volume)}_desc-wmh_mask.nii.gz")


def probabilities_path(volume: Path) -> Path:
    """Where the map of the probability of WMH stands; see :func:`mask_path`."""
    return volume.with_name(f"{case_name(volume)}_label-WMH_desc-wmh_probseg.nii.gz")


def regions_path(volume: Path) -> Path:
    """Where the map of the regions of the head stands; see :func:`mask_path`."""
    return volume.with_name(f"{case_name(volume)}_desc-regions_dseg.nii.gz")


def sidecar_path(image: Path) -> Path:
    """Where the JSON file of a mask or map stands."""
    return image.with_name(image.name.replace(".nii.gz", ".json"))


def write_sidecar(image: Path, volume: Path, labels: Mapping[str, int] | None = None) -> None:
    """Write the JSON file of a mask or map, which names its FLAIR volume.

    Args:
        image: the mask or map.
        volume: see :func:`mask_path`.
        labels: values of a map of several labels by name; None for a mask or a probability.
    """
    what = {"Type": "Lesion"} if labels is None else {"LabelMap": {str(value): name for name, value in labels.items()}}
    about = {**what, "Sources": [f"bids:raw:{volume.as_posix()}"], "SpatialReference": "orig"}
    write_json(sidecar_path(image), about)


def describe_derivative(folder: Path, source: Path | None, others: Sequence[str] = ()) -> None:
    """Write what makes a folder a BIDS derivative, unless it is there.

    Args:
        folder: of the derivative.
        source: the BIDS data set, for its address; None if it is not known.
        others: patterns of files in the folder that are none of BIDS, for ``.bidsignore``.
    """
    ignore = folder / ".bidsignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    missing = [pattern for pattern in others if pattern not in lines]
    if missing:
        write_text(ignore, "\n".join([*lines, *missing, ""]))
    readme, description = folder / "README.md", folder / DESCRIPTION
    if not readme.exists():
        write_text(readme, _README)
    if description.exists():
        return
    write_json(
        description,
        {
            "Name": "White matter hyperintensities",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "nnunetv2-sa-unet", "Version": __version__}],
            **({"DatasetLinks": {"raw": source.resolve().as_uri()}} if source else {}),
        },
    )
