"""What grows with the number of sessions, all of them idle: memory, wake-ups, lists, echo, new sessions.

What is the program's in the session (a ``sleep``) is not counted. Where one process keeps many sessions, what a
session takes is what that process has grown by.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bench import processes
from bench.contender import Contender
from bench.interpreter import interpreter
from bench.measures.echo import PAUSE, record
from bench.run import Run, child_command, rounds
from bench.stand import Stand, stands
from bench.toowl import Toowl

_MB = 1_000_000

_IDLE = ("sleep", "infinity")


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes take together."""

    pss: int
    uss: int
    fds: int
    threads: int

    @classmethod
    def of(cls, pids: Collection[int]) -> Usage:
        """At this moment."""
        memory = [processes.memory(pid) for pid in pids]
        return cls(
            sum(pss for pss, _ in memory),
            sum(uss for _, uss in memory),
            sum(map(processes.descriptors, pids)),
            sum(map(processes.threads, pids)),
        )


class Member:
    """A contender and how many sessions it began with."""

    def __init__(self, contender: Contender, stand: Stand) -> None:
        self.contender = contender
        self.name = contender.name
        self.stand = stand
        self.at_first = len(contender.sessions)
        self.usage_at_first = Usage.of(contender.pids())

    @property
    def more(self) -> int:
        """Sessions by which it has grown."""
        return len(self.contender.sessions) - self.at_first

    def grow(self, count: int) -> None:
        """Until there are so many more."""
        while self.more < count:
            self.contender.start(*_IDLE)


def measure(run: Run, names: Collection[str]) -> None:
    """The parts that are wanted, with more and more sessions."""
    parts = {"memory": _memory, "idle": _idle, "ls": _ls, "echo-crowd": _echo, "create": _create}
    with run.opened("bare") as contenders, stands(contenders, b"p", b"p", *child_command("echo")) as attached:
        _rest(contenders)
        members = [Member(stand.contender, stand) for stand in attached]
        for count in (1, 50, 500)[: run.amount(3, 2, 1)]:
            for member in members:
                member.grow(count)
            for name, part in parts.items():
                if name in names:
                    part(run, members, count)


def _rest(contenders: Sequence[Contender]) -> None:
    """Wait until they do no more of what they do once, after their start or their first session."""
    for _ in range(10):
        before = [processes.cpu_seconds(contender.pids()) for contender in contenders]
        time.sleep(2)
        if [processes.cpu_seconds(contender.pids()) for contender in contenders] == before:
            return


def _memory(run: Run, members: Sequence[Member], count: int) -> None:
    """For each session: all that the contender has grown by; and the keeper alone, where it has one of its own."""
    for member in members:
        shared = set(member.contender.shared())
        keepers = [pid for pid in member.contender.pids() if pid not in shared]
        now, before = Usage.of(member.contender.pids()), member.usage_at_first
        for part, unit, grown in (
            ("pss", "MB", (now.pss - before.pss) / _MB),
            ("uss", "MB", (now.uss - before.uss) / _MB),
            ("fds", "", now.fds - before.fds),
            ("threads", "", now.threads - before.threads),
        ):
            run.record(f"memory.{part}", member.name, unit, grown / member.more, count)
        if keepers:
            own = Usage.of(keepers)
            run.record("memory.pss-keeper", member.name, "MB", own.pss / len(keepers) / _MB, count)
            run.record("memory.uss-keeper", member.name, "MB", own.uss / len(keepers) / _MB, count)


def _idle(run: Run, members: Sequence[Member], count: int) -> None:
    """How often anything wakes up while nothing happens. All contenders at the same time: none disturbs another.

    Over what any of them does every half a minute; not over what it still does for the sessions that were just made.
    """
    time.sleep(run.amount(35, 1, 1))
    before = {member.name: _Activity.of(member.contender) for member in members}
    time.sleep(run.amount(30, 3, 1))
    for member in members:
        now, then = _Activity.of(member.contender), before[member.name]
        seconds = now.at - then.at
        if now.keepers:
            wakeups = (now.of_keepers - then.of_keepers) / now.keepers
            run.record("idle.keeper", member.name, "/s", wakeups / seconds, count)
        if member.contender.shared():
            run.record("idle.shared", member.name, "/s", (now.of_shared - then.of_shared) / seconds, count)
        run.record("idle.cpu", member.name, "ms/s", (now.cpu - then.cpu) / seconds * 1e3, count)


@dataclass(frozen=True, slots=True)
class _Activity:
    """Of one contender so far."""

    at: float
    keepers: int
    of_keepers: int
    of_shared: int
    cpu: float

    @classmethod
    def of(cls, contender: Contender) -> _Activity:
        shared, pids = contender.shared(), contender.pids()
        keepers = [pid for pid in pids if pid not in shared]
        return cls(
            time.perf_counter(),
            len(keepers),
            sum(map(processes.wakeups, keepers)),
            sum(map(processes.wakeups, shared)),
            processes.cpu_seconds(pids),
        )


def _ls(run: Run, members: Sequence[Member], count: int) -> None:
    """The list, beside a bare start of the interpreter."""
    commands = [(member.name, member.contender, member.contender.list_command()) for member in members]
    parties = [(name, contender, command) for name, contender, command in commands if command]
    parties.append(("python", members[0].contender, [*interpreter(), "-c", "pass"]))
    for name, contender, command in rounds(run.amount(15, 9, 1), parties):
        begin = time.perf_counter()
        contender.run(command)
        run.record("ls", name, "ms", (time.perf_counter() - begin) * 1e3, count)


def _echo(run: Run, members: Sequence[Member], count: int) -> None:
    """A key, while the others are there."""
    for member in rounds(run.amount(3, 2, 1), members):
        took = member.stand.outer.keystrokes(run.amount(300, 100, 10), PAUSE)
        record(run, "echo-crowd", member.name, took, count)


def _create(run: Run, members: Sequence[Member], count: int) -> None:
    """From the command until it is back and the program runs; and what of it is the daemon's. They stay there."""
    for member in rounds(run.amount(10, 8, 1), members):
        with member.contender.creating(*_IDLE) as (name, argv):
            begin = time.perf_counter()
            member.contender.run(member.contender.create_command(name, argv))
        run.record("create", member.name, "ms", (time.perf_counter() - begin) * 1e3, count)
    for member in rounds(run.amount(10, 8, 1), members):
        if isinstance(toowl := member.contender, Toowl):
            with toowl.client() as client, toowl.creating(*_IDLE) as (name, argv):
                begin = time.perf_counter()
                toowl.request_new(client, name, argv)
                took = time.perf_counter() - begin
            run.record("create.daemon", member.name, "ms", took * 1e3, count)
