"""One question to the daemon without importing the wire.

`toowld.client` is the way to speak to the daemon. But the wire's typed messages take Python as long to import as a
bare start. ``toowl ls`` asks one thing only, and ``toowl attach`` has one done while it loads the rest. So they
write two frames by hand, in their frozen form (``docs/protocol.md``; a test compares them with the real codec). Even
CBOR is loaded only when they are on their way, and the daemon is at work.
Whatever is not exactly as expected ends in `Unusable`, and the caller takes the long way, which tells the user what
is wrong.
"""

from __future__ import annotations

import _socket  # socket would build a dozen enums
import os
import sys

from toowld import __version__
from toowld.place import daemon_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HELLO, _REQUEST, _RESPONSE = 0, 16, 17  # wire.Hello.TAG and so on
_MAX_FRAME = 4 << 20
_MAX_DEPTH = 8
_VERSION = 1


class Unusable(Exception):
    """The short way does not work: nobody there, not ours, or not what was expected."""


def frame(message: list[Any]) -> bytes:
    """A message as one frame: length, then CBOR."""
    body = _encoded(message)
    return len(body).to_bytes(4, "big") + body


def _encoded(value: Any) -> bytes:
    """CBOR (RFC 8949), as much of it as requests are made of."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value)
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(_encoded, value))
    pairs = [_encoded(key) + _encoded(item) for key, item in value.items()]
    return _head(5, len(pairs)) + b"".join(pairs)


def _head(major: int, number: int) -> bytes:
    """What every item begins with: its type, and its value or size, in as few bytes as that takes."""
    if number < 24:
        return bytes((major << 5 | number,))
    power = 0 if number < 1 << 8 else 1 if number < 1 << 16 else 2
    return bytes((major << 5 | 24 + power,)) + number.to_bytes(1 << power, "big")


def ask(method: str, params: dict[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
    """Ask the daemon for ``method``.

    Raises:
        Unusable: take `toowld.client` instead.
    """
    stream = begin(method, params or {}, timeout)
    try:
        return _answer(stream)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Unusable from error
    finally:
        stream.close()


def begin(method: str, params: dict[str, Any], timeout: float = 5.0) -> _socket.socket:
    """A connection over which a Hello has gone out, and the request 1. Nothing is read yet.

    Raises:
        Unusable: take `toowld.client` instead.
    """
    stream = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout)
        stream.connect(daemon_socket())
        # struct ucred: pid, uid, gid (unix(7)).
        credentials = stream.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if int.from_bytes(credentials[4:8], sys.byteorder) != os.getuid():
            raise Unusable
        about = {"role": "client", "build": __version__, "pid": os.getpid()}
        hello = frame([_HELLO, _VERSION, _VERSION, about])
        stream.sendall(hello + frame([_REQUEST, 1, method, params]))
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError | ValueError):
            raise Unusable from error
        raise
    return stream


def _answer(stream: _socket.socket) -> dict[str, Any]:
    buffer = bytearray()
    greeted = False
    while True:
        message, buffer = _next(stream, buffer)
        if message[0] == _HELLO:
            if not message[1] <= _VERSION <= message[2]:
                raise Unusable
            greeted = True
        elif message[0] == _RESPONSE and message[1] == 1 and greeted and type(message[2]) is dict:
            return message[2]
        elif message[0] <= _RESPONSE + 1:  # a Failure, or nonsense
            raise Unusable


def _next(stream: _socket.socket, buffer: bytearray) -> tuple[list[Any], bytearray]:
    from toowld import cbor

    needed = 4
    while True:
        if needed == 4 and len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "big")
            if not 0 < length <= _MAX_FRAME:
                raise Unusable
            needed += length
        if needed > 4 and len(buffer) >= needed:
            body = bytes(buffer[4:needed])
            try:
                message = cbor.loads(
                    body, max_depth=_MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
                )
            except cbor.CBORError as error:
                raise Unusable from error
            if type(message) is not list or not message or type(message[0]) is not int:
                raise Unusable
            return message, buffer[needed:]
        data = stream.recv(1 << 18)
        if not data:
            raise Unusable
        buffer += data
