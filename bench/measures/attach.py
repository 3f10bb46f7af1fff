"""From the attach command until the screen is complete, with logs of different lengths; and back to the shell.

Complete is the screen when the last thing that the session printed is on it. Only for those who bring a screen back
by themselves: dtach and abduco show nothing before the program draws again.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from bench.contender import Contender, Session
from bench.interpreter import interpreter
from bench.outer import Outer
from bench.payload import MARKER, marker
from bench.run import Run, child_command, rounds
from bench.stand import attach

#: Beside a bare start of the interpreter, which is the least that an attach in Python takes.
_Party = tuple[Contender, Session, int] | None


def measure(run: Run, _names: Collection[str]) -> None:
    """``attach`` (x: MiB of log) and ``attach.detach``."""
    with run.opened("bare", "dtach", "abduco") as contenders:
        parties: list[_Party] = [None]
        for mebibytes in (1, 16, 64)[: run.amount(3, 2, 1)]:
            file = run.payload_file("text", mebibytes << 20)
            for contender in contenders:
                session = contender.start(*child_command("show", file, MARKER))
                parties.append((contender, session, mebibytes))
                _attach_and_detach(contender, session)  # waits until all is printed
        for party in rounds(run.amount(12, 9, 1), parties):
            if party is None:
                run.record("attach", "python", "ms", _interpreter(run) * 1e3)
            else:
                contender, session, mebibytes = party
                attached, detached = _attach_and_detach(contender, session)
                run.record("attach", contender.name, "ms", attached * 1e3, mebibytes)
                run.record("attach.detach", contender.name, "ms", detached * 1e3, mebibytes)


def _attach_and_detach(contender: Contender, session: Session) -> tuple[float, float]:
    begin = time.perf_counter()
    with attach(contender, session) as outer:
        outer.read_until(marker())
        complete = time.perf_counter()
        outer.drain(0.02)
        leave = time.perf_counter()
        outer.type(contender.detach_keys)
        outer.wait()
        return complete - begin, time.perf_counter() - leave


def _interpreter(run: Run) -> float:
    begin = time.perf_counter()
    with Outer([*interpreter(), "-c", "pass"], {}, run.root) as outer:
        outer.wait()
    return time.perf_counter() - begin
