"""A peer of a later version, as far as others can tell: stands on a connection, and says more than they know.

Every message gets fields at its end that are not defined yet, every map in it a key, and between any two messages
there is one with an unknown tag. What comes along with a message (SCM_RIGHTS) passes on with it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cbor2

_LENGTH = struct.Struct(">I")


def frame(value: list[Any]) -> bytes:
    """Anything, as a frame."""
    body: bytes = cbor2.dumps(value)
    return _LENGTH.pack(len(body)) + body


UNKNOWN = frame([9999, {"from the future": [1, None]}, b"?", 7])


def of_the_future(body: bytes) -> bytes:
    """A frame's body, with more in it, as a frame."""
    value = cbor2.loads(body)
    for field in value:
        if isinstance(field, dict):
            field["from the future"] = [1, {"a": None}]
    return frame([*value, "from the future", {"b": 2}])


class Noise:
    """Listens at some paths, and passes on what is said to others and back, as above.

    Attributes:
        messages: how many were passed on.
    """

    def __init__(self, ways: Mapping[Path, Path]) -> None:
        self.messages = 0
        self._listeners: list[socket.socket] = []
        self._ends: list[socket.socket] = []
        for path, target in ways.items():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.fspath(path))
            path.chmod(0o600)
            listener.listen()
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, target), daemon=True).start()

    def __enter__(self) -> Noise:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in [*self._listeners, *self._ends]:
            with contextlib.suppress(OSError):  # not connected any more
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self, listener: socket.socket, target: Path) -> None:
        with contextlib.suppress(OSError):  # shut down
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                try:
                    far.connect(os.fspath(target))
                except OSError:  # where nobody is there, we are as good as not there
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of them is gone
            for body, fds in _frames(source):
                self.messages += 1
                data = of_the_future(body)
                try:
                    sent = socket.send_fds(sink, [data], fds) if fds else 0
                finally:  # also where nobody takes it: a terminal that we kept would never hang up
                    for fd in fds:
                        os.close(fd)
                sink.sendall(data[sent:] + UNKNOWN)
        # This way only: on the other there may still be last words.
        for sock, way in ((source, socket.SHUT_RD), (sink, socket.SHUT_WR)):
            with contextlib.suppress(OSError):
                sock.shutdown(way)


def _frames(source: socket.socket) -> Iterator[tuple[bytes, list[int]]]:
    """Each frame's body, with what came along: the kernel ends a read where that belongs."""
    buffer = b""
    waiting: list[int] = []
    while True:
        data, fds, _flags, _address = socket.recv_fds(source, 1 << 16, 8)
        if not data:
            return
        buffer += data
        waiting += fds
        while len(buffer) >= 4 and len(buffer) >= (end := 4 + _LENGTH.unpack_from(buffer)[0]):
            body, buffer = buffer[4:end], buffer[end:]
            taken, waiting = ([], waiting) if buffer and fds else (waiting, [])
            yield body, taken
