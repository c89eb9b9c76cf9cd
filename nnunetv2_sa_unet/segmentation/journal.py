"""A file of JSON lines that grows while a run goes on; a line is on the disk before its writer goes on."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.errors import InputError

__all__ = ["append_line", "read_lines"]


def append_line(path: Path, entry: Any) -> None:
    """Add an entry to the end of the file, which is made if need be.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps(entry, allow_nan=False).encode() + b"\n"
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError:
            # Another thread may still add a line, which must not follow a part of this one.
            stream.truncate(before)
            raise


def read_lines(path: Path) -> list[Any]:
    """The entries of the file, without a last line whose writer was killed; none if there is no file.

    Raises:
        InputError: it cannot be read, or a line before the last one is no JSON.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    entries: list[Any] = []
    # What stands behind the last line break, if anything, was not written to its end.
    for number, line in enumerate(lines[:-1], 1):
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            # A disk that lost power may hold other bytes in the place of the last line.
            if number == len(lines) - 1:
                break
            raise InputError(f"{path}: line {number}: {error}; expected JSON; restore the file or remove it") from None
    return entries
