"""`toowl attach` as a process, between a terminal that a test holds and a session that it plays."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from toowld import wire

M = TypeVar("M", bound=wire.Message)

PATIENCE = 20.0
DRIVER = Path(__file__).with_name("attach_driver.py")
ROOT = Path(__file__).parents[2]


class World:
    """The attach command between a terminal that the test holds and a session that the test plays."""

    def __init__(self, option: str = "", path: str = "") -> None:
        self.user, self.tty = os.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.tty)
        self.session, theirs = socket.socketpair()
        self.session.settimeout(PATIENCE)
        self.decoder = wire.FrameDecoder()
        self.shown = b""
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), path or str(theirs.fileno()), *([option] if option else [])],
                stdin=self.tty,
                stdout=self.tty,
                stderr=self.tty,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
            )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self.session.close()
        for fd in (self.user, self.tty):
            os.close(fd)

    # -- the session ----------------------------------------------------------------------------------

    def send(self, *messages: wire.Message) -> None:
        self.session.sendall(b"".join(map(wire.encode, messages)))

    def receive(self, kind: type[M]) -> M:
        """The next message, which must be of this kind; a client that waits for long asks in between."""
        while True:
            while (message := self.decoder.next_message()) is None:
                data = self.session.recv(65536)
                assert data, "the client hung up"
                self.decoder.feed(data)
            if isinstance(message, kind):
                return message
            assert isinstance(message, wire.Ping), message
            self.send(wire.Pong(message.token))

    def receive_input(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.receive(wire.Input).data
        return data

    def attach(self, seq: int = 0, live: int = 0, **about: Any) -> wire.Request:
        self.receive(wire.Hello)
        self.send(wire.Hello(about={"role": "daemon"}))
        request = self.receive(wire.Request)
        assert request.method == "attach"
        self.send(wire.Attached(seq, live, 0, {"name": "work", **about}))
        wait_until(lambda: not termios.tcgetattr(self.tty)[3] & termios.ICANON)
        return request

    # -- the user -------------------------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        while data:
            assert select.select([], [self.user], [], PATIENCE)[1], "the terminal is not read"
            data = data[os.write(self.user, data[:1024]) :]

    def resize(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.user, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def sees(self, text: bytes) -> bytes:
        """Wait until ``text`` is shown; all that was shown before, then forgotten with it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.user], [], [], left)[0]
            assert ready, f"{text!r} did not come, but {self.shown[-2000:]!r}"
            self.shown += os.read(self.user, 65536)
        before, _, self.shown = self.shown.partition(text)
        return before

    def ends(self, status: int) -> bytes:
        """Wait for the end; the terminal must be as it was. All that was shown and not yet seen."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None or select.select([self.user], [], [], 0)[0]:
            assert time.monotonic() < deadline, "the client does not end"
            if select.select([self.user], [], [], 0.05)[0]:
                self.shown += os.read(self.user, 65536)
        assert self.process.returncode == status, self.shown
        assert termios.tcgetattr(self.tty) == self.before
        assert not fcntl.fcntl(self.tty, fcntl.F_GETFL) & os.O_NONBLOCK
        return self.shown


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.005)
