"""Files that are either complete or absent."""

from __future__ import annotations

import csv
import glob
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["complete_or_absent", "remove_leftovers", "write_json", "write_rows", "write_text"]


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an exception.

    The temporary name keeps the ending of ``path``, because image writers choose the format by it. If the
    block raises, the temporary file is removed and what stood at ``path`` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ending(path), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner reads; results are shared like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` left beside it; none may be writing it now."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{_ending(path)}"):
        leftover.unlink()


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
    """Write a file of text, complete or not at all."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
