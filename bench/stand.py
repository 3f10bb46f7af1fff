"""A contender with one session and a terminal attached to it: what most measures begin with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench import processes
from bench.contender import Contender, Session
from bench.outer import Outer
from bench.payload import marker
from bench.run import Run


@dataclass
class Stand:
    """One of them."""

    contender: Contender
    session: Session
    outer: Outer
    printed: int = 0

    @property
    def name(self) -> str:
        """The contender's."""
        return self.contender.name

    def print_payload(self) -> bytes:
        """Make a child that waits for it print; what to read for then."""
        self.printed += 1
        self.outer.type(b"g")
        return marker(self.printed)

    def cpu(self) -> float:
        """Seconds so far of all that is between child and terminal."""
        client = [] if self.name == "bare" else processes.family(self.outer.pid)
        return processes.cpu_seconds([*self.contender.pids(), *client])


@contextlib.contextmanager
def stands(contenders: Iterable[Contender], ping: bytes, answer: bytes, *argv: str) -> Iterator[list[Stand]]:
    """The same program in a session of each contender, with a terminal attached through which keys reach it."""
    with contextlib.ExitStack() as stack:
        made = []
        for contender in contenders:
            session = contender.start(*argv)
            outer = stack.enter_context(attach(contender, session))
            outer.ready(ping, answer)
            made.append(Stand(contender, session, outer))
        yield made


@contextlib.contextmanager
def attached(
    run: Run, ping: bytes, answer: bytes, *argv: str, without: tuple[str, ...] = ()
) -> Iterator[list[Stand]]:
    """`stands` of contenders that are opened for it."""
    with run.opened(*without) as contenders, stands(contenders, ping, answer, *argv) as made:
        yield made


def attach(contender: Contender, session: Session) -> Outer:
    """A terminal in which the attach command runs."""
    return Outer(contender.attach_command(session.name), contender.env, contender.folder)
