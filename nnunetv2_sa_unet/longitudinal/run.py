"""Many pairs of visits through one model, each for itself.

First all pairs are registered and written half-way, then ``segment``'s own run makes the masks of all these images in a
folder of its own, then the masks are compared. What an earlier run registered or segmented is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import make_writable
from nnunetv2_sa_unet.images.processes import default_processes
from nnunetv2_sa_unet.longitudinal.comparing import compare
from nnunetv2_sa_unet.longitudinal.folder import MASKS_FOLDER, ChangesFolder, image_name
from nnunetv2_sa_unet.longitudinal.methods import write_longitudinal_methods
from nnunetv2_sa_unet.longitudinal.page import write_page
from nnunetv2_sa_unet.longitudinal.pairs import VisitPair
from nnunetv2_sa_unet.longitudinal.record import LONGITUDINAL_VERSION, ROLES, Changes, Pair
from nnunetv2_sa_unet.longitudinal.registering import register_pair
from nnunetv2_sa_unet.segmentation.folder import RunFolder
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.preparation import Job, failed
from nnunetv2_sa_unet.segmentation.record import Input, Segmentation, Subject
from nnunetv2_sa_unet.segmentation.run import segment_all
from nnunetv2_sa_unet.segmentation.writing import FolderError
from nnunetv2_sa_unet.text import one_line

__all__ = ["compare_visits"]


def compare_visits(
    folder: Path,
    pairs: Sequence[VisitPair],
    segmenter: Segmenter,
    header: Segmentation,
    force: bool,
    page: bool,
    say: Callable[[str], None],
) -> list[Pair]:
    """Register, segment and compare pairs, and write all files.

    Args:
        folder: of the run, which this process holds.
        pairs: to compare.
        segmenter: the model, of one channel.
        header: record of the segmentation, without subjects.
        force: start over where other results are.
        page: make one.
        say: prints a line.

    Returns:
        The rows of these pairs, in the order of their names.

    Raises:
        InputError: the folder holds results of another model or other options, or files of others, or cannot be
            written to.
    """
    pairs = sorted(pairs, key=lambda pair: pair.name)
    changes_header = Changes(
        nnunetv2_sa_unet=header.nnunetv2_sa_unet,
        versions=header.versions,
        model=header.model,
        options=header.options,
        longitudinal_version=LONGITUDINAL_VERSION,
        pairs=[],
    )
    # An earlier run's masks of another model are told before anything is registered.
    subjects = {(pair.name, role): _subject(folder, pair, role) for pair in pairs for role in ROLES}
    masks_folder = folder / MASKS_FOLDER
    make_writable(masks_folder)
    changes = ChangesFolder(folder, changes_header, pairs)
    masks = RunFolder(masks_folder, header, list(subjects.values()), {}, force, say)
    changes.begin(force)
    registered = _register(folder, pairs, changes, say)
    rows = _segment(
        Job(segmenter, masks.header.options, masks_folder, {}, masks.earlier, header.made_with),
        masks,
        {subjects[pair.pair, role]: pair for pair in registered for role in ROLES},
    )
    compared = [_compared(folder, pair, rows) for pair in registered]
    record = changes.finish(compared)
    write_longitudinal_methods(folder, record, say)
    if page:
        say(f"wrote {write_page(folder, record)}")
    return compared


def _subject(folder: Path, pair: VisitPair, role: str) -> FoundSubject:
    """The image half-way of a visit, as ``segment`` sees it."""
    image = folder / image_name(pair.name, role)
    return FoundSubject(f"{pair.name}_{role}", (Input(path=str(image), sha256=None),))


def _register(
    folder: Path, pairs: Sequence[VisitPair], changes: ChangesFolder, say: Callable[[str], None]
) -> list[Pair]:
    """Register all pairs, several at a time, in the order of the pairs."""
    with ThreadPoolExecutor(default_processes()) as pool:
        waiting = [pool.submit(register_pair, folder, pair, changes.earlier.get(pair.name)) for pair in pairs]
        rows = []
        try:
            for number, future in enumerate(waiting, 1):
                row, is_new = future.result()
                rows.append(row)
                line = f"[{number:{len(str(len(pairs)))}}/{len(pairs)}] {_registration_line(row)}"
                if is_new:
                    changes.registered(row)
                say(line if is_new else f"{line} (done before)")
        finally:
            pool.shutdown(cancel_futures=True)
    return rows


def _registration_line(row: Pair) -> str:
    if row.motion is None:
        return f"{row.pair}: FAILED: {row.message}"
    moved = f"{row.motion.shift_mm:.1f} mm and {row.motion.degrees:.1f}°"
    return f"{row.pair}: registered, {moved} apart" + (f"; {row.message}" if row.message else "")


def _segment(job: Job, masks: RunFolder, subjects: dict[FoundSubject, Pair]) -> dict[str, Subject]:
    """Make the masks of all visits; the rows by the names of the subjects."""
    for subject, pair in subjects.items():
        if pair.motion is None:
            # The pair has said so.
            masks.add(failed(subject, list(subject.inputs), f"not registered: {pair.message}"), True, aloud=False)
    segment_all(job, [subject for subject, pair in subjects.items() if pair.motion is not None], masks.add)
    return {row.subject: row for row in masks.finish(with_methods=False).subjects}


def _compared(folder: Path, pair: Pair, rows: dict[str, Subject]) -> Pair:
    """The row of a pair with its figures, or why there are none."""
    if pair.motion is None:
        return pair
    first, second = (rows[f"{pair.pair}_{role}"] for role in ROLES)
    problems = [
        f"{visit.visit}: {row.message}"
        for visit, row in zip(pair.visits, (first, second), strict=True)
        if row.mask is None
    ]
    if not problems:
        try:
            return compare(folder, pair, (first, second))
        except FolderError:
            raise
        except InputError as error:
            problems = [one_line(error)]
    return pair.model_copy(update={"status": "failed", "message": "; ".join(problems)})
