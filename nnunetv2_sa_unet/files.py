"""Files that are either complete or absent."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.errors import InputError

__all__ = [
    "complete_or_absent", "make_writable", "remove_unfinished", "sha256", "temporary_beside", "write_json",
    "write_rows", "write_text",
]  # fmt: skip

# The umask can only be read by setting it, for all threads at once.
_UMASK = threading.Lock()
#: What a temporary file ends in whose file has no ending.
_NO_ENDING = ".unfinished"
# The name of a file, the eight characters that tempfile adds, and the file's ending again.
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}(?P<ending>(\.nii)?\.\w+)")


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a new, hidden file in the folder of ``path``, which is made if need be; remove it when the block ends.

    Its name keeps the ending of ``path``, because image writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix or _NO_ENDING
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=ending, dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what :func:`temporary_beside` could not, because its process was killed; not in subfolders."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = _UNFINISHED.fullmatch(path.name)
        if found and (found["name"].endswith(found["ending"]) or found["ending"] == _NO_ENDING):
            path.unlink(missing_ok=True)


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an exception.

    If the block raises, the temporary file is removed and what stood at ``path`` stays.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        # mkstemp makes files that only their owner reads; results are shared like any other file.
        with _UMASK:
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)


def make_writable(folder: Path) -> None:
    """Find out that nothing can be written before minutes are spent on what is to be written.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InputError(f"{folder}: cannot be written to; choose a folder that can with -o")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=4, allow_nan=False) + "\n")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV, complete or not at all; None becomes an empty field."""
    with complete_or_absent(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a file of text with the same bytes on every system, complete or not at all."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of the bytes of files, one after the other."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                found.update(block)
    return found.hexdigest()
