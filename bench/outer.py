"""A user at a real terminal: the outer PTY that runs an attach command, read as fast as Python can.

The same for every contender, and measured by itself as the contender *bare*: what it reaches is the ceiling. Knows
nothing of who runs in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

from bench.payload import COLS, ROWS

_READ = 64 << 10

#: Typed one after the other; none is a prefix key of a contender.
_KEYS = b"ehjkmoqtuvwxyz"


class TooSlow(Exception):
    """Something did not happen in its time."""


@contextlib.contextmanager
def limit(seconds: float, what: str) -> Iterator[None]:
    """Raise `TooSlow` in here after that time, even out of a read that blocks. Within another, that one goes on."""

    def expired(_signum: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"waited {seconds:g} s for {what}")

    before, begin = signal.signal(signal.SIGALRM, expired), time.monotonic()
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # 0 means that there was none, and would mean none again
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 1e-6))


class Outer:
    """One terminal and the command in it. Use as a context manager."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.name = argv[0]
        self.status: int | None = None
        self.pid, self.fd = pty.fork()
        if not self.pid:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLS, 0, 0))
                os.chdir(cwd)
                os.execvpe(argv[0], list(argv), dict(env))
            finally:
                os._exit(127)

    def __enter__(self) -> Outer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def type(self, data: bytes) -> None:
        """Into the terminal."""
        os.write(self.fd, data)

    def read_until(self, marker: bytes, seconds: float = 120) -> int:
        """Take all that comes until the marker has; returns the number of bytes.

        Raises:
            TooSlow: it does not come, or the command ended before.
        """
        fd, read, keep = self.fd, os.read, len(marker) - 1
        total, end = 0, b""
        with limit(seconds, f"the end of what {self.name} prints"), self._end_is_an_error():
            while True:
                data = read(fd, _READ)
                total += len(data)
                end += data
                if marker in end:
                    return total
                end = end[-keep:]

    def ready(self, ping: bytes, answer: bytes, seconds: float = 20) -> None:
        """Wait until keys reach the program in the session, and its answer is here.

        Raises:
            TooSlow: it never does.
        """
        with limit(seconds, f"{self.name} to attach"), self._end_is_an_error():
            # Before it is raw, this terminal would echo by itself, and whoever makes it raw may drop what waits.
            while termios.tcgetattr(self.fd)[3] & termios.ECHO:
                self.drain(0.005)
            while True:
                self.type(ping)
                if answer in self.drain(0.2):
                    return

    def drain(self, quiet: float) -> bytes:
        """Take what comes, until nothing does for ``quiet`` seconds."""
        found = bytearray()
        while select.select([self.fd], [], [], quiet)[0]:
            found += os.read(self.fd, _READ)
        return bytes(found)

    def keystrokes(self, count: int, pause: float) -> list[float]:
        """Type keys one at a time; seconds from each until it is on the screen.

        ``pause``: before each, so that everything on the path has gone to sleep, as it has for a human's key.
        """
        took = []
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        with (
            limit(count * (pause + 0.05) + 20, f"keys to come back from {self.name}"),
            self._end_is_an_error(),
        ):
            for number in range(count):
                key = _KEYS[number % len(_KEYS)].to_bytes()
                time.sleep(pause)
                while poll.poll(0):
                    os.read(self.fd, _READ)
                begin = time.perf_counter_ns()
                os.write(self.fd, key)
                while True:
                    poll.poll()
                    if key in os.read(self.fd, _READ):
                        break
                took.append((time.perf_counter_ns() - begin) / 1e9)
        return took

    def wait(self, seconds: float = 20) -> int:
        """Until the command ends, taking what it still prints; its exit status.

        Raises:
            TooSlow: it does not end.
        """
        with limit(seconds, f"{self.name} to end"):
            with contextlib.suppress(OSError):  # EIO: the last one has closed the tty
                while os.read(self.fd, _READ):
                    pass
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def close(self) -> None:
        """End the command and the terminal. May be called twice."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def _end_is_an_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # EIO: nobody has the tty any more
            raise TooSlow(f"{self.name} ended too early: {error.strerror}") from None


def read_all(outers: Sequence[Outer], marker: bytes, seconds: float = 120) -> list[float]:
    """Read several terminals until the marker has come to each; when that was, by `time.perf_counter`.

    Raises:
        TooSlow: it does not come.
    """
    waiting = {outer.fd: number for number, outer in enumerate(outers)}
    ends = [b""] * len(outers)
    times = [0.0] * len(outers)
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    with limit(seconds, "the end of what is printed"):
        while waiting:
            for fd, _ in poll.poll():
                number = waiting[fd]
                end = ends[number] + os.read(fd, _READ)
                ends[number] = end[-len(marker) :]
                if marker in end:
                    times[number] = time.perf_counter()
                    poll.unregister(fd)
                    del waiting[fd]
    return times
