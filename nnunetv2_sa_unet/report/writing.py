"""Write the report of a folder of segmented subjects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below, complete_or_absent, remove_unfinished, write_json, write_text
from nnunetv2_sa_unet.images.folders import images_in
from nnunetv2_sa_unet.images.processes import default_processes, mapping
from nnunetv2_sa_unet.report.page import ASSETS, SCRIPTS_AND_STYLES, render_page
from nnunetv2_sa_unet.report.section import SUBFOLDERS, examine, files_of
from nnunetv2_sa_unet.segmentation.record import Subject
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation
from nnunetv2_sa_unet.text import one_line

__all__ = ["FOLDER_NAME", "PAGE_NAME", "refuse_page_of_others", "write_report"]

PAGE_NAME = "report.html"
FOLDER_NAME = "report"
SUBJECTS_A_PROCESS = 8
#: What an earlier report wrote into its folder: a later one removes what it does not write again.
_FILES_NAME = "files.json"


def refuse_page_of_others(folder: Path) -> None:
    """Refuse to overwrite a page that no report wrote.

    Raises:
        InputError: there is one.
    """
    page = folder / PAGE_NAME
    if page.exists() and not (folder / FOLDER_NAME / _FILES_NAME).exists():
        raise InputError(f"{page}: was not written by this package and would be overwritten: move or rename it")


def write_report(folder: Path, references: Path | None = None) -> Path:
    """Write ``report.html`` and the folder ``report`` beside the masks.

    The same masks, images and references give the same bytes. Files of subjects that are no longer there are removed.

    Args:
        folder: that ``nnUNetv2_sa_unet segment`` wrote.
        references: folder of reference masks named after the subjects.

    Returns:
        The page.

    Raises:
        InputError: there is no record of a segmentation, or no folder of references, or the report would be written
            elsewhere through a link.
    """
    segmentation = read_segmentation(folder)
    refuse_page_of_others(folder)
    truths, problems = _references(references, segmentation.subjects)
    report = folder / FOLDER_NAME
    earlier = set(_earlier_files(report))
    planned = [name for row in segmentation.subjects for name in files_of(row.subject)]
    for name in (_FILES_NAME, *SCRIPTS_AND_STYLES, *planned):
        # A folder in it that is a link elsewhere is refused before anything is written.
        below(folder, Path(FOLDER_NAME, name))
    for place in (folder, report, *(report / name for name in SUBFOLDERS)):
        remove_unfinished(place)
    # Should this be stopped halfway, the next run knows of all files that there may be.
    write_json(report / _FILES_NAME, sorted({*earlier, *SCRIPTS_AND_STYLES, *planned}))
    # Starting a process takes about as long as some subjects.
    with mapping(min(default_processes(), len(segmentation.subjects) // SUBJECTS_A_PROCESS)) as apply:
        reports = list(
            apply(
                partial(examine, folder=folder, report=report),
                segmentation.subjects,
                [truths.get(row.subject) for row in segmentation.subjects],
            )
        )
    for name in SCRIPTS_AND_STYLES:
        with complete_or_absent(report / name) as temporary:
            shutil.copyfile(ASSETS / name, temporary)
    written = {*SCRIPTS_AND_STYLES, *(name for item in reports for name in (item.picture, item.viewer) if name)}
    write_text(folder / PAGE_NAME, render_page(segmentation, reports, problems))
    for name in sorted({*earlier, *planned} - written):
        below(report, name).unlink(missing_ok=True)
    write_json(report / _FILES_NAME, sorted(written))
    return folder / PAGE_NAME


def _references(folder: Path | None, rows: Sequence[Subject]) -> tuple[dict[str, Path], list[str]]:
    """The reference of each subject, and what is wrong with the folder, one line each."""
    if folder is None:
        return {}, []
    images = images_in(folder)
    truths, problems = {}, []
    for row in rows:
        paths = images.pop(row.subject, [])
        if len(paths) == 1:
            truths[row.subject] = paths[0]
        elif row.mask is not None:
            found = f"{' and '.join(path.name for path in paths)}: keep one of them" if paths else "no reference"
            problems.append(f"{row.subject}: {found} in {folder}; not scored")
    if images:
        problems.append(f"no subject is called {', '.join(images)}: left out, in {folder}")
    # Names of files may be bytes that are no text.
    return truths, [one_line(problem) for problem in problems]


def _earlier_files(report: Path) -> Iterator[str]:
    """The files of an earlier report that lie in its folder."""
    try:
        names = json.loads((report / _FILES_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    for name in names if isinstance(names, list) else ():
        # A list that somebody changed must not reach beyond the folder.
        with suppress(InputError):
            if isinstance(name, str) and below(report, name):
                yield name
