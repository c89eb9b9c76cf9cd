"""Whose files lie in the folder of a run: what no record names is somebody else's, and stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below
from nnunetv2_sa_unet.images.bids import sidecar_path
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.record import Options, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.record_files import TABLE_NAME
from nnunetv2_sa_unet.text import printable

__all__ = ["planned_files", "refuse_files_of_others", "written_files"]

_LISTED = 5
#: How the files of a BIDS derivative end; see ``images.bids.mask_path``.
_WITH_SIDECAR = ("_mask.nii.gz", "_probseg.nii.gz", "_dseg.nii.gz")


def written_files(folder: Path, row: Subject) -> Iterator[Path]:
    """What the run of a row wrote, or may have.

    Raises:
        InputError: the row names a file outside of the folder.
    """
    of_regions = None if row.regions is None else row.regions.map
    for name in (row.mask, row.probabilities, row.alternatives, row.dicom_seg, of_regions):
        if name is not None:
            path = below(folder, name)
            yield path
            # Outside of BIDS nothing stands beside a mask, and a JSON file of its name is somebody else's.
            if name.endswith(_WITH_SIDECAR):
                yield sidecar_path(path)


def planned_files(subject: FoundSubject, options: Options) -> Iterator[Path]:
    """What a run writes for a subject, below its folder.

    Args:
        subject: of the run.
        options: of the run.
    """
    images = [subject.mask]
    if options.probabilities:
        images.append(subject.probabilities)
        yield subject.alternatives
    if options.regions is not None:
        images.append(subject.regions)
    yield from images
    if options.dicom_seg and subject.is_dicom:
        yield subject.dicom_seg
    if subject.volume is not None:
        yield from map(sidecar_path, images)


def refuse_files_of_others(
    folder: Path,
    found: Segmentation | None,
    claimed: Iterable[str],
    subjects: Sequence[FoundSubject],
    options: Options,
) -> None:
    """Refuse to overwrite what no run of ``segment`` wrote, and to segment what one did.

    Args:
        folder: of the run.
        found: what an earlier run recorded there.
        claimed: files below the folder that a run which was killed may have written.
        subjects: of the run.
        options: of the run.

    Raises:
        InputError: a file that would be written is there and no record names it, or an input is a file that one names.
    """
    known = set(claimed)
    for row in found.subjects if found else ():
        known |= {path.relative_to(folder).as_posix() for path in written_files(folder, row)}
    planned = [path for subject in subjects for path in planned_files(subject, options)]
    if found is None:
        planned.append(Path(TABLE_NAME))
    _refuse(
        (path for path in planned if path.as_posix() not in known and (folder / path).exists()),
        f"{printable(folder)}: files are there that no run of segment wrote, and would be overwritten",
        "move them, or choose another folder with -o",
    )
    ours = {(folder / name).resolve() for name in known}
    inputs = (Path(one.path) for subject in subjects for one in subject.inputs if one.files is None)
    _refuse(
        (path for path in inputs if path.resolve() in ours),
        f"{printable(folder)}: among the inputs are files that segment wrote there",
        "name the images alone",
    )


def _refuse(paths: Iterable[Path], what: str, remedy: str) -> None:
    names = [printable(path) for path in paths]
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise InputError(f"{what}: {', '.join(names[:_LISTED])}{more}; {remedy}")
