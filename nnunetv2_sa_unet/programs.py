"""Which program a command's name stands for."""

from __future__ import annotations

import ctypes
import shutil
import signal
import sys
import sysconfig
from collections.abc import Callable

from nnunetv2_sa_unet.errors import InputError

__all__ = ["ending_with_us", "executable"]

# PR_SET_PDEATHSIG of sys/prctl.h.
_SET_SIGNAL_OF_PARENTS_DEATH = 1


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


def ending_with_us() -> Callable[[], None] | None:
    """What a program that is started begins with (``preexec_fn``), so that a kill of this process ends it, too.

    Returns:
        None where the system cannot do it; only Linux can.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: between fork and exec nothing may be imported.
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)

    return ask
