"""``nnUNetv2_sa_unet``: the command line.

A command is a module of this package with ``add_parser`` and ``run``. Heavy imports stay inside ``run``, so that
``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.text import one_line, printed

__all__ = ["main"]

COMMANDS = (
    "ablate", "bids-app", "convert", "demo", "doctor", "evaluate", "export-onnx", "finetune", "longitudinal", "model",
    "plan", "report", "segment", "tables",
)  # fmt: skip


class _Visible:
    """A stream that shows what control characters a name holds, and what its encoding does not have, as codes."""

    def __init__(self, stream: TextIO) -> None:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printed(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; those of the process if None.

    Returns:
        0 if all went well, 1 if the command found something wrong, 2 if its words could not be read, 130 if it was
        interrupted.
    """
    # The steps and workers that are started from here do not look for modules in the working folder (from Python 3.11).
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(cast("TextIO", _Visible(sys.stdout))))
        stack.enter_context(redirect_stderr(cast("TextIO", _Visible(sys.stderr))))
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
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
        sys.stdout.flush()
    except InputError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        _let_go_of_the_output()
        return _failed("nobody reads the output any more")
    except BrokenProcessPool:
        return _failed("a worker process was killed, perhaps for lack of memory: use fewer (-np), or more memory")
    except MemoryError:
        return _failed("there is not enough memory")
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _failed(one_line(f"{where}{error.strerror or error}"))
    return status


def _failed(reason: str, status: int = 1) -> int:
    with suppress(OSError):
        print(f"error: {reason}", file=sys.stderr)
    return status


def _let_go_of_the_output() -> None:
    """Or Python flushes once more at its end, and complains."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
