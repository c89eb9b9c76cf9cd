"""Which images are the two visits of a pair: from a BIDS data set, or from a table."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.bids import BidsImage, find_flair
from nnunetv2_sa_unet.images.folders import PassedOver
from nnunetv2_sa_unet.longitudinal.record import ROLES
from nnunetv2_sa_unet.longitudinal.sessions import Order, by_label, session_order
from nnunetv2_sa_unet.text import is_utf8, printable

__all__ = ["VisitPair", "pairs_of_bids", "pairs_of_table"]

#: Of a table of pairs.
_COLUMNS = ("subject", *ROLES)
#: The names of a pair and of its visits begin the names of its files, of which file systems take 255 bytes.
_LONGEST_NAME = 180
#: Entities that do not tell apart volumes of one session, since every session has others.
_OF_THE_SESSION = ("sub", "ses")


@dataclass(frozen=True)
class VisitPair:
    """Two visits of a subject.

    Attributes:
        name: of the pair, which begins the names of its files.
        subject: its name.
        visits: what the earlier and the later visit are called.
        images: the FLAIR image of either, absolute: a file, or a folder that holds a DICOM series.
        order: what says which is the earlier one.
        remark: what is odd about that; empty if nothing is.
    """

    name: str
    subject: str
    visits: tuple[str, str]
    images: tuple[Path, Path]
    order: Literal["acq_time", "label", "table"] = "table"
    remark: str = ""


def pairs_of_bids(folder: Path) -> tuple[list[VisitPair], list[PassedOver]]:
    """Pair each session of a data set with the next one of its subject.

    Sessions follow each other by the times in ``sub-…_sessions.tsv``, or else by their labels, numbers in them by value
    (``sessions.session_order``). A session with several FLAIR volumes is paired by the other entities of their names
    (``acq``, ``run`` …).

    Returns:
        The pairs in the order of subjects and sessions, and the images that belong to none.

    Raises:
        InputError: this is no BIDS data set, or no subject in it has FLAIR of two sessions.
    """
    folder = Path(os.path.abspath(folder))
    images, passed_over = find_flair(folder)
    subjects: dict[str, dict[str, list[BidsImage]]] = {}
    for image in images:
        sessions = subjects.setdefault(image.entities["sub"], {})
        sessions.setdefault(image.entities.get("ses", ""), []).append(image)
    pairs: list[VisitPair] = []
    for subject, sessions in sorted(subjects.items(), key=lambda item: by_label(item[0])):
        order = session_order(folder, subject, sessions)
        for others, visits in _series(sessions, order):
            if len(visits) == 1:
                reason = f"the only visit of sub-{subject}" + (f" with {others}" if others else "")
                passed_over.append(PassedOver(visits[0].path, reason, not others))
            for first, second in itertools.pairwise(visits):
                named = tuple(f"ses-{image.entities.get('ses', '')}" for image in (first, second))
                name = "_".join([f"sub-{subject}", *named, *([others] if others else [])])
                visited, paths = (named[0], named[1]), (first.path, second.path)
                pairs.append(VisitPair(name, f"sub-{subject}", visited, paths, order.by, order.remark))
    if not pairs:
        raise InputError(
            f"{printable(folder)}: no subject has FLAIR of two sessions; expected files such as "
            "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
        )
    return pairs, sorted(passed_over, key=lambda each: str(each.path))


def _series(sessions: dict[str, list[BidsImage]], order: Order) -> Iterator[tuple[str, list[BidsImage]]]:
    """The volumes of a subject that belong together, by what their names share, each in the order of the sessions."""
    if all(len(images) == 1 for images in sessions.values()):
        yield "", [sessions[session][0] for session in order.sessions]
        return
    series: dict[str, list[BidsImage]] = {}
    for session in order.sessions:
        for image in sessions[session]:
            series.setdefault(_others(image), []).append(image)
    yield from sorted(series.items())


def _others(image: BidsImage) -> str:
    """What the name of an image says beside subject and session."""
    entities = [f"{key}-{value}" for key, value in image.entities.items() if key not in _OF_THE_SESSION]
    return "_".join([*entities, *image.words])


def pairs_of_table(table: Path) -> list[VisitPair]:
    """Read a table with the columns subject, first and second (commas or tabs).

    Paths are relative to the folder of the table.

    Raises:
        InputError: it cannot be read, or one line for every field that makes no sense.
    """
    where = printable(table)
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            lines = stream.read()
    except FileNotFoundError:
        raise InputError(f"--pairs {where}: there is no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"--pairs {where}: is no text in UTF-8; expected a table of commas or tabs") from None
    except OSError as error:
        raise InputError(f"--pairs {where}: cannot be read: {error.strerror or error}") from None
    head = (lines.splitlines() or [""])[0]
    reader = csv.reader(lines.splitlines(), delimiter="\t" if "\t" in head else ",")
    rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if any(map(str.strip, row))]
    columns = rows[0][1] if rows else []
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        raise InputError(
            f"--pairs {where}: line 1: columns {', '.join(map(printable, columns)) or 'none'}; expected "
            f"{', '.join(_COLUMNS)} ({', '.join(missing)} missing)"
        )
    pairs: list[VisitPair] = []
    problems: list[str] = []
    for number, row in rows[1:]:
        fields = {column: row[columns.index(column)] if columns.index(column) < len(row) else "" for column in _COLUMNS}
        wrong = [f"line {number}, column {column}: {what}" for column, what in _problems(fields, pairs)]
        problems += wrong
        if not wrong:
            first, second = (Path(os.path.abspath(table.parent / fields[column])) for column in _COLUMNS[1:])
            pairs.append(VisitPair(fields["subject"], fields["subject"], ROLES, (first, second)))
    if problems:
        raise InputError("\n".join(f"--pairs {where}: {problem}" for problem in problems))
    if not pairs:
        raise InputError(f"--pairs {where}: has no line below its head; expected a pair a line")
    return pairs


def _problems(fields: dict[str, str], before: Sequence[VisitPair]) -> Iterator[tuple[str, str]]:
    """What is wrong with the fields of a line, by column."""
    for column in _COLUMNS:
        if not fields[column]:
            yield (
                column,
                "empty; expected "
                + ("a name" if column == "subject" else "the path of an image, or of the folder of a DICOM series"),
            )
    name = fields["subject"]
    if name in (".", "..") or re.search(r"[/\\:\0]", name):
        yield "subject", f"{printable(name)} cannot begin the name of a file; expected letters, digits, - and _"
    elif len(name.encode(errors="replace")) > _LONGEST_NAME or not is_utf8(name):
        yield "subject", f"a name of more than {_LONGEST_NAME} bytes; choose a shorter one"
    elif name.lower() in [pair.name.lower() for pair in before]:
        yield "subject", f"{printable(name)} is above already; give each pair a name of its own, such as {name}-2"
    if fields["first"] and os.path.normpath(fields["first"]) == os.path.normpath(fields["second"]):
        yield "second", f"{printable(fields['second'])} is the first visit too; expected another image"
