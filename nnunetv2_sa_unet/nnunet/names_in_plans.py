"""What the names in a model's plans lead to, before any of it is called.

Plans name classes and functions: the network and what it is built of by dotted names, which may lead anywhere in
Python, the rest by plain names, which nnU-Net looks up in its own modules, where other modules' names are to be found
too. So what a name leads to is looked at, not the name alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import nnunetv2
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ImageNormalization
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.checkpoints import TRUST

__all__ = ["check_names"]

_ROOTS = ("torch", "nnunetv2", "dynamic_network_architectures", "nnunetv2_sa_unet")
_RESAMPLING = "nnunetv2.preprocessing.resampling"


def check_names(plans: PlansManager, configuration: ConfigurationManager, trust: bool) -> None:
    """Look up every name that prediction uses.

    Args:
        plans: of the model.
        configuration: its own.
        trust: let the dotted names lead anywhere.

    Raises:
        InputError: a name leads nowhere, or to something else than its field is for: a part of a network in torch,
            nnU-Net, dynamic-network-architectures, this package or the folders of ``nnUNet_extTrainer``; a reader,
            preprocessor, normalisation, resampling or label manager of nnU-Net.
    """
    if not trust:
        for field, name in _dotted(configuration):
            _check_part(field, name)
    values = configuration.configuration
    for field, name, found, expected in (
        ("image_reader_writer", plans.plans["image_reader_writer"], plans.image_reader_writer_class, BaseReaderWriter),
        ("label_manager", plans.plans.get("label_manager"), plans.label_manager_class, LabelManager),
        ("preprocessor_name", values["preprocessor_name"], configuration.preprocessor_class, DefaultPreprocessor),
        *(
            ("normalization_schemes", name, _normalisation(name), ImageNormalization)
            for name in values["normalization_schemes"]
        ),
    ):
        if not (isinstance(found, type) and issubclass(found, expected)):
            raise InputError(f"{field}: found {name}, which is no {expected.__name__} of nnU-Net {_version()}")
    for field in ("resampling_fn_data", "resampling_fn_probabilities"):
        function = getattr(configuration, field).func
        if not getattr(function, "__module__", "").startswith(_RESAMPLING):
            raise InputError(f"{field}: found {values[field]}, which is no resampling of nnU-Net {_version()}")


def _dotted(configuration: ConfigurationManager) -> Iterator[tuple[str, str]]:
    architecture = configuration.configuration["architecture"]
    yield "network_class_name", architecture["network_class_name"]
    for key in architecture["_kw_requires_import"]:
        if architecture["arch_kwargs"][key] is not None:
            yield f"arch_kwargs.{key}", architecture["arch_kwargs"][key]


def _check_part(field: str, name: str) -> None:
    expected = (
        f"expected a part of a network in {', '.join((*_ROOTS, 'nnUNet_extTrainer'))}; give {TRUST} if you trust where "
        "this model is from"
    )
    if not _is_known(str(name)):
        raise InputError(f"architecture.{field}: found {name}; {expected}")
    found = locate(name)
    # Of classes that moved nnU-Net looks for one of the same name.
    if found is None and field == "network_class_name":
        return
    if not (isinstance(found, type) and issubclass(found, nn.Module) and _is_known(found.__module__)):
        raise InputError(f"architecture.{field}: found {name}, which is {found!r}; {expected}")


def _is_known(dotted: str) -> bool:
    root = dotted.partition(".")[0]
    folders = [Path(folder) for folder in os.environ.get("nnUNet_extTrainer", "").split(os.pathsep) if folder.strip()]
    return root in _ROOTS or any((folder / root).is_dir() or (folder / f"{root}.py").is_file() for folder in folders)


def _normalisation(name: str) -> Any:
    folder = os.path.join(nnunetv2.__path__[0], "preprocessing", "normalization")
    return recursive_find_python_class(folder, name, "nnunetv2.preprocessing.normalization")


def _version() -> str:
    from importlib.metadata import version

    return version("nnunetv2")
