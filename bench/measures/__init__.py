"""One module for each family of measures: a function that takes a `bench.run.Run` and the names that are wanted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection

from bench.measures import attach, crowd, echo, floods, start, throughput, viewers
from bench.outer import TooSlow
from bench.run import Run

Family = Callable[[Run, Collection[str]], None]

#: Name → who measures it, in the order in which a run goes. What fills the disk comes last.
MEASURES: dict[str, Family] = {
    "text": throughput.measure,
    "colour": throughput.measure,
    "redraw": throughput.measure,
    "echo": echo.measure,
    "echo-flood": echo.measure,
    "memory": crowd.measure,
    "idle": crowd.measure,
    "ls": crowd.measure,
    "echo-crowd": crowd.measure,
    "create": crowd.measure,
    "start": start.measure,
    "attach": attach.measure,
    "viewers": viewers.measure,
    "floods": floods.measure,
}

#: Those whose ratios tell soonest that something became slower.
QUICK = ("text", "colour", "echo", "memory", "ls", "create", "attach")


def measure(run: Run, names: Collection[str]) -> bool:
    """Those of that name, each family once. Whether all came to their end; what did not is left out."""
    complete = True
    families: dict[Family, list[str]] = {}
    for name, family in MEASURES.items():
        if name in names:
            families.setdefault(family, []).append(name)
    for family, wanted in families.items():
        run.say(", ".join(wanted))
        try:
            family(run, wanted)
        except (TooSlow, subprocess.SubprocessError) as error:
            complete = False
            run.forget(wanted)
            run.say(f"left out: {', '.join(wanted)}: {error}")
    return complete
