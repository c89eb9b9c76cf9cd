"""Some of the participants and sessions of a BIDS data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.inputs import Found, FoundSubject
from nnunetv2_sa_unet.text import printable

__all__ = ["chosen"]

_LISTED = 20


def chosen(found: Found, study: Path, participants: Sequence[str], sessions: Sequence[str]) -> Found:
    """The subjects with these labels, and what was passed over of them.

    Args:
        found: in the data set.
        study: the data set, absolute.
        participants: labels, with ``sub-`` or without; none for all.
        sessions: labels, with ``ses-`` or without; none for all.

    Raises:
        InputError: a label is no participant's with FLAIR, or no session's of those that are chosen.
    """
    subjects = found.subjects
    for option, key, labels in (("--participant-label", "sub-", participants), ("--session-label", "ses-", sessions)):
        if labels:
            subjects = _of(subjects, study, option, key, {label.removeprefix(key) for label in labels})
    places = {study / subject.volume.parts[0] for subject in subjects if subject.volume is not None}
    passed_over = [
        each
        for each in found.passed_over
        if not participants or any(place in (each.path, *each.path.parents) for place in places)
    ]
    return Found(subjects, passed_over)


def _of(subjects: Iterable[FoundSubject], study: Path, option: str, key: str, labels: set[str]) -> list[FoundSubject]:
    by_label: dict[str, list[FoundSubject]] = {}
    for subject in subjects:
        by_label.setdefault(_label(subject, key), []).append(subject)
    missing = sorted(labels - by_label.keys())
    if missing:
        there = sorted(label for label in by_label if label)
        listed = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
        raise InputError(
            f"{option} {printable(' '.join(missing))}: no FLAIR of that label in {printable(study)}; there is "
            f"{f'FLAIR of {listed}' if there else f'no FLAIR with a {key}… label'}"
        )
    return [subject for label in sorted(labels) for subject in by_label[label]]


def _label(subject: FoundSubject, key: str) -> str:
    """The value of an entity in the folders and the name of a volume; empty without one."""
    parts = [] if subject.volume is None else [*subject.volume.parts[:-1], *subject.name.split("_")]
    return next((part.removeprefix(key) for part in parts if part.startswith(key)), "")
