"""PURE: from many figures to a few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie; between two, the straight line (Hyndman and Fan's type 7)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class Summary:
    """The middle, and where the middle half lies."""

    median: float
    low: float
    high: float


def summary(values: Sequence[float]) -> Summary:
    """Of at least one value."""
    return Summary(quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75))
