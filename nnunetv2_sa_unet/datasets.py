"""nnU-Net's folders, and the names and numbers of the data sets in them."""

from __future__ import annotations

import os

from nnunetv2_sa_unet.errors import InputError

__all__ = ["FOLDERS", "dataset_name", "dataset_number", "required_folder"]

#: The environment variables that name nnU-Net's folders.
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def required_folder(variable: str) -> str:
    """Return the folder that one of nnU-Net's environment variables names.

    Raises:
        InputError: if the variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise InputError(f"{variable}: not set: export it as for nnU-Net's own commands")
    return value


def dataset_name(dataset: str) -> str:
    """Return a data set's full name (``Dataset001_NAME``) from its number or name.

    Raises:
        InputError: if nnU-Net does not know it.
    """
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    required_folder("nnUNet_preprocessed")
    try:
        return str(maybe_convert_to_dataset_name(dataset))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"-d {dataset}: {reason}") from None


def dataset_number(name: str) -> int:
    """Return the number in a data set's full name, which some of nnU-Net's commands ask for.

    >>> dataset_number("Dataset007_FLAIR_WMH")
    7
    """
    return int(name.removeprefix("Dataset").partition("_")[0])
