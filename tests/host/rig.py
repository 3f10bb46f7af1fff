"""Real loops, sockets and sessions for the tests of the host, driven from one thread.

`Driver` turns either loop until something is so; `Peer` is a client at the other end of a socket, on the same
loop, that reads only while it wants to; `Rig` is a hosted session with everything around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.harness import DEADLINE
from toowld.custodian.loop import EpollLoop
from toowld.host import Joining, SessionHost
from toowld.log import LogReader, LogWriter
from toowld.session import Session
from toowld.wire import FrameDecoder, Gap, Input, InputAck, Message, Output, Size, encode

T = TypeVar("T")
M = TypeVar("M", bound=Message)
P = TypeVar("P", bound="Peer")

SIZE = Size(rows=24, cols=80)

ENV = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TERM": "xterm", "HOME": "/"}

#: A shell that echoes nothing and changes nothing, which it says in a line of its own: what goes in comes out.
RAW = "stty raw -echo; echo rea''dy; "


class Driver:
    """One loop, and how to turn it until a condition holds."""

    loop: Any

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.errors: list[object] = []
        if kind == "asyncio":
            self.loop = asyncio.new_event_loop()
            self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        else:
            self.loop = EpollLoop()

    def until(self, condition: Callable[[], T], what: str = "", timeout: float = DEADLINE) -> T:
        """Turn the loop until ``condition`` gives something true, and return that."""
        deadline = self.loop.time() + timeout
        while True:
            self.turn()
            if value := condition():
                return value
            if self.loop.time() > deadline:
                raise AssertionError(f"waited {timeout:g} s for {what or 'a condition'}")

    def turn(self) -> None:
        """One turn of the loop, of a few milliseconds at most."""
        self.loop.call_at(self.loop.time() + 0.002, lambda: None)
        if self.kind == "asyncio":
            self.loop.call_soon(self.loop.stop)
            # `stop` lets the turn end, but makes it not wait; the second turn waits for the timer above
            self.loop._run_once()
            self.loop._run_once()
        else:
            self.loop._turn()

    def close(self) -> None:
        if self.kind == "asyncio":
            self.loop.close()
        else:
            self.loop._epoll.close()
        assert not self.errors, self.errors


class Peer:
    """A client. Reads while `reading`; keeps every message, and the output of all of them as bytes."""

    def __init__(self, driver: Driver, sock: socket.socket) -> None:
        self.driver = driver
        self.sock = sock
        sock.setblocking(False)
        self.messages: list[Message] = []
        self.output = bytearray()
        self.start: int | None = None
        self.skipped = 0  # in announced gaps
        self.eof = False
        self.acked = 0
        self._decoder = FrameDecoder()
        self._to_send = bytearray()
        self.reading = False
        self.read()

    def read(self) -> None:
        """Take what comes, from now on."""
        if not self.reading:
            self.reading = True
            self.driver.loop.add_reader(self.sock.fileno(), self._on_readable)

    @property
    def to_send(self) -> int:
        """Bytes that the other side does not take yet."""
        return len(self._to_send)

    def stop_reading(self) -> None:
        self.reading = False
        self.driver.loop.remove_reader(self.sock.fileno())

    def _on_readable(self) -> None:
        try:
            data = self.sock.recv(256 << 10)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.eof = True
            self.stop_reading()
            return
        self._decoder.feed(data)
        for message in self._decoder.messages():
            self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, Output):
            if self.start is None:
                self.start = message.seq
            assert message.seq == self.start + len(self.output), "output twice, or not at all"
            self.output += message.data
        elif isinstance(message, InputAck):
            self.acked = message.seq
        elif isinstance(message, Gap):
            assert self.start is not None and message.start == self.start + len(self.output)
            self.start += message.end - message.start
            self.skipped += message.end - message.start
        else:
            self.messages.append(message)

    def send(self, *messages: Message) -> None:
        self.send_raw(b"".join(encode(message) for message in messages))

    def send_raw(self, data: bytes) -> None:
        idle = not self._to_send
        self._to_send += data
        if idle:
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._to_send:
                del self._to_send[: self.sock.send(self._to_send)]
        if self._to_send:
            self.driver.loop.add_writer(self.sock.fileno(), self._flush)
        else:
            self.driver.loop.remove_writer(self.sock.fileno())

    def enter(self, data: bytes) -> None:
        """Type."""
        self.send(Input(self.acked, data))

    def got(self, kind: type[M]) -> M | None:
        """The first message of a kind, if there was one."""
        return next((message for message in self.messages if isinstance(message, kind)), None)

    def expect(self, kind: type[M]) -> M:
        """Wait for a message of a kind."""
        self.driver.until(lambda: self.got(kind) is not None, f"{kind.__name__}; got {self.messages}")
        found = self.got(kind)
        assert found is not None
        return found

    def expect_output(self, text: bytes) -> None:
        searched = 0

        def there() -> bool:
            nonlocal searched
            start, searched = max(searched - len(text), 0), len(self.output)
            return self.output.find(text, start) >= 0

        self.driver.until(there, f"{text!r} in {bytes(self.output[-500:])!r}")

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.stop_reading()
            self.driver.loop.remove_writer(self.sock.fileno())
            self.sock.close()


def joining(client_id: str = "c1", **changes: Any) -> Joining:
    values: dict[str, Any] = {
        "client_id": client_id,
        "size": SIZE,
        "read_only": False,
        "from_seq": 0,
        "replay_bytes": 0,
        "pid": None,
        "tty": None,
    }
    return Joining(**(values | changes))


class Rig:
    """A hosted session on a loop."""

    def __init__(self, driver: Driver, folder: Path, **log: Any) -> None:
        self.driver = driver
        self.folder = folder / "log"
        self.log = LogWriter(self.folder, "0badcafe", size=SIZE, **log)
        session = Session(seq=self.log.end, size=SIZE)
        self.changes = 0
        self.finished = False
        self.traced: list[object] = []
        self.host = SessionHost(
            driver.loop,
            session,
            self.log,
            on_changed=self._on_changed,
            on_finished=self._on_finished,
            call_when_still=getattr(driver.loop, "call_when_still", None),
            trace=self.traced.append,
        )
        self.peers: list[Peer] = []

    @property
    def session(self) -> Session:
        return self.host.session

    def _on_changed(self) -> None:
        self.changes += 1

    def _on_finished(self) -> None:
        assert not self.finished, "finished twice"
        self.finished = True

    def start(self, *argv: str, cwd: str = "/", env: dict[str, str] | None = None) -> int:
        self.host.start(argv, cwd=cwd, env=ENV if env is None else env, argv0=None)
        assert self.session.pid is not None
        return self.session.pid

    def shell(self, script: str, **options: Any) -> int:
        return self.start("/bin/sh", "-c", script, **options)

    def attach(self, client_id: str = "c1", *, unread: bytes = b"", **changes: Any) -> Peer:
        ours, its = socket.socketpair()
        return self.join(ours, Peer(self.driver, its), client_id, unread=unread, **changes)

    def join(self, ours: socket.socket, peer: P, client_id: str, *, unread: bytes = b"", **changes: Any) -> P:
        """Attach ``peer``, which has the other end of ``ours``."""
        self.peers.append(peer)
        self.host.join(ours, unread, 7, joining(client_id, **changes))
        return peer

    def until(self, condition: Callable[[], T], what: str = "") -> T:
        return self.driver.until(condition, what)

    def close(self) -> None:
        pid = self.session.pid
        if pid is not None and not self.finished:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for peer in self.peers:
            peer.close()
        self.host.abandon("lost")
        self.driver.until(lambda: self.finished, "the host to finish")
        if pid is not None:
            with contextlib.suppress(ChildProcessError):  # the host has reaped it
                os.waitpid(pid, 0)


@contextlib.contextmanager
def driven(kind: str) -> Iterator[Driver]:
    driver = Driver(kind)
    try:
        yield driver
    finally:
        driver.close()


def open_fds() -> dict[int, str]:
    """What this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the folder's own descriptor
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    return found


def logged(rig: Rig) -> bytes:
    """All output that the log holds."""
    return b"".join(LogReader(rig.folder).output())


def finish(rig: Rig) -> None:
    rig.until(lambda: rig.finished, "the host to finish")
