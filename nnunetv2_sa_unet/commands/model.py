"""``nnUNetv2_sa_unet model``: the models in the box."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.datasets import required_folder
from nnunetv2_sa_unet.weights.registry import DEFAULT, MODELS

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``model`` and what can be done with models to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "model",
        help="the trained models that come with this package",
        description="The trained models that come with this package. nnUNetv2_sa_unet segment uses them by name.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="which there are").set_defaults(act=_list)
    card = actions.add_parser("card", help="what a model was made of, what it reaches, and its limits")
    install = actions.add_parser(
        "install",
        help="lay a model down in nnUNet_results, for nnU-Net's own commands",
        description="Lay a model down in nnUNet_results as nnU-Net would have left it after training, so that "
        "nnUNetv2_predict, -pretrained_weights and other tools use it.",
    )
    for action, act in ((card, _card), (install, _install)):
        action.add_argument("name", choices=MODELS, metavar="NAME", help=f"of: {', '.join(MODELS)}")
        action.set_defaults(act=act)
    install.add_argument("--force", action="store_true", help="replace another model that is there")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    arguments.act(arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    for model in MODELS.values():
        used = " (segment uses it unless -m names another)" if model.name == DEFAULT else ""
        print(
            f"{model.name}, version {model.version}{used}\n"
            f"  {model.summary}\n"
            f"  {model.results}\n"
            f"  {model.pace}; licence {model.licence}; not for clinical use\n"
            f"  card: nnUNetv2_sa_unet model card {model.name}"
        )


def _card(arguments: argparse.Namespace) -> None:
    print(MODELS[arguments.name].card, end="")


def _install(arguments: argparse.Namespace) -> None:
    results = Path(required_folder("nnUNet_results"))
    from nnunetv2_sa_unet.nnunet.install import install_model, predict_words

    folder = install_model(MODELS[arguments.name], results, arguments.force)
    print(
        f"{arguments.name} lies in {folder}\n"
        "nnU-Net predicts with it (images NAME_0000.nii.gz in INPUT):\n"
        f"{shlex.join(predict_words(folder))} -i INPUT -o OUTPUT"
    )
