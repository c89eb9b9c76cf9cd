"""In which order the sessions of a subject were: by the times that a BIDS data set gives them, else by their labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from nnunetv2_sa_unet.text import one_line

__all__ = ["Order", "by_label", "session_order"]

_TIME = "acq_time"


@dataclass(frozen=True)
class Order:
    """The sessions of a subject, one after the other.

    Attributes:
        sessions: their labels without ``ses-``; empty for images outside of any.
        by: what says so.
        remark: why their times were passed over, although the data set gives some; empty if it does not.
    """

    sessions: list[str]
    by: Literal["acq_time", "label"]
    remark: str = ""


def session_order(folder: Path, subject: str, sessions: Iterable[str]) -> Order:
    """Order sessions by the column ``acq_time`` of ``sub-…_sessions.tsv``, if it gives the time of each, else by label.

    Args:
        folder: of the data set.
        subject: its label, without ``sub-``.
        sessions: labels of those to order.
    """
    labels = sorted(sessions, key=by_label)
    path = folder / f"sub-{subject}" / f"sub-{subject}_sessions.tsv"
    if len(labels) == 1 or not path.exists():
        return Order(labels, "label")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = [{key: (row[key] or "").strip() for key in ("session_id", _TIME) if key in row} for row in reader]
            is_timed = _TIME in (reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error):
        return Order(labels, "label", f"{path.name}: cannot be read: the sessions are in the order of their labels")
    if not is_timed:
        return Order(labels, "label")
    times: dict[str, datetime] = {}
    problems = list(_read_times(labels, rows, times))
    if problems:
        said = one_line("; ".join(problems))
        return Order(labels, "label", f"{path.name}: {said}: the sessions are in the order of their labels")
    return Order(sorted(labels, key=times.__getitem__), "acq_time")


def by_label(label: str) -> list[tuple[int, str]]:
    """Sorts ``2`` before ``10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", label)]


def _read_times(labels: Sequence[str], rows: Sequence[dict[str, str]], times: dict[str, datetime]) -> Iterator[str]:
    """Note the time of each session, and say why they cannot be told apart."""
    for label in labels:
        found = {row[_TIME] for row in rows if row.get("session_id") == f"ses-{label}"}
        if len(found) != 1:
            listed = f" ({', '.join(sorted(found))})" if found else ""
            yield f"{len(found) or 'no'} {_TIME} for ses-{label}{listed}, expected one"
            continue
        (text,) = found
        try:
            times[label] = _time(text)
        except ValueError:
            yield f"{_TIME} of ses-{label} is {text or 'empty'}, expected a time such as 2009-06-15T13:45:30"
    if len({time.tzinfo is None for time in times.values()}) > 1:
        yield f"{_TIME} of some sessions is in UTC (Z) and of others in local time, expected one of them"
        return
    for time in sorted(set(times.values())):
        same = [f"ses-{label}" for label in labels if times.get(label) == time]
        if len(same) > 1:
            yield f"{' and '.join(same)} have one {_TIME}"


def _time(text: str) -> datetime:
    """A time as BIDS writes it; Python 3.10 reads no Z, and fractions of a second of three or six digits alone."""
    whole = re.sub(r"\.(\d{1,6})\d*", lambda fraction: f".{fraction[1]:0<6}", text)
    return datetime.fromisoformat(re.sub("Z$", "+00:00", whole))
