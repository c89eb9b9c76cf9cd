"""How the commands that go through many images end."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["INTERRUPTED", "print_outcome"]

#: Status of a command that Ctrl-C stopped, as shells have it.
INTERRUPTED = 130


def print_outcome(statuses: Iterable[tuple[str, str]], done: str) -> int:
    """Say how many were done, and which are worth a look; the status of the command.

    Args:
        statuses: name and status (``ok``, ``warning`` or ``failed``) of each.
        done: what was done with those that did not fail, and where it stands, for the first line.
    """
    statuses = list(statuses)
    names = {wanted: [name for name, status in statuses if status == wanted] for wanted in ("warning", "failed")}
    print(f"{len(statuses) - len(names['failed'])} of {len(statuses)} {done}")
    for status, what in (("warning", "look at"), ("failed", "failed")):
        if names[status]:
            print(f"{what} {len(names[status])}: {', '.join(names[status])} (why: see the column message)")
    return 1 if names["failed"] else 0
