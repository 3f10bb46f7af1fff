"""From a key until it is on the screen, as a human types: everything on the path is asleep before each."""

from __future__ import annotations

from bench.flood import Flood
from bench.measures.throughput import attached
from bench.run import Run, child_command, rounds
from bench.stats import quantile

_PAUSE = 0.003


def idle(run: Run) -> None:
    """Nothing else happens."""
    with attached(run, b"p", b"p", *child_command("echo")) as stands:
        for stand in rounds(run.amount(4, 3, 1), stands):
            _record(
                run, "echo", stand.contender.name, stand.outer.keystrokes(run.amount(2000, 300, 20), _PAUSE)
            )


def flooded(run: Run) -> None:
    """Another session of the same contender prints for ever meanwhile, with nobody attached."""
    with attached(run, b"p", b"p", *child_command("echo"), without=("bare",)) as stands:
        floods = {stand.contender.name: Flood(stand.contender, 1) for stand in stands}
        for stand in rounds(run.amount(3, 2, 1), stands):
            name = stand.contender.name
            with floods[name].on():
                _record(run, "echo-flood", name, stand.outer.keystrokes(run.amount(1000, 200, 20), _PAUSE))


def _record(run: Run, measure: str, name: str, took: list[float]) -> None:
    run.record(f"{measure}.p50", name, "µs", quantile(took, 0.5) * 1e6)
    run.record(f"{measure}.p99", name, "µs", quantile(took, 0.99) * 1e6)
