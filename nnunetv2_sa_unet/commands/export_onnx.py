"""``nnUNetv2_sa_unet export-onnx``: a trained fold as an ONNX file."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.commands.arguments import add_trust
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.weights.registry import boxed_at, find_model

__all__ = ["add_parser", "run"]

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``export-onnx`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export-onnx",
        help="write the network of a trained fold as an ONNX file",
        description="Write the network of one fold of a trained model as an ONNX file and compare it with torch on a "
        "patch. The file holds the network alone: preprocessing and the sliding window stay nnU-Net's.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="nnU-Net's folder of the trained model, or the name of a model in the box"
    )
    parser.add_argument("-f", dest="fold", required=True, metavar="FOLD", help="fold (0 to 4, or all)")
    parser.add_argument("-chk", dest="checkpoint", metavar="NAME", help="file of the fold (checkpoint_final.pth)")
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="what to write (beside the checkpoint, or ./NAME.onnx)"
    )
    add_trust(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Load, export, compare and write."""
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise InputError(
            f"export-onnx: needs {', '.join(absent)}: install the extra with pip install 'nnunetv2-sa-unet[onnx]'"
        )
    from nnunetv2_sa_unet.nnunet.onnx_file import INPUT, OUTPUT, TOLERANCE, example_patch, load_fold, write_onnx

    model, checkpoint = find_model(arguments.model, arguments.checkpoint)
    boxed = boxed_at(model)
    # Nothing is written into the package.
    beside = (model / f"fold_{arguments.fold}" / checkpoint).with_suffix(".onnx")
    path: Path = arguments.output or (beside if boxed is None else Path(f"{boxed.name}.onnx"))
    if path.suffix != ".onnx":
        raise InputError(f"-o {path}: ends in {path.suffix or 'nothing'}, expected .onnx")
    fold = load_fold(model, arguments.fold, checkpoint, arguments.trust_model)
    example, origin = example_patch(fold)
    difference = write_onnx(fold, example, path)
    shape = ", ".join(map(str, (fold.n_channels, *fold.patch_size)))
    print(
        f"Written: {path}\n"
        f"Takes:   {INPUT} (N, {shape}), float32, preprocessed as nnU-Net does; gives {OUTPUT}\n"
        f"Checked: largest difference to torch {difference:.1e} (at most {TOLERANCE:.0e}), on {origin}"
    )
    return 0
