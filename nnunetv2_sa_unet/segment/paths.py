"""Where a run may write and delete."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_sa_unet.errors import InputError

__all__ = ["below"]


def below(folder: Path, name: str | Path) -> Path:
    """The path of a file below the folder of a run; every path that is written or deleted there comes from here.

    Args:
        folder: of the run.
        name: relative to it; from a record that somebody may have changed.

    Raises:
        InputError: it is absolute, or leads out of the folder by ``..`` or through a link.
    """
    path = folder / name
    # The file itself may be a link: it is replaced or removed, and what it points to stays.
    outside = Path(name).is_absolute() or ".." in Path(name).parts
    if outside or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{folder}: {name}: leads out of this folder, and nothing is written or deleted there; expected a path "
            "below it"
        )
    return path
