"""PURE: the parts of ``docs/performance.md`` that are made from figures, and its pictures.

The document is written by hand; what stands between ``<!-- bench NAME -->`` and ``<!-- end NAME -->`` is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bench.charts import Bar, Line, Panel, bars, lines
from bench.figures import Results
from bench.stats import summary
from bench.tables import LABELS, Column, markdown, number, table
from bench.targets import Outcome, outcomes

_BLOCK = re.compile(r"<!-- bench (?P<name>[a-z-]+) -->\n.*?<!-- end (?P=name) -->", re.DOTALL)

#: How it is drawn; everybody else is `other`.
_KINDS = {"toowl": "ours", "toowl-std": "second"}

_TABLES = {
    "throughput": (
        Column("text, MB/s", "text"),
        Column("colour, MB/s", "colour"),
        Column("redraw, MB/s", "redraw"),
    ),
    "cpu": (
        Column("text, s/GB", "text.cpu"),
        Column("colour, s/GB", "colour.cpu"),
        Column("redraw, s/GB", "redraw.cpu"),
        Column("text that arrived, %", "text.received", spread=False),
        Column("redraw that arrived, %", "redraw.received", spread=False),
    ),
    "echo": (
        Column("p50", "echo.p50"),
        Column("p99", "echo.p99"),
        Column("p50 under a flood", "echo-flood.p50"),
        Column("p99 under a flood", "echo-flood.p99"),
    ),
    "attach": (
        Column("1 MiB", "attach", 1),
        Column("16 MiB", "attach", 16),
        Column("64 MiB", "attach", 64),
        Column("any", "attach"),
        Column("detach, 1 MiB", "attach.detach", 1),
        Column("detach, 64 MiB", "attach.detach", 64),
    ),
    "memory": (
        Column("PSS, 1", "memory.pss", 1),
        Column("PSS, 50", "memory.pss", 50),
        Column("PSS, 500", "memory.pss", 500),
        Column("PSS of the keeper, 500", "memory.pss-keeper", 500),
        Column("USS, 500", "memory.uss", 500),
        Column("USS of the keeper, 500", "memory.uss-keeper", 500),
        Column("fds", "memory.fds", 500),
        Column("threads", "memory.threads", 500),
    ),
    "idle": (
        Column("wake-ups/s of each keeper, 50", "idle.keeper", 50),
        Column("500", "idle.keeper", 500),
        Column("of what is shared, 50", "idle.shared", 50),
        Column("500", "idle.shared", 500),
        Column("CPU of all, ms/s, 50", "idle.cpu", 50),
        Column("500", "idle.cpu", 500),
    ),
    "ls": (Column("1", "ls", 1), Column("50", "ls", 50), Column("500", "ls", 500)),
    "create": (
        Column("1", "create", 1),
        Column("50", "create", 50),
        Column("500", "create", 500),
        Column("in the daemon, 1", "create.daemon", 1),
        Column("50", "create.daemon", 50),
        Column("500", "create.daemon", 500),
    ),
    "start": (Column("1", "start", 1), Column("50", "start", 50), Column("500", "start", 500)),
    "echo-crowd": (
        Column("p50, 1", "echo-crowd.p50", 1),
        Column("50", "echo-crowd.p50", 50),
        Column("500", "echo-crowd.p50", 500),
        Column("p99, 500", "echo-crowd.p99", 500),
    ),
    "viewers": (
        Column("1", "viewers", 1),
        Column("4", "viewers", 4),
        Column("16", "viewers", 16),
        Column("the last one of 4", "viewers.all", 4),
        Column("of 16", "viewers.all", 16),
    ),
    "floods": (
        Column("1 session", "floods", 1),
        Column("50 sessions", "floods", 50),
        Column("fairness of 50, %", "floods.fairness", 50),
    ),
}


def filled(document: str, results: Results) -> str:
    """The document with the figures in it.

    Raises:
        ValueError: a block of it is not known.
    """

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- bench {name} -->\n{_block(name, results)}<!-- end {name} -->"

    return _BLOCK.sub(block, document)


def _block(name: str, results: Results) -> str:
    if name == "machine":
        return _machine(results)
    if name == "targets":
        return _targets(results)
    if name not in _TABLES:
        raise ValueError(
            f"there is no block {name!r}: there are {', '.join(['machine', 'targets', *_TABLES])}"
        )
    made = table(results, _TABLES[name]) or "Not measured.\n"
    return f"{made}\n![{name}](performance/{name}.svg)\n" if name in PICTURES and made else made


def _machine(results: Results) -> str:
    rows = [[what, value] for what, value in results.machine.items()]
    commits: dict[str, dict[str, None]] = {}
    for series in results.series:
        commits.setdefault(series.commit, {})[series.measure.partition(".")[0]] = None
    rows += [[f"toowl {commit}", ", ".join(measures)] for commit, measures in commits.items()]
    rows += [[LABELS[name].replace("*", ""), version] for name, version in results.versions.items()]
    text = "\n".join(f"| {what} | {value} |" for what, value in rows)
    return f"| | |\n|---|---|\n| taken | {results.taken} |\n{text}\n"


def _targets(results: Results) -> str:
    rows = [_target(outcome) for outcome in outcomes(results)]
    return markdown(["", "to reach", "measured", ""], rows)


def _target(outcome: Outcome) -> list[str]:
    target = outcome.target
    sign = "≥" if target.least else "≤"
    if outcome.by is None:
        limit, measured = f"{target.limit:g} {outcome.unit}", f"{number(outcome.value)} {outcome.unit}"
    else:
        limit = f"{target.limit:g} x"
        measured = (
            f"{number(outcome.value)} x ({number(outcome.measured)} / {number(outcome.by)} {outcome.unit})"
        )
    lacking = "not reached" if outcome.lacking == float("inf") else f"lacks a factor of {outcome.lacking:.2f}"
    return [target.what, f"{sign} {limit}", measured, "reached" if outcome.reached else f"**{lacking}**"]


def _panel(results: Results, title: str, measure: str, x: int | None = None) -> Panel:
    found = [(name, results.find(measure, name, x)) for name in LABELS]
    shown = [(name, series) for name, series in found if series]
    unit = shown[0][1].unit if shown else ""
    return Panel(
        title, unit, [Bar(_plain(name), summary(series.values), _kind(name)) for name, series in shown]
    )


def _growth(results: Results, title: str, measure: str, of: str) -> str:
    growing, unit = [], ""
    for name in LABELS:
        series = [found for found in results.series if (found.measure, found.contender) == (measure, name)]
        points = sorted((found.x, summary(found.values).median) for found in series if found.x is not None)
        if points:
            growing.append(Line(_plain(name), points, _kind(name)))
            unit = series[0].unit
    return lines(title, of, unit, growing) if growing else ""


def _kind(name: str) -> str:
    return _KINDS.get(name, "other")


def _plain(name: str) -> str:
    return LABELS[name].replace("*", "").strip("()")


def _bars(*panels: tuple[str, str]) -> Callable[[Results], str]:
    def draw(results: Results) -> str:
        made = [_panel(results, title, measure) for title, measure in panels]
        return bars([panel for panel in made if panel.bars]) if any(panel.bars for panel in made) else ""

    return draw


#: Name of a block → the picture below its table; empty where nothing of it was measured.
PICTURES: dict[str, Callable[[Results], str]] = {
    "throughput": _bars(
        ("Plain text, until it is on the terminal", "text"),
        ("Text with many colours", "colour"),
        ("Redraws of the full screen", "redraw"),
    ),
    "echo": _bars(
        ("From a key to its echo, median", "echo.p50"),
        ("The same while another session prints without end", "echo-flood.p50"),
    ),
    "attach": lambda results: _growth(
        results, "From the attach command to the whole screen", "attach", "MiB of log"
    ),
    "memory": lambda results: _growth(
        results, "Memory (PSS) for each idle session", "memory.pss", "sessions"
    ),
    "ls": lambda results: _growth(results, "The list of sessions", "ls", "sessions"),
    "start": lambda results: _growth(
        results, "Daemon, from its start until it is ready", "start", "sessions"
    ),
    "viewers": lambda results: _growth(
        results, "Text to the one who types, others watching", "viewers", "terminals"
    ),
}
