"""What about a subject is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_sa_unet.images.quality import ImageQuality
from nnunetv2_sa_unet.report.lesions import Lesion
from nnunetv2_sa_unet.report.outliers import LIMIT, Spread
from nnunetv2_sa_unet.report.section import SubjectReport

__all__ = ["Flag", "flags_of"]


@dataclass(frozen=True)
class Flag:
    """A word for the table and a sentence for the subject's section."""

    word: str
    sentence: str


def flags_of(report: SubjectReport, spread: Spread | None) -> tuple[Flag, ...]:
    """The flags of one subject; the rules stand in ``docs/how-to/report.md`` and on the page."""
    flags = []
    score = spread.outliers().get(report.row.subject) if spread else None
    if spread and score is not None:
        side = "much larger" if score > 0 else "much smaller"
        flags.append(
            Flag(
                "volume",
                f"The volume of {report.row.volume_ml:.2f} ml is {side} than the cohort's (median "
                f"{spread.median_ml:.2f} ml; robust z {score:+.1f}, limit ±{LIMIT:g}).",
            )
        )
    regions = report.row.regions
    if regions is not None and regions.registration == "failed":
        flags.append(Flag("no regions", f"The registration to the atlas failed, so there are none: {regions.reason}."))
    if report.row.quality is not None:
        measured = ImageQuality(**report.row.quality.model_dump(exclude={"flags"}))
        flags += [Flag(finding.word, f"Image: {finding.sentence}.") for finding in measured.findings()]
    if report.findings is None:
        return tuple(flags)
    outside = [lesion for lesion in report.findings.lesions if lesion.outside]
    cut = [lesion for lesion in report.findings.lesions if lesion.cut]
    if outside:
        flags.append(Flag("outside brain", f"{_counted(outside)} outside the brain."))
    if cut:
        flags.append(Flag("cut by edge", f"{_counted(cut)} at the edge of the volume: a part may be missing."))
    return tuple(flags)


def _counted(lesions: Sequence[Lesion]) -> str:
    volume = f"({sum(lesion.ml for lesion in lesions):.2f} ml)"
    return f"1 lesion {volume} lies" if len(lesions) == 1 else f"{len(lesions)} lesions {volume} lie"
