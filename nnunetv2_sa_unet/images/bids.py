"""A data set in BIDS: its FLAIR volumes, read through pybids, and the masks of a derivative."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import write_json, write_text

__all__ = [
    "BIDS_VERSION", "NIFTI", "case_name", "describe_derivative", "find_flair", "flair_volumes", "mask_path",
    "open_data_set", "probabilities_path", "require_pybids", "sidecar_path", "write_sidecar",
]  # fmt: skip

NIFTI = [".nii", ".nii.gz"]
BIDS_VERSION = "1.10.0"
_README = """\
# White matter hyperintensities
Binary masks of white matter hyperintensities, and where asked for maps of their probability, on the grid of the FLAIR
volumes, predicted by nnU-Net with nnunetv2-sa-unet. The JSON file beside each names its FLAIR volume.
"""


def require_pybids() -> None:
    """Say how to install pybids.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("bids") is None:
        raise InputError('pybids is not installed: pip install "nnunetv2-sa-unet[bids]"')


def find_flair(source: Path) -> list[Path]:
    """Find every FLAIR volume of a BIDS data set, by path. No image is opened.

    Raises:
        InputError: this is no BIDS data set, it has no FLAIR, or pybids is not installed.
    """
    return sorted(
        Path(volume.path) for volume in flair_volumes(source, open_data_set(source, [], own_derivatives=False))
    )


def case_name(volume: Path) -> str:
    """The name of a volume without ``_FLAIR``: ``sub-01_ses-2``."""
    return volume.name.partition("_FLAIR.")[0]


def open_data_set(source: Path, derivatives: Sequence[Path], own_derivatives: bool = True) -> Any:
    require_pybids()
    from bids import BIDSLayout
    from bids.exceptions import BIDSDerivativesValidationError, BIDSValidationError

    own = source / "derivatives"
    try:
        layout = BIDSLayout(source, derivatives=own if own_derivatives and own.is_dir() else None)
        for folder in derivatives:
            layout.add_derivatives(folder)
    except (BIDSValidationError, BIDSDerivativesValidationError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: not a BIDS data set as pybids reads it: {reason}") from None
    return layout


def flair_volumes(source: Path, layout: Any) -> list[Any]:
    volumes: list[Any] = layout.get(scope="raw", suffix="FLAIR", extension=NIFTI)
    if not volumes:
        raise InputError(f"{source}: no FLAIR; expected files such as sub-01/anat/sub-01_FLAIR.nii.gz")
    return volumes


def mask_path(volume: Path) -> Path:
    """Where the mask of a FLAIR volume stands in a derivative.

    Args:
        volume: in its BIDS data set, such as ``sub-01/anat/sub-01_FLAIR.nii.gz``.
    """
    return volume.with_name(f"{case_name(volume)}_desc-wmh_mask.nii.gz")


def probabilities_path(volume: Path) -> Path:
    """Where the map of the probability of WMH stands; see :func:`mask_path`."""
    return volume.with_name(f"{case_name(volume)}_label-WMH_desc-wmh_probseg.nii.gz")


def sidecar_path(image: Path) -> Path:
    """Where the JSON file of a mask or map stands."""
    return image.with_name(image.name.replace(".nii.gz", ".json"))


def write_sidecar(image: Path, volume: Path) -> None:
    """Write the JSON file of a mask or map, which names its FLAIR volume; see :func:`mask_path` for ``volume``."""
    about = {"Type": "Lesion", "Sources": [f"bids:raw:{volume.as_posix()}"], "SpatialReference": "orig"}
    write_json(sidecar_path(image), about)


def describe_derivative(folder: Path, source: Path | None, others: Sequence[str] = ()) -> None:
    """Write what makes a folder a BIDS derivative, unless it is there.

    Args:
        folder: of the derivative.
        source: the BIDS data set, for its address; None if it is not known.
        others: patterns of files in the folder that are none of BIDS, for ``.bidsignore``.
    """
    if others:
        write_text(folder / ".bidsignore", "\n".join([*others, ""]))
    readme, description = folder / "README.md", folder / "dataset_description.json"
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
