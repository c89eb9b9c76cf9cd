"""Whether the masks that a folder holds may stand in one table with those of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nnunetv2_sa_unet.files import below, sha256
from nnunetv2_sa_unet.images.text_headers import files_of
from nnunetv2_sa_unet.segmentation.record import Decision, Segmentation, Subject

__all__ = ["obstacles"]


def obstacles(
    folder: Path, found: Segmentation, wanted: Segmentation, names: set[str], exclude: Mapping[str, Path]
) -> list[str]:
    """Why a run cannot go on in a folder, a line each; versions of packages and the device are no reason.

    What changes what the network says never goes together with what is there. What changes only how its probabilities
    become a mask does, if they are there: then the masks are made anew from them.

    Args:
        folder: of the run.
        found: its record.
        wanted: the record of the run, without subjects.
        names: of the subjects of the run.
        exclude: masks where nothing is WMH, by subject.
    """
    lines = list(_network_differences(found, wanted))
    if wanted.options.probabilities and not found.options.probabilities:
        lines.append("  options.probabilities: there False, now True")
    decision = wanted.options.decision
    others = [row for row in found.subjects if row.mask is not None and row.decision != decision]
    # All rows of a table are decided alike.
    left_out = [row.subject for row in others if row.subject not in names]
    if left_out:
        lines += _decision_differences(others, decision)
        lines.append(f"  subjects there that are not among the inputs: {', '.join(left_out)}")
    without_map = [row for row in others if row.subject in names and not _has_map(folder, row)]
    if without_map:
        lines += _decision_differences(without_map, decision)
    if found.options.exclude != wanted.options.exclude:
        changed = [row for row in found.subjects if row.subject in names and not _has_map(folder, row)]
        if any(row.mask is not None and _hash_of(row) != _hash_at(exclude.get(row.subject)) for row in changed):
            lines.append(f"  options.exclude: there {found.options.exclude}, now {wanted.options.exclude}")
    return list(dict.fromkeys(lines))


def _network_differences(found: Segmentation, wanted: Segmentation) -> Iterator[str]:
    there, now = ({**dict(_flat(each.model.model_dump(exclude={"folder"}), "model."))} for each in (found, wanted))
    if found.model.orientation is None:
        # Its rows are looked at one by one: those whose images needed no turning are as good as new.
        there.pop("model.orientation"), now.pop("model.orientation")
    for each, values in ((found, there), (wanted, now)):
        values |= {
            "options.step_size": each.options.step_size,
            "options.mirroring": each.options.mirroring,
            "segmentation_version": each.segmentation_version,
        }
    for key in dict.fromkeys([*there, *now]):
        if there.get(key) != now.get(key):
            yield f"  {key}: there {there.get(key)}, now {now.get(key)}"


def _decision_differences(rows: list[Subject], wanted: Decision) -> list[str]:
    return [
        f"  options.{key}: there {getattr(row.decision, key)}, now {getattr(wanted, key)}"
        for row in rows
        for key in Decision.model_fields
        if getattr(row.decision, key) != getattr(wanted, key)
    ]


def _has_map(folder: Path, row: Subject) -> bool:
    return row.probabilities is not None and below(folder, row.probabilities).is_file()


def _hash_of(row: Subject) -> str | None:
    return None if row.exclude is None else row.exclude.sha256


def _hash_at(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return sha256(files_of(path))
    except OSError:
        # Which becomes the trouble of its subject.
        return ""


def _flat(values: dict[str, object], prefix: str) -> list[tuple[str, object]]:
    items: list[tuple[str, object]] = []
    for key, value in values.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return items
