"""Files that are either complete or absent, below the folder that they belong to, written by one process at a time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.text import cell, is_utf8, one_line, printable

__all__ = [
    "below", "complete_or_absent", "held", "is_intact", "locked", "make_writable", "path_from", "remove_unfinished",
    "sha256", "synced", "temporary_beside", "write_json", "write_rows", "write_text",
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
    except InputError as error:
        # The name is drawn at random, and the message may be recorded.
        raise InputError(str(error).replace(name, str(path))) from error
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
        try:
            yield temporary
            # mkstemp makes files that only their owner reads; results are shared like any other file.
            with _UMASK:
                umask = os.umask(0)
                os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            # What the disk does not take is told here at the latest, before the file has its name.
            synced(temporary)
            os.replace(temporary, path)
        except OSError as error:
            # A full disk is told without a name.
            if error.filename is None and error.errno is not None:
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise


def synced(path: Path) -> None:
    """Wait until the disk has a file.

    Raises:
        OSError: it does not take it.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def below(folder: Path, name: str | Path) -> Path:
    """The path of a file below a folder, made of a name that others wrote (a record, a table, a header).

    Every path that is written or deleted and whose name is not of our own making is made here.

    Raises:
        InputError: the name is empty, absolute, goes up, or leads out of the folder through a link.
    """
    given = PurePath(name)
    path = folder / given
    leaves = not given.parts or given.is_absolute() or ".." in given.parts or "\0" in str(name)
    if not leaves:
        leaves = not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder))
    if leaves:
        raise InputError(
            f"{printable(str(name)) or 'an empty name'}: leads out of {printable(folder)}; expected a path below"
        )
    return path


def path_from(folder: Path, path: str | Path) -> str:
    """A path as records have it: from their folder on, because the folders above both may speak of people and places.

    With / on every system; as it is where no path leads from one to the other (two drives of Windows).
    """
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path)


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file while the block runs; the system releases it when its process ends, however it ends.

    Args:
        path: of the file, whose folder is there.
        wait: for another process to release it.

    Yields:
        whether it is held; False only if another process holds it and ``wait`` is false.
    """
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def held(folder: Path, beside: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone while the block runs; a kill releases it.

    Args:
        folder: which is there, or whose parent is.
        beside: lock beside the folder and not in it, because the folder itself will be replaced.

    Raises:
        InputError: there is no such folder, or another process holds it, with who that is.
    """
    place = folder.parent if beside else folder
    if not place.is_dir():
        raise InputError(f"{printable(place)}: there is no such folder")
    start = f".{folder.name}" if beside else ""
    path = place / f"{start}.lock"
    # Apart from the lock itself: some systems do not let others read what is locked.
    holder = place / f"{start}.lock.json"
    while True:
        with locked(path) as is_ours:
            if not is_ours:
                raise InputError(
                    f"{printable(folder)}: another run is writing there ({_who(holder)}): wait for it to end, or "
                    "choose another folder"
                )
            if not path.exists():
                # Its last holder removed it between our opening and our locking: nobody else would see this lock.
                continue
            try:
                command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
                since = datetime.now().astimezone().isoformat(timespec="seconds")
                who = {"process": os.getpid(), "host": socket.gethostname(), "since": since, "command": command}
                holder.write_text(json.dumps(who) + "\n", encoding="utf-8")
                yield
                return
            finally:
                # While it is still held, so that what is removed is ours.
                with suppress(OSError):
                    holder.unlink(missing_ok=True)
                    path.unlink()


def _who(holder: Path) -> str:
    try:
        said = json.loads(holder.read_text(encoding="utf-8"))
        return one_line(f"process {said['process']} on {said['host']} since {said['since']}: {said['command']}")
    except (OSError, ValueError, KeyError, TypeError):
        return "it does not say who"


def make_writable(folder: Path) -> None:
    """Find out that nothing can be written before minutes are spent on what is to be written.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    if not is_utf8(folder):
        raise InputError(f"{printable(folder)}: its name is no UTF-8; choose another folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InputError(f"{printable(folder)}: cannot be written to; choose a folder that can with -o")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=4, allow_nan=False) + "\n")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV, complete or not at all; None becomes an empty field, and text never a formula."""
    with complete_or_absent(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(value) for value in row] for row in rows)


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


def is_intact(path: Path, digest: str | None) -> bool:
    """Whether a file is there as it was when its SHA-256 was noted."""
    return path.is_file() and sha256([path]) == digest
