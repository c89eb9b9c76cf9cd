"""How much change is noise: what came and went on heads that had not changed (docs/benchmarks/longitudinal.md)."""

from __future__ import annotations

__all__ = ["LESION_MM3", "LESION_SHARE", "SOURCE", "TOTAL_ML", "TOTAL_SHARE", "lesion_noise_mm3", "total_noise_ml"]

#: Of a lesion: so many mm³, or such a share of its larger volume if that is more. In every group of sizes at least 95 %
#: of the lesions changed by no more.
LESION_MM3, LESION_SHARE = 110.0, 0.35
#: Of all lesions: so many ml, or such a share of the larger volume. No pair changed by more.
TOTAL_ML, TOTAL_SHARE = 0.3, 0.2
#: Where they are from, for the page and the methods: a clause after "the limits".
SOURCE = (
    "within which 280 of 281 lesions, and the whole volume in all of 24 pairs, stayed when six synthetic heads were "
    "scanned again in other positions, with other noise and other bias fields"
)


def lesion_noise_mm3(larger_mm3: float) -> float:
    """A change of a lesion of this volume at either visit, up to which it is noise."""
    return round(max(LESION_MM3, LESION_SHARE * larger_mm3), 3)


def total_noise_ml(larger_ml: float) -> float:
    """A change of a subject's whole volume, which is this at either visit, up to which it is noise."""
    return round(max(TOTAL_ML, TOTAL_SHARE * larger_ml), 3)
