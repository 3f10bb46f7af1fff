"""PURE: what was measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass
class Series:
    """All figures of one quantity.

    Attributes:
        measure: what, with a dot before a part of it: ``echo.p50``.
        x: what it grows with (sessions, clients, MiB of log); None where nothing does.
        values: one of each round.
        commit: what of toowl was measured; parts of a file may be newer than others.
    """

    measure: str
    contender: str
    unit: str
    x: int | None
    values: list[float]
    commit: str = ""


@dataclass
class Results:
    """What one file holds."""

    machine: dict[str, str]
    versions: dict[str, str]
    taken: str
    series: list[Series]

    def find(self, measure: str, contender: str, x: int | None = None) -> Series | None:
        """None where it was not measured."""
        for found in self.series:
            if (found.measure, found.contender, found.x) == (measure, contender, x):
                return found
        return None


def merge(old: Results, new: Results) -> Results:
    """The new ones, and of the old ones what was not measured again."""
    again = {series.measure.partition(".")[0] for series in new.series}
    kept = [series for series in old.series if series.measure.partition(".")[0] not in again]
    return dataclasses.replace(new, series=[*kept, *new.series])
