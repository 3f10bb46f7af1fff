"""Throughput with several terminals on one session: one types, the others watch.

Not for dtach: measured with 4 terminals, each of them lost 10 to 20 % of the output, some the end of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection

from bench.contender import Contender
from bench.outer import Outer, read_all
from bench.payload import MARKER
from bench.run import Run, child_command, rounds
from bench.stand import Stand, attach

_MB = 1_000_000


def measure(run: Run, _names: Collection[str]) -> None:
    """``viewers`` (x: terminals): until the one that types has all; ``viewers.all``: until the last one has."""
    file = run.payload_file("text", run.amount(5, 2, 1) * _MB)
    command = child_command("print", file, MARKER)
    for count in (1, 4, 16)[: run.amount(3, 2, 1)]:
        with run.opened("bare", "dtach") as contenders, contextlib.ExitStack() as stack:
            groups = [_group(contender, count, command, stack) for contender in contenders]
            for lead, watchers in rounds(run.amount(3, 2, 1), groups):
                begin = time.perf_counter()
                times = read_all([lead.outer, *watchers], lead.print_payload())
                megabytes = file.stat().st_size / _MB
                run.record("viewers", lead.name, "MB/s", megabytes / (times[0] - begin), count)
                run.record("viewers.all", lead.name, "MB/s", megabytes / (max(times) - begin), count)


def _group(
    contender: Contender, count: int, command: list[str], stack: contextlib.ExitStack
) -> tuple[Stand, list[Outer]]:
    session = contender.start(*command)
    lead, *watchers = [stack.enter_context(attach(contender, session)) for _ in range(count)]
    for outer in [*watchers, lead]:
        outer.ready(b"p", b"PONG")
    for outer in watchers:
        outer.drain(0.05)
    return Stand(contender, session, lead), watchers
