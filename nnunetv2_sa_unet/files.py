"""Files that are either complete or absent."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["complete_or_absent", "write_json"]


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an exception.

    The temporary name keeps the ending of ``path``, because image writers choose the format by it. If the
    block raises, the temporary file is removed and what stood at ``path`` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=ending, dir=path.parent)
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


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, complete or not at all."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(json.dumps(value, indent=4, allow_nan=False) + "\n", encoding="utf-8")
