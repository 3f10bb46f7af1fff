"""PURE: tables of figures in Markdown: a row for each contender, median and quartiles in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Results
from bench.stats import summary

#: In the order of the rows.
LABELS = {
    "bare": "bare PTY",
    "dtach": "dtach",
    "abduco": "abduco",
    "tmux": "tmux",
    "screen": "screen",
    "toowl": "**toowl**, persistent",
    "toowl-std": "**toowl**, standard",
    "python": "(bare interpreter)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity."""

    title: str
    measure: str
    x: int | None = None
    spread: bool = True


def table(results: Results, columns: Sequence[Column]) -> str:
    """Of all contenders that have any of it. Empty where none has."""
    rows = []
    for contender, label in LABELS.items():
        cells = [_cell(results, contender, column) for column in columns]
        if any(cells):
            rows.append([label, *cells])
    return markdown(["", *(column.title for column in columns)], rows) if rows else ""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Numbers to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)) + "\n"


def number(value: float) -> str:
    """Three digits that count, and no more noughts than that needs."""
    if value == 0:
        return "0"
    if abs(value) >= 99.5:
        return f"{value:.0f}"
    if abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:.3g}"


def _cell(results: Results, contender: str, column: Column) -> str:
    series = results.find(column.measure, contender, column.x)
    if series is None:
        return ""
    found = summary(series.values)
    text = number(found.median)
    low, high = number(found.low), number(found.high)
    return f"{text} ({low} to {high})" if column.spread and low != high else text
