"""What the numbers among the options may be, for the command line and the function alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CLEAR_ENDS", "MIN_VOLUME", "STEP_SIZE", "THRESHOLD", "Limit"]

#: Of the sliding window, in patches: a tenth makes 125 times as many patches as a half, and less would not end.
_SMALLEST_STEP = 0.1


@dataclass(frozen=True)
class Limit:
    """Which numbers are allowed, and that in words."""

    allows: Callable[[float], bool]
    expected: str


THRESHOLD = Limit(lambda number: 0 < number <= 1, "a number above 0 and at most 1")
MIN_VOLUME = Limit(lambda number: 0 < number < math.inf, "a number above 0")
CLEAR_ENDS = Limit(lambda number: 0 < number < 0.5, "a number above 0 and below 0.5")
STEP_SIZE = Limit(lambda number: _SMALLEST_STEP <= number <= 1, f"a number from {_SMALLEST_STEP} to 1")
