"""A user at a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.waiting import DEADLINE, wait_for

#: ioctl_tty(2); Python has `os.ptsname` from 3.13 on.
_TIOCGPTN = 0x80045430

#: The end of what an attach paints before the session's own output: the cursor is shown.
PAINTED = b"\x1b[?25h"


class Terminal:
    """A program at a real PTY, and all that it printed. A thread reads, so it never waits for the test."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], cwd: Path, *, rows: int = 24, cols: int = 80
    ) -> None:
        self.pty_fd, tty_fd = pty.openpty()
        self._output = bytearray()
        self._takes = threading.Event()
        self._takes.set()
        self.resize(rows, cols)
        try:
            # setsid(1) makes the PTY the controlling terminal and execs, so the pid is the program's own; a
            # preexec_fn would do the same, but not safely beside threads.
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *argv], stdin=tty_fd, stdout=tty_fd, stderr=tty_fd, env=env, cwd=cwd
            )
        finally:
            os.close(tty_fd)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> bytes:
        """All that was printed so far."""
        return bytes(self._output)

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")

    def _read(self) -> None:
        while True:
            self._takes.wait()
            try:
                data = os.read(self.pty_fd, 65536)
            except OSError:  # EIO: the other side is closed (Linux, tty(4))
                return
            if not data:
                return
            self._output += data

    def stall(self) -> None:
        """Take no more output, but for a piece that is being waited for."""
        self._takes.clear()

    def go_on(self) -> None:
        """Take output again."""
        self._takes.set()

    def send(self, data: bytes | str) -> None:
        """Type."""
        view = memoryview(data.encode() if isinstance(data, str) else data)
        while view:
            view = view[os.write(self.pty_fd, view) :]

    def expect(self, wanted: bytes | str, *, count: int = 1, timeout: float = DEADLINE) -> None:
        """Wait until ``wanted`` was printed (``count`` times since the beginning)."""
        text = wanted.encode() if isinstance(wanted, str) else wanted
        try:
            wait_for(lambda: self._output.count(text) >= count, timeout)
        except AssertionError:
            end = self.output[-2000:]
            raise AssertionError(
                f"waited {timeout:g} s for {text!r} (x {count}); at the end: {end!r}"
            ) from None

    def forget(self) -> None:
        """Drop what was printed so far, so that `expect` looks only at what comes."""
        self._output.clear()

    def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size; the program gets SIGWINCH."""
        fcntl.ioctl(self.pty_fd, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))

    def wait_raw(self) -> None:
        """Wait until the program reads each key by itself: before that, Ctrl-\\ would be a SIGQUIT."""
        wait_for(lambda: not self.modes()[3] & termios.ICANON, what="the terminal to be in raw mode")

    def modes(self) -> list[Any]:
        """The terminal's settings, to compare before and after."""
        return termios.tcgetattr(self.pty_fd)

    @property
    def name(self) -> str:
        """Of its device."""
        (number,) = struct.unpack("I", fcntl.ioctl(self.pty_fd, _TIOCGPTN, bytes(4)))
        return f"/dev/pts/{number}"

    def wait(self, timeout: float = DEADLINE) -> int:
        """Wait for the program's end; its exit status (-n for a signal). Its last output is there then."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end; the end of the output: {self.output[-2000:]!r}") from None
        self._reader.join(timeout)
        return status

    def close(self) -> None:
        """End the program and the terminal. Never raises."""
        if self.pty_fd < 0:
            return
        self.go_on()
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            self.process.kill()
        self.process.wait()
        self._reader.join(1)
        os.close(self.pty_fd)
        self.pty_fd = -1


def holds(pid: int, name: str) -> bool:
    """Whether a process has a terminal open: the keeper of a session has the one that is lent to it."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.fspath(path.readlink()) == name:
                return True
    return False
