"""What the fuzz tests are made of: hostile frames from a seed, and a client that watches whether anybody notices."""

from __future__ import annotations

import array
import contextlib
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cbor2

from tests.harness import wait_for
from toowld.client import Client
from toowld.wire import Attached, FrameDecoder, Hello, Message, Output, Request, encode

#: Prints numbered lines in raw mode, and swallows whatever is typed into it.
COUNTER = (
    "import os, select, sys, tty\n"
    "tty.setraw(0)\n"
    "for n in range(10**9):\n"
    "    sys.stdout.write(f'{n}\\n')\n"
    "    sys.stdout.flush()\n"
    "    if select.select([0], [], [], 0.002)[0]:\n"
    "        os.read(0, 65536)\n"
)

#: Values that code which expects another one may stumble over.
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 70_000, -(1 << 63), (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 200),
    1 << 40_000, 0.5, float("nan"), float("inf"), "", "x" * 300, "\0", "a\0b", "\U0010ffff", "../../etc", "\x1b[2J\n",
    b"", b"\xff\xfe", b"x" * 5000, [], [[]], {}, {"": {}}, [None] * 300, {"session": {}}, {1: 2}, {b"\xff": b"\xff"},
    cbor2.CBORTag(0, "x"), cbor2.CBORTag(1, 1e300), cbor2.CBORTag(2, b"\xff" * 9), cbor2.CBORTag(4, [1 << 31, 1]),
    cbor2.CBORTag(5, [1 << 40, 1]), cbor2.CBORTag(25, 0), cbor2.CBORTag(28, [cbor2.CBORTag(29, 0)]),
    cbor2.CBORTag(29, 0), cbor2.CBORTag(30, [1, 0]), cbor2.CBORTag(35, "(a+)+$" * 20), cbor2.CBORTag(36, "From: x"),
    cbor2.CBORTag(37, b"1"), cbor2.CBORTag(258, [1, 1]), cbor2.CBORTag(260, b"12"), cbor2.CBORTag(4711, [0]),
    cbor2.undefined,
)  # fmt: skip

_LENGTH = struct.Struct(">I")


def framed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def request(method: str, number: int = 7, **params: Any) -> bytes:
    return encode(Request(number, method, params))


HELLO = encode(Hello(about={"role": "client"}))


def attach(session: str, client_id: str = "fuzz", **params: Any) -> bytes:
    """A request for an attachment; ``rows`` None keeps the session's size."""
    given = {"session": session, "client_id": client_id, "rows": None, "respawn": False, **params}
    return encode(Request(9, "attach", given))


# -- frames ----------------------------------------------------------------------------------------------


class Frames:
    """Makes hostile frames out of good ones, the same for the same seed.

    Args:
        good: messages as their CBOR arrays.
    """

    def __init__(self, seed: int, good: Sequence[list[Any]]) -> None:
        self.random = random.Random(seed)
        self._good = good
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._garbage,
            self._as_it_is,
            self._other_value,
            self._other_value,
            self._other_value,
            self._other_fields,
            self._flipped,
            self._flipped,
            self._wrong_length,
            self._deep,
            self._indefinite,
            self._twice_a_key,
        )

    def next(self) -> bytes:
        return self.random.choice(self._makers)()

    def _message(self) -> list[Any]:
        return list(self.random.choice(self._good))

    def _garbage(self) -> bytes:
        body = self.random.randbytes(self.random.choice((1, 5, 30, 300)))
        return framed(body) if self.random.random() < 0.5 else body

    def _as_it_is(self) -> bytes:
        return framed(cbor2.dumps(self._message()))

    def _other_value(self) -> bytes:
        """One value anywhere in the message is another one."""
        return framed(cbor2.dumps(self._with_nasty(self._message())))

    def _with_nasty(self, value: Any) -> Any:
        if isinstance(value, list) and value and self.random.random() < 0.9:
            place = self.random.randrange(len(value))
            return [self._with_nasty(item) if n == place else item for n, item in enumerate(value)]
        if isinstance(value, dict) and value and self.random.random() < 0.9:
            chosen = self.random.choice(list(value))
            return {key: self._with_nasty(item) if key == chosen else item for key, item in value.items()}
        return self.random.choice(NASTY)

    def _other_fields(self) -> bytes:
        """Fields too many, too few, or in another order; a tag that nobody knows."""
        message = self._message()
        match self.random.randrange(4):
            case 0:
                message += [self.random.choice(NASTY) for _ in range(3)]
            case 1:
                del message[self.random.randrange(len(message)) :]
            case 2:
                self.random.shuffle(message)
            case _:
                message[0] = self.random.choice((13, 20, 99, -1, 1 << 40))
        return framed(cbor2.dumps(message))

    def _flipped(self) -> bytes:
        frame = bytearray(framed(cbor2.dumps(self._message())))
        for _ in range(self.random.randint(1, 4)):
            # Mostly the body: a broken length ends the conversation before anything else is tried.
            frame[self.random.randrange(0 if self.random.random() < 0.1 else 4, len(frame))] ^= (
                1 << self.random.randrange(8)
            )
        return bytes(frame)

    def _wrong_length(self) -> bytes:
        body = cbor2.dumps(self._message())
        said = self.random.choice(
            (0, len(body) - 1, len(body) + 1, len(body) + 3000, 4 << 20, (4 << 20) + 1, 2**32 - 1)
        )
        return _LENGTH.pack(said) + body

    def _deep(self) -> bytes:
        depth = self.random.choice((7, 9, 1000, 100_000))
        opening = self.random.choice((b"\x81", b"\xa1\x61a", b"\xc6"))
        return framed(b"\x84\x10\x01\x64list" + opening * depth + b"\x01")

    def _indefinite(self) -> bytes:
        return framed(
            self.random.choice(
                (
                    b"\x9f\x10\x01\x64list\xff",
                    b"\x83\x02\x00\x5f\x41a\x41b\xff",
                    b"\x84\x10\x01\x64list\xbf\xff",
                    b"\x9f" * 50,
                )
            )
        )

    def _twice_a_key(self) -> bytes:
        return framed(b"\x84\x10\x01\x64info\xa2\x67session\x61a\x67session\x61b")


# -- connections -----------------------------------------------------------------------------------------


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(os.fspath(path))  # blocking: without that it fails while the listener's queue is full
    sock.settimeout(10)
    return sock


def pour(sock: socket.socket, data: bytes) -> bool:
    """Send all and throw away what comes. Returns False if the peer hung up."""
    sock.setblocking(False)
    view = memoryview(data)
    while view:
        readable, writable, _ = select.select([sock], [sock], [], 10)
        assert readable or writable, "the peer neither takes nor gives anything for 10 s"
        try:
            if readable and not sock.recv(1 << 16):
                return False
            if writable:
                view = view[sock.send(view) :]
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


def send_with_fds(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it had enough of us already
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())])


def messages_until_end(sock: socket.socket) -> list[Message]:
    """All that the peer says until it hangs up."""
    sock.settimeout(20)
    decoder = FrameDecoder()
    with contextlib.suppress(ConnectionResetError):  # it hung up with something of ours unread
        while data := sock.recv(1 << 16):
            decoder.feed(data)
    return list(decoder.messages())


class Talk:
    """A connection on which single messages are waited for."""

    def __init__(self, path: Path) -> None:
        self.sock = connect(path)
        self._decoder = FrameDecoder()

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def next(self) -> Message | None:
        """The next message, or None at the end."""
        self.sock.settimeout(20)
        while (message := self._decoder.next_message()) is None:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
        return message

    def until(self, kind: type[Message]) -> Any:
        """The next message of a kind; others are dropped."""
        while (message := self.next()) is not None:
            if isinstance(message, kind):
                return message
        raise AssertionError(f"hung up before a {kind.__name__}")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


# -- the one that must not notice ------------------------------------------------------------------------


class Watcher:
    """A well-behaved client attached to a session that counts. Checks every byte as it comes, in a thread."""

    def __init__(self, client: Client, session: str) -> None:
        self._client = client
        self.lines = 0
        self.problem: str | None = None
        self._rest = b""
        self._last: int | None = None
        self._seq: int | None = None
        self._closing = False
        params = {"session": session, "client_id": "watcher", "rows": 24, "cols": 80, "replay": False}
        client.post("attach", params)
        attached = client.receive(timeout=10)
        assert isinstance(attached, Attached), attached
        self._seq = attached.seq
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            while self.problem is None and not self._closing:
                message = self._client.receive()
                if isinstance(message, Output):
                    self._take(message)
                elif type(message).__name__ not in ("Live", "Pong", "Resize"):
                    self.problem = f"got {message}"
        except Exception as error:  # noqa: BLE001 - the test that looks at `problem` fails with it
            self.problem = repr(error)

    def _take(self, output: Output) -> None:
        if output.seq != self._seq:
            self.problem = f"output goes on at {output.seq}, not at {self._seq}"
        self._seq = output.seq + len(output.data)
        *whole, self._rest = (self._rest + output.data).split(b"\n")
        for line in whole:
            if self._last is None:  # it may have begun in the middle of one
                self._last = -1
                continue
            if self._last >= 0 and int(line) != self._last + 1:
                self.problem = f"after {self._last} came {line!r}"
            self._last = int(line)
            self.lines += 1

    def check(self) -> None:
        """It still counts, and nothing was wrong so far."""
        enough = self.lines + 5
        wait_for(lambda: self.problem or self.lines >= enough, what="the watcher's next lines")
        assert self.problem is None, self.problem

    def close(self) -> None:
        self._closing = True
        self._thread.join(10)
        self._client.close()
