"""How fast output reaches the user's terminal, and what it costs in CPU.

From the key that makes the child print until the marker at the end of it has arrived at the outer terminal. tmux and
screen keep a screen of their own and may leave out what would have scrolled away, so what counts is the child's
bytes; the share of it that did arrive is recorded too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.contenders import Contender, Session
from bench.outer import Outer
from bench.payload import MARKER
from bench.run import Run, child_command, rounds

_MB = 1_000_000


def text(run: Run) -> None:
    """50 MB of plain lines."""
    _throughput(run, "text", run.amount(50, 10, 1) * _MB)


def colour(run: Run) -> None:
    """Lines with a change of colours at every word."""
    _throughput(run, "colour", run.amount(20, 5, 1) * _MB)


def redraw(run: Run) -> None:
    """Frames of a full-screen program."""
    _throughput(run, "redraw", run.amount(20, 5, 1) * _MB)


@dataclass
class Stand:
    """A contender with one session, and a terminal attached to it."""

    contender: Contender
    session: Session
    outer: Outer

    def cpu(self) -> float:
        """Seconds so far of all that is between child and terminal."""
        client = [] if self.contender.name == "bare" else processes.family(self.outer.pid)
        return processes.cpu_seconds([*self.contender.pids(), *client])


@contextlib.contextmanager
def attached(
    run: Run, ping: bytes, answer: bytes, *argv: str, without: tuple[str, ...] = ()
) -> Iterator[list[Stand]]:
    """The same program in a session of each contender, with a terminal attached through which keys reach it."""
    with run.opened(*without) as contenders, contextlib.ExitStack() as stack:
        stands = []
        for contender in contenders:
            session = contender.start(*argv)
            command = contender.attach_command(session.name)
            outer = stack.enter_context(Outer(command, contender.env, contender.folder))
            outer.ready(ping, answer)
            stands.append(Stand(contender, session, outer))
        yield stands


def _throughput(run: Run, kind: str, size: int) -> None:
    file = run.payload_file(kind, size)
    with attached(run, b"p", b"PONG", *child_command("print", file, MARKER)) as stands:
        for stand in stands:
            _print_once(stand, file)  # nobody has touched all of its memory yet
        for stand in rounds(run.amount(7, 3, 1), stands):
            seconds, cpu, received = _print_once(stand, file)
            printed, name = file.stat().st_size, stand.contender.name
            run.record(kind, name, "MB/s", printed / seconds / _MB)
            run.record(f"{kind}.received", name, "%", received / printed * 100)
            if name != "bare":
                run.record(f"{kind}.cpu", name, "s/GB", cpu / printed * 1e9)


def _print_once(stand: Stand, file: Path) -> tuple[float, float, int]:
    """Seconds, CPU seconds, and the bytes that arrived."""
    stand.outer.drain(0.05)
    cpu, begin = stand.cpu(), time.perf_counter()
    stand.outer.type(b"g")
    received = stand.outer.read_until(MARKER.encode())
    seconds = time.perf_counter() - begin
    stand.outer.drain(0.05)
    return seconds, stand.cpu() - cpu, received
