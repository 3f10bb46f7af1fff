"""PURE: a quick run beside the committed one, as ratios to what did not change: so the machine drops out.

It tells; it judges nothing. A quick run on a busy machine is off by a third now and then.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Results, Series
from bench.stats import quantile
from bench.tables import number

#: What toowl is compared with: another program in the same run, or the least that Python takes.
_BY = ("tmux", "python")
_OURS = ("toowl", "toowl-std")

#: Where more is better; of everything else less is.
_MORE = ("text", "colour", "redraw", "viewers", "floods")

#: A change that is less may be chance.
_WORTH_A_WORD = 1.25


def compared(now: Results, committed: Results | None) -> str:
    """A table for a terminal."""
    lines = [f"{'':18} {'':10} {'ratio to':8} {'now':>7} {'committed':>9}  "]
    for series in now.series:
        if series.contender in _OURS and not series.measure.endswith((".received", ".p99")):
            lines += _lines(series, now, committed)
    return "\n".join(lines)


def _lines(series: Series, now: Results, committed: Results | None) -> Iterator[str]:
    for by in _BY:
        ratio = _ratio(now, series, by)
        if ratio is None:
            continue
        before = committed and _ratio(committed, series, by)
        name = series.measure if series.x is None else f"{series.measure} ({series.x})"
        told = _verdict(series.measure, ratio, before) if before else ""
        was = number(before) if before else "-"
        yield f"{name:18} {series.contender:10} {by:8} {number(ratio):>7} {was:>9}  {told}".rstrip()


def _ratio(results: Results, series: Series, by: str) -> float | None:
    """Of the medians; for `python`, that of the same family without an x counts too."""
    ours = results.find(series.measure, series.contender, series.x)
    theirs = results.find(series.measure, by, series.x)
    if theirs is None and by == "python":
        theirs = results.find(series.measure, by)
    if ours is None or theirs is None or not (divisor := quantile(theirs.values, 0.5)):
        return None
    return quantile(ours.values, 0.5) / divisor


def _verdict(measure: str, ratio: float, before: float) -> str:
    if not ratio:
        return ""
    gain = ratio / before if measure in _MORE else before / ratio
    if gain > _WORTH_A_WORD:
        return f"better by {gain:.2f}"
    if gain < 1 / _WORTH_A_WORD:
        return f"worse by {1 / gain:.2f}"
    return ""
