"""PURE: bars and lines as SVG, readable on light and dark pages alike. Their kinds: ours, second, other."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.stats import Summary

_WIDTH = 720
_LEFT, _RIGHT = 150, 96
_ROW, _TITLE = 22, 30

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #57606a; }
.title { font-weight: 600; fill: #24292f; }
.ours, .second { fill: #0969da; } .second { opacity: .6; } .other { fill: #8c959f; }
.spread { stroke: #24292f; stroke-width: 1.5; opacity: .6; }
.axis { stroke: #8c959f; stroke-width: 1; opacity: .5; }
path.ours, path.second { stroke: #0969da; } path.other { stroke: #8c959f; }
path.ours, path.second, path.other { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; } .title { fill: #f0f6fc; } .spread { stroke: #f0f6fc; }
  .ours, .second { fill: #4493f8; } path.ours, path.second { stroke: #4493f8; }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One of a panel."""

    label: str
    value: Summary
    kind: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars with a common scale."""

    title: str
    unit: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Line:
    """How something grows: (x, value) in the order of x."""

    label: str
    points: Sequence[tuple[int, float]]
    kind: str


def bars(panels: Iterable[Panel]) -> str:
    """Panels below each other."""
    parts, y = [], 0
    for panel in panels:
        parts.append(f'<text class="title" x="0" y="{y + 18}">{html.escape(panel.title)}</text>')
        y += _TITLE
        largest = max(bar.value.high for bar in panel.bars) or 1
        for bar in panel.bars:
            parts.append(_bar(bar, y, (_WIDTH - _LEFT - _RIGHT) / largest, panel.unit))
            y += _ROW
        y += 14
    return _svg(y, parts)


def _bar(bar: Bar, y: int, scale: float, unit: str) -> str:
    middle = y + _ROW / 2
    low, end, high = (_LEFT + value * scale for value in (bar.value.low, bar.value.median, bar.value.high))
    width, height = max(end - _LEFT, 1), _ROW - 6
    return (
        f'<text x="{_LEFT - 8}" y="{middle + 4.5:g}" text-anchor="end">{html.escape(bar.label)}</text>'
        f'<rect class="{bar.kind}" x="{_LEFT}" y="{y + 3}" width="{width:.1f}" height="{height}" rx="2"/>'
        f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
        f'<text x="{max(end, high) + 8:.1f}" y="{middle + 4.5:g}">{bar.value.median:.3g} {html.escape(unit)}</text>'
    )


def lines(title: str, x_title: str, unit: str, growing: Sequence[Line], height: int = 260) -> str:
    """One panel; x by its logarithm, y from 0."""
    top, bottom = _TITLE + 10, height - 36
    xs = sorted({x for line in growing for x, _ in line.points})
    largest = max(value for line in growing for _, value in line.points) or 1
    first, span = math.log(xs[0]), math.log(xs[-1] / xs[0]) or 1

    def across(x: int) -> float:
        return 60 + (math.log(x) - first) / span * (_WIDTH - 60 - _LEFT)

    def down(value: float) -> float:
        return bottom - value / largest * (bottom - top)

    parts = [f'<text class="title" x="0" y="18">{html.escape(title)}</text>']
    for share in (0, 0.5, 1):
        y = down(largest * share)
        parts.append(f'<line class="axis" x1="60" x2="{_WIDTH - _LEFT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="52" y="{y + 4.5:.1f}" text-anchor="end">{largest * share:.3g}</text>')
    for x in xs:
        parts.append(f'<text x="{across(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x}</text>')
    middle = (60 + _WIDTH - _LEFT) / 2
    caption = f"{html.escape(x_title)}; {html.escape(unit)}"
    parts.append(f'<text x="{middle:g}" y="{bottom + 34}" text-anchor="middle">{caption}</text>')
    ends = _apart([down(line.points[-1][1]) for line in growing], 15)
    for line, end in zip(growing, ends, strict=True):
        path = " L".join(f"{across(x):.1f},{down(value):.1f}" for x, value in line.points)
        parts.append(f'<path class="{line.kind}" d="M{path}"/>')
        parts.append(f'<text x="{_WIDTH - _LEFT + 8}" y="{end + 4.5:.1f}">{html.escape(line.label)}</text>')
    return _svg(height, parts)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The same places, moved up as far as needed that labels do not cover each other."""
    moved = list(places)
    above = math.inf
    for index in sorted(range(len(places)), key=lambda index: -places[index]):
        moved[index] = above = min(places[index], above - least)
    return moved


def _svg(height: int, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img">\n{_STYLE}\n{body}\n</svg>\n'
    )
