"""The columns of ``volumes.csv`` that say where WMH lie."""

from __future__ import annotations

from collections.abc import Iterator

from nnunetv2_sa_unet.regions.assignment import REGIONS, SIDES
from nnunetv2_sa_unet.segmentation.record import Regions, Subject

__all__ = ["ml_of_region", "ml_of_side", "region_columns", "region_values", "wmh_percent_icv"]


def ml_of_region(regions: Regions, region: str) -> float:
    """WMH in a region on both sides in ml."""
    return round(sum((regions.ml or {})[f"{region}_{side}"] for side in SIDES), 6)


def ml_of_side(regions: Regions, side: str) -> float:
    """WMH on one side in ml."""
    return round(sum((regions.ml or {})[f"{region}_{side}"] for region in REGIONS), 6)


def wmh_percent_icv(subject: Subject) -> float | None:
    """WMH as a share of the intracranial volume in per cent; None where that is not known."""
    regions = subject.regions
    if regions is None or not regions.icv_ml or subject.volume_ml is None:
        return None
    return round(100 * subject.volume_ml / regions.icv_ml, 4)


def region_columns(rule: str | None) -> tuple[str, ...]:
    """Their names; none without a rule."""
    if rule is None:
        return ()
    return (
        *(f"ml_{region}" for region in REGIONS),
        *(f"lesions_{region}" for region in REGIONS),
        *(f"ml_{side}" for side in SIDES),
        "icv_ml",
        "wmh_percent_icv",
        "registration",
    )


def region_values(subject: Subject, rule: str | None) -> Iterator[str | float | None]:
    """The values of a row; empty where the registration failed, or another rule was followed."""
    regions = subject.regions
    if rule is None:
        return
    if regions is None or regions.rule != rule or regions.ml is None:
        yield from [None] * (len(region_columns(rule)) - 1)
        yield regions.registration if regions is not None and regions.rule == rule else None
        return
    yield from (ml_of_region(regions, region) for region in REGIONS)
    yield from ((regions.lesions or {}).get(region) for region in REGIONS)
    yield from (ml_of_side(regions, side) for side in SIDES)
    yield from (regions.icv_ml, wmh_percent_icv(subject), regions.registration)
