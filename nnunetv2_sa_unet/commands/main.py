"""``nnUNetv2_sa_unet``: the command line.

A command is a module of this package with ``add_parser`` and ``run``. Heavy imports stay inside ``run``, so that
``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError

__all__ = ["main"]

COMMANDS = (
    "ablate", "benchmark", "convert", "demo", "doctor", "evaluate", "export-onnx", "finetune", "model", "plan",
    "report", "segment", "tables",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; those of the process if None.

    Returns:
        0 if all went well, 1 if the command found something wrong, 2 if its words could not be read.
    """
    parser = argparse.ArgumentParser(
        prog="nnUNetv2_sa_unet",
        description="3D SA-UNet for nnU-Net v2: what nnU-Net's own commands do not do.",
    )
    parser.add_argument("--version", action="version", version=f"nnunetv2-sa-unet {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"nnunetv2_sa_unet.commands.{name.replace('-', '_')}")
        subparser = module.add_parser(subparsers)
        subparser.set_defaults(run=module.run)
    namespace = parser.parse_args(arguments)
    try:
        status: int = namespace.run(namespace)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
