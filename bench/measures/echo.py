"""From a key until it is on the screen, as a human types: everything on the path is asleep before each."""

from __future__ import annotations

from collections.abc import Collection

from bench.flood import Flood
from bench.run import Run, child_command, rounds
from bench.stand import attached
from bench.stats import quantile

#: Longer than anything on the path needs to go to sleep; short enough for thousands of keys.
PAUSE = 0.003


def measure(run: Run, names: Collection[str]) -> None:
    """``echo``: nothing else happens. ``echo-flood``: another session prints for ever."""
    if "echo" in names:
        _idle(run)
    if "echo-flood" in names:
        _flooded(run)


def record(run: Run, measure: str, name: str, took: list[float], x: int | None = None) -> None:
    """What one round gave."""
    run.record(f"{measure}.p50", name, "µs", quantile(took, 0.5) * 1e6, x)
    run.record(f"{measure}.p99", name, "µs", quantile(took, 0.99) * 1e6, x)


def _idle(run: Run) -> None:
    with attached(run, b"p", b"p", *child_command("echo")) as stands:
        for stand in rounds(run.amount(4, 3, 1), stands):
            record(run, "echo", stand.name, stand.outer.keystrokes(run.amount(2000, 600, 20), PAUSE))


def _flooded(run: Run) -> None:
    """With nobody attached to the other session: its output goes no further than to its keeper."""
    with attached(run, b"p", b"p", *child_command("echo"), without=("bare",)) as stands:
        floods = {stand.name: Flood(stand.contender, 1) for stand in stands}
        for stand in rounds(run.amount(3, 2, 1), stands):
            with floods[stand.name].on():
                took = stand.outer.keystrokes(run.amount(1000, 200, 20), PAUSE)
            record(run, "echo-flood", stand.name, took)
