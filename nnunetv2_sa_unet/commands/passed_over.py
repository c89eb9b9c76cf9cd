"""What was looked at and not used, said once."""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2_sa_unet.images.folders import PassedOver
from nnunetv2_sa_unet.text import printable

__all__ = ["print_passed_over"]


def print_passed_over(passed_over: Sequence[PassedOver]) -> None:
    """Name everything that is not used, once, by the reason; first what may have been meant to be."""
    reasons: dict[tuple[bool, str], list[str]] = {}
    for each in passed_over:
        reasons.setdefault((each.harmless, each.reason), []).append(printable(each.path))
    for (harmless, reason), paths in sorted(reasons.items()):
        print(f"{'passed over' if harmless else 'LEFT OUT'}: {', '.join(paths)}: {reason}")
