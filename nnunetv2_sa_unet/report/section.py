"""The report of one subject: its findings, and the files of its own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.report.findings import Findings, examine_masks
from nnunetv2_sa_unet.report.subject_images import read_volumes
from nnunetv2_sa_unet.report.viewer_files import viewer_script
from nnunetv2_sa_unet.segmentation.record import Subject

__all__ = ["SUBFOLDERS", "SubjectReport", "examine", "file_stem", "files_of"]

#: Of the report's folder: pictures of slices, and volumes for the viewer.
SUBFOLDERS = ("slices", "volumes")


@dataclass(frozen=True)
class SubjectReport:
    """A subject of the report.

    Attributes:
        row: its row of the table of volumes.
        remarks: what is missing and why, one line each.
        findings: None without a mask.
        picture: file of its slices in the report's folder, None without an image.
        viewer: file of its volumes in the report's folder, None without an image.
    """

    row: Subject
    remarks: tuple[str, ...]
    findings: Findings | None = None
    picture: str | None = None
    viewer: str | None = None


def file_stem(subject: str) -> str:
    """A name for a subject's files that is safe in any file system and URL, and its own."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", subject):
        return subject
    digest = hashlib.sha256(subject.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', subject)[:60]}-{digest}"


def files_of(subject: str) -> tuple[str, str]:
    """A subject's picture and its script for the viewer in the report's folder."""
    stem = file_stem(subject)
    slices, volumes = SUBFOLDERS
    return f"{slices}/{stem}.jpg", f"{volumes}/{stem}.js"


def examine(row: Subject, reference: Path | None, folder: Path, report: Path) -> SubjectReport:
    """Look at one subject and write its files.

    Args:
        row: of the table of volumes.
        reference: the subject's reference mask, if there is one.
        folder: that the masks were written to.
        report: the report's own folder.
    """
    if row.mask is None:
        return SubjectReport(row, ())
    try:
        volumes = read_volumes(folder, row, reference)
    except InputError as error:
        return SubjectReport(row, (f"mask: {error}",))
    examination = examine_masks(volumes)
    findings = examination.findings
    result = SubjectReport(row, volumes.remarks, findings)
    if findings.mosaic.picture is None:
        return result
    picture, viewer = files_of(row.subject)
    for name, content in (
        (picture, findings.mosaic.picture),
        (viewer, viewer_script(viewer, volumes, examination.overlays, examination.box)),
    ):
        with complete_or_absent(report / name) as temporary:
            temporary.write_bytes(content)
    # The picture is a file now: keeping a hundred of them in memory would serve nobody.
    bare = replace(findings, mosaic=replace(findings.mosaic, picture=None))
    return SubjectReport(row, volumes.remarks, bare, picture, viewer)
