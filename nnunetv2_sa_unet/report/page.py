"""The page, made from the subjects' reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.regions.assignment import REGIONS
from nnunetv2_sa_unet.report import lesions, outliers
from nnunetv2_sa_unet.report.charts import Profile, distribution, profile
from nnunetv2_sa_unet.report.flags import Flag, flags_of
from nnunetv2_sa_unet.report.lesions import Lesion
from nnunetv2_sa_unet.report.mosaic import MOST_SLICES
from nnunetv2_sa_unet.report.section import SubjectReport, file_stem
from nnunetv2_sa_unet.scores.lesion_sizes import SIZE_CLASSES, SizeClass
from nnunetv2_sa_unet.segmentation.record import Segmentation, Subject
from nnunetv2_sa_unet.segmentation.region_columns import ml_of_region, wmh_percent_icv

__all__ = ["ASSETS", "SCRIPTS_AND_STYLES", "render_page"]

ASSETS = Path(__file__).with_name("assets")
#: What the page loads, copied beside it, with the notices of what is not this project's.
SCRIPTS_AND_STYLES = ("NOTICE.md", "niivue.umd.js", "page.css", "page.js", "viewer.js")
#: Lesions that a section lists: the largest, and beyond these the ones that are worth a look.
LARGEST_LISTED, OTHERS_LISTED = 10, 30


@dataclass(frozen=True)
class Listed:
    """A lesion in a section's list: its rank by size among its own kind, and what is to be said of it."""

    rank: int
    lesion: Lesion
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class RegionTable:
    """Where the WMH of a subject lie.

    Attributes:
        rows: name of a region, ml on the left, on the right and on both sides, number of lesions.
        icv_ml: intracranial volume.
        percent: WMH as a share of it.
        confluent: whether each lesion has one region.
    """

    rows: tuple[tuple[str, float, float, float, int], ...]
    icv_ml: float
    percent: float
    confluent: bool


@dataclass(frozen=True)
class Section:
    """A subject as the template needs it."""

    anchor: str
    report: SubjectReport
    flags: tuple[Flag, ...]
    profile: Profile | None
    regions: RegionTable | None
    listed: tuple[Listed, ...]
    unlisted: int


def template_environment(folder: Path) -> Environment:
    """How templates of pages are read: what is not theirs is escaped, and a name that nobody gave is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(segmentation: Segmentation, reports: Sequence[SubjectReport], problems: Sequence[str]) -> str:
    """The page as HTML.

    Args:
        segmentation: the record of the run.
        reports: one a subject, in its order.
        problems: what was wrong with the references, one line each.
    """
    environment = template_environment(ASSETS)
    environment.filters["ml"] = _ml
    environment.filters["size"] = _size
    volumes = {report.row.subject: report.row.volume_ml for report in reports if report.row.volume_ml is not None}
    spread = outliers.spread_of(volumes)
    sections = [_section(report, flags_of(report, spread)) for report in reports]
    return environment.get_template("page.html").render(
        version=__version__,
        segmentation=segmentation,
        sections=sections,
        anchors={section.report.row.subject: section.anchor for section in sections},
        problems=problems,
        scored=any(report.findings and report.findings.metrics for report in reports),
        spread=spread,
        chart=distribution(volumes, spread),
        quartiles=[float(value) for value in np.percentile(list(volumes.values()), (25, 50, 75))] if volumes else None,
        sizes=SIZE_CLASSES,
        lesions=lesions,
        outliers=outliers,
        most_slices=MOST_SLICES,
    )


def _section(report: SubjectReport, flags: tuple[Flag, ...]) -> Section:
    findings = report.findings
    listed = [] if findings is None else _listed(findings.lesions, findings.missed)
    return Section(
        anchor=f"subject-{file_stem(report.row.subject)}",
        report=report,
        flags=flags,
        profile=None
        if findings is None
        else profile(
            findings.profile_ml, findings.reference_profile_ml, [tile.number for tile in findings.mosaic.tiles]
        ),
        regions=_regions(report.row),
        listed=tuple(listed),
        unlisted=0 if findings is None else len(findings.lesions) + len(findings.missed) - len(listed),
    )


def _regions(row: Subject) -> RegionTable | None:
    regions = row.regions
    if regions is None or regions.ml is None or regions.lesions is None or not regions.icv_ml:
        return None
    rows = [
        (
            region,
            regions.ml[f"{region}_left"],
            regions.ml[f"{region}_right"],
            ml_of_region(regions, region),
            regions.lesions[region],
        )
        for region in REGIONS
    ]
    return RegionTable(tuple(rows), regions.icv_ml, wmh_percent_icv(row) or 0.0, regions.rule == "confluent")


def _listed(found: Sequence[Lesion], missed: Sequence[Lesion]) -> list[Listed]:
    rows = []
    for rank, lesion in enumerate(found, start=1):
        remarks = {
            "false positive": lesion.counterpart is False,
            "outside brain": lesion.outside,
            "cut by edge": lesion.cut,
        }
        rows.append(Listed(rank, lesion, tuple(remark for remark, holds in remarks.items() if holds)))
    largest, others = rows[:LARGEST_LISTED], [row for row in rows[LARGEST_LISTED:] if row.remarks]
    others += [Listed(rank, lesion, ("missed",)) for rank, lesion in enumerate(missed, start=1)]
    others.sort(key=lambda row: -row.lesion.ml)
    return sorted([*largest, *others[:OTHERS_LISTED]], key=lambda row: -row.lesion.ml)


def _ml(volume: float) -> str:
    """Two digits behind the point, and three where that would hide a small lesion."""
    return f"{volume:.2f}" if volume == 0 or volume >= 0.095 else f"{volume:.3f}"


def _size(size: SizeClass) -> str:
    """A size class in mm³, for the head of a column."""
    if size.limit is None:
        return f"≥\N{NO-BREAK SPACE}{size.smallest:g}"
    if not size.smallest:
        return f"<\N{NO-BREAK SPACE}{size.limit:g}"
    return f"{size.smallest:g}\N{WORD JOINER}–\N{WORD JOINER}{size.limit:g}"
