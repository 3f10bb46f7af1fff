"""How fast output reaches the user's terminal, and what it costs in CPU.

From the key that makes the child print until the marker at the end of it has arrived at the outer terminal. tmux and
screen keep a screen of their own and may leave out what would have scrolled away, so what counts is the child's
bytes; the share of it that did arrive is recorded too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection

from bench.outer import TooSlow
from bench.payload import MARKER
from bench.run import Run, child_command, rounds
from bench.stand import Stand, attached

_MB = 1_000_000

#: Beside much else, about one of fifty markers that tmux is to draw never arrives in one piece. The slowest contender
#: takes 4 s for all that is printed at once.
_PATIENCE = 25.0
_TRIES = 3


def measure(run: Run, names: Collection[str]) -> None:
    """``text`` plain lines, ``colour`` a change of colours at every word, ``redraw`` frames of a full screen."""
    for name in names:
        megabytes = run.amount(50, 10, 1) if name == "text" else run.amount(10, 5, 1)
        _throughput(run, name, megabytes * _MB)


def _throughput(run: Run, kind: str, size: int) -> None:
    file = run.payload_file(kind, size)
    printed = file.stat().st_size
    with attached(run, b"p", b"PONG", *child_command("print", file, MARKER)) as stands:
        for stand in stands:
            _print_once(stand)  # nobody has touched all of its memory yet
        for stand in rounds(run.amount(5, 5, 1), stands):
            seconds, cpu, received = _print_once(stand)
            run.record(kind, stand.name, "MB/s", printed / seconds / _MB)
            run.record(f"{kind}.received", stand.name, "%", received / printed * 100)
            if stand.name != "bare":
                run.record(f"{kind}.cpu", stand.name, "s/GB", cpu / printed * 1e9)


def _print_once(stand: Stand) -> tuple[float, float, int]:
    """Seconds, CPU seconds, and the bytes that arrived.

    Raises:
        TooSlow: the end did not arrive; from one who draws, several times.
    """
    for _ in range(_TRIES - 1 if stand.contender.draws else 0):
        with contextlib.suppress(TooSlow):
            return _timed(stand)
    return _timed(stand)


def _timed(stand: Stand) -> tuple[float, float, int]:
    stand.outer.drain(0.05)
    cpu, begin = stand.cpu(), time.perf_counter()
    received = stand.outer.read_until(stand.print_payload(), _PATIENCE)
    seconds = time.perf_counter() - begin
    stand.outer.drain(0.05)
    return seconds, stand.cpu() - cpu, received
