"""What every contender is: a program that keeps sessions, in a private namespace.

A contender starts sessions in the background and says which command attaches a terminal to one. Who keeps a session
is not asked of it: the keeper is the parent of the program in the session, for every contender.
"""

from __future__ import annotations

import abc
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.outer import TooSlow, limit

REPOSITORY = Path(__file__).resolve().parent.parent

#: Tells its pid, then becomes the program. The pipe is the first argument.
_ANNOUNCE = ("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"')

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Session:
    """One program that runs, and who keeps it."""

    name: str
    child: int
    keeper: int


class Announcement:
    """A pipe on which a program says that it runs, and as which pid."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that announces itself."""
        return [*_ANNOUNCE, str(self.path), *argv]

    def pid(self) -> int:
        """Wait for it.

        Raises:
            TooSlow: the program does not begin.
        """
        try:
            if not select.select([self._fd], [], [], _START_SECONDS)[0]:
                raise TooSlow(f"waited {_START_SECONDS:g} s for a program to begin")
            return int(os.read(self._fd, 64))
        finally:
            os.close(self._fd)
            self.path.unlink()


class Contender(abc.ABC):
    """One program in a namespace of its own. Use as a context manager."""

    #: In the figures.
    name: str
    #: Which has to be installed.
    program: str
    #: Typed in an attached terminal.
    detach_keys = b""
    #: It draws a screen of its own, and what was printed last may reach the terminal in pieces, or not at all.
    draws = False

    def __init__(self, root: Path) -> None:
        self.folder = root / self.name
        self.folder.mkdir(mode=0o700)
        home = self.folder / "h"
        home.mkdir()
        self.sessions: dict[str, Session] = {}
        self._count = 0
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "USER": os.environ.get("USER", "bench"),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }

    def __enter__(self) -> Contender:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def version(cls) -> str | None:
        """What is installed; None if nothing is."""
        if shutil.which(cls.program) is None:
            return None
        done = subprocess.run(
            [cls.program, *cls._version_flags], capture_output=True, text=True, check=False, timeout=10
        )
        return (done.stdout or done.stderr).strip().splitlines()[0]

    _version_flags: tuple[str, ...] = ("--version",)

    def open(self) -> None:  # noqa: B027 - most have nothing to start
        """Start what all sessions share, if there is such a thing."""

    def shared(self) -> list[int]:
        """The pids of what all sessions share, keepers of sessions included where they keep more than one."""
        return []

    @abc.abstractmethod
    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        """Starts a session in the background."""

    @abc.abstractmethod
    def attach_command(self, name: str) -> list[str]:
        """Puts a session on the terminal that it runs in."""

    def list_command(self) -> list[str] | None:
        """Lists the sessions; None where there is no such command."""
        return None

    @contextlib.contextmanager
    def creating(self, *argv: str) -> Iterator[tuple[str, list[str]]]:
        """A name and what to run, for a session that is made in here; at the end of it, its program runs."""
        self._count += 1
        name = f"s{self._count}"
        announcement = Announcement(self.folder / name)
        yield name, announcement.wrap(argv)
        child = announcement.pid()
        self.sessions[name] = Session(name, child, processes.parent(child))

    def start(self, *argv: str) -> Session:
        """A session in the background; returns once its program runs."""
        with self.creating(*argv) as (name, command):
            self._create(name, command)
        return self.sessions[name]

    def _create(self, name: str, argv: Sequence[str]) -> None:
        self.run(self.create_command(name, argv))

    def run(self, argv: Sequence[str]) -> None:
        """A command of the contender's to its end.

        Raises:
            CalledProcessError: it fails. TooSlow: it does not end.
        """
        with subprocess.Popen(
            argv, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as process:
            try:
                # No timeout for `wait`: then it only looks now and then, after 0.5, 1.5, 3.5, 7.5 ms and so on, and
                # that is what all times would be.
                with limit(_START_SECONDS, f"{argv[0]} to end"):
                    process.wait()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, argv)

    def pids(self) -> list[int]:
        """Of everything of the contender's but clients."""
        return sorted({*self.shared(), *(session.keeper for session in self.sessions.values())})

    def end(self, sessions: Iterable[Session]) -> None:
        """These sessions, at once and without a word."""
        gone = list(sessions)
        shared = set(self.shared())
        kill([session.child for session in gone])
        kill({session.keeper for session in gone} - shared)
        for session in gone:
            del self.sessions[session.name]

    def close(self) -> None:
        """All sessions, and what they share."""
        kill(session.child for session in self.sessions.values())
        kill(self.pids())
        self.sessions.clear()


def kill(pids: Iterable[int]) -> None:
    """And wait for their end; who reaps them is not our business."""
    killed = list(pids)
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):  # ended by itself
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _START_SECONDS
    while any(map(processes.runs, killed)) and time.monotonic() < deadline:
        time.sleep(0.002)
