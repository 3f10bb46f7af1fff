"""Figures for tests, written shorter than a run takes."""

from __future__ import annotations

from bench.figures import Results, Series


def results(*found: tuple[str, str, int | None, list[float]], unit: str = "ms") -> Results:
    """Of a machine that does not matter."""
    series = [Series(measure, contender, unit, x, values, "abc") for measure, contender, x, values in found]
    return Results({"cpu": "a slow one"}, {"tmux": "tmux 3.3a"}, "2026-01-01 00:00 UTC", series)
