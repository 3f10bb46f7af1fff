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

#: What a faster machine does not change: compared as it is. Of one session alone it says little.
_ABSOLUTE = ("memory", "idle")

#: A change that is less may be chance.
_WORTH_A_WORD = 1.4


def compared(now: Results, committed: Results | None) -> str:
    """A table for a terminal."""
    lines = [f"{'':18} {'':10} {'beside':8} {'now':>7} {'committed':>9}  "]
    for series in now.series:
        if series.contender not in _OURS or series.measure.endswith((".received", ".p99")):
            continue
        if series.measure.partition(".")[0] not in _ABSOLUTE:
            lines += [line for by in _BY for line in _lines(series, by, now, committed)]
        elif series.x != 1:
            lines += _lines(series, "", now, committed)
    return "\n".join(lines)


def _lines(series: Series, by: str, now: Results, committed: Results | None) -> Iterator[str]:
    value = _value(now, series, by)
    if value is None:
        return
    before = None if committed is None else _value(committed, series, by)
    name = series.measure if series.x is None else f"{series.measure} ({series.x})"
    told = _verdict(series.measure, value, before) if before else ""
    was = "-" if before is None else number(before)
    yield f"{name:18} {series.contender:10} {by or '-':8} {number(value):>7} {was:>9}  {told}".rstrip()


def _value(results: Results, series: Series, by: str) -> float | None:
    """The median, divided by that of ``by``. A start of the interpreter without an x counts for every x."""
    ours = results.find(series.measure, series.contender, series.x)
    if ours is None:
        return None
    if not by:
        return quantile(ours.values, 0.5)
    theirs = results.find(series.measure, by, series.x)
    if theirs is None and by == "python":
        theirs = results.find(series.measure, by)
    if theirs is None or not (divisor := quantile(theirs.values, 0.5)):
        return None
    return quantile(ours.values, 0.5) / divisor


def _verdict(measure: str, now: float, before: float) -> str:
    if now <= 0 or before <= 0:
        return ""
    gain = now / before if measure in _MORE else before / now
    if gain > _WORTH_A_WORD:
        return f"better by {gain:.2f}"
    if gain < 1 / _WORTH_A_WORD:
        return f"worse by {1 / gain:.2f}"
    return ""
