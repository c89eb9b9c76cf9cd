"""Which program a command's name stands for."""

from __future__ import annotations

import shutil
import sys
import sysconfig

from nnunetv2_sa_unet.errors import InputError

__all__ = ["executable"]


def executable(name: str) -> list[str]:
    """The start of the command line that runs ``name`` of nnU-Net or of this package.

    Raises:
        InputError: there is no such program.
    """
    if name == "nnUNetv2_sa_unet":
        return [sys.executable, "-m", "nnunetv2_sa_unet.commands.main"]
    # The environment of this Python may not be activated: its own programs come first.
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if path is None:
        raise InputError(f"{name}: not found beside {sys.executable} nor in PATH; install nnunetv2 there")
    return [path]
