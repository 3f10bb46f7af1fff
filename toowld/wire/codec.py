"""Bytes to messages and back. PURE.

A frame is a 4-byte big-endian length and then one CBOR array ``[tag, field, …]`` (RFC 8949). Nothing that a
peer sends is trusted: the length is capped before anything is kept, CBOR is decoded with limits on depth,
indefinite lengths, tags and keys, and only then the type of every field is checked.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from toowld import cbor
from toowld.classes import fields
from toowld.errors import LocalProtocolError, RemoteProtocolError, VersionMismatch
from toowld.wire import messages
from toowld.wire.messages import BY_TAG, Message, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

#: No frame is larger. A list of some thousand sessions is the largest that we send; output travels in
#: pieces of 64 KiB. A peer that announces more is broken or hostile.
MAX_FRAME = 4 << 20

#: Deepest nesting of a frame: array > params map > record map > list > map is 5.
MAX_DEPTH = 8

#: Longest text in a field of its own: the name of a request, or what a user is told. An error that quotes what a
#: peer sent must not grow over the limit of a frame by that.
MAX_TEXT = 4096

_LENGTH = struct.Struct(">I")
_SEQ_LIMIT = 1 << 63


def _is_int(value: object) -> bool:
    return type(value) is int and -_SEQ_LIMIT <= value < _SEQ_LIMIT


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(type(key) is str for key in value)


#: By the annotation of a field, as it stands in `messages`.
_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "int": _is_int,
    "str": lambda value: type(value) is str,
    "bytes": lambda value: type(value) is bytes,
    "int | None": lambda value: value is None or _is_int(value),
    "Mapping[str, Any]": _is_text_map,
}


def _fields_of(cls: type[Message]) -> tuple[tuple[tuple[str, Callable[[object], bool]], ...], int]:
    """The names and type checks of a message's fields, and how many of them are required."""
    found = fields(cls)
    return tuple((one.name, _CHECKS[one.type]) for one in found), sum(one.required for one in found)


class _NoTags(Mapping[int, "Any"]):
    """Has an answer to every CBOR tag: no.

    We send none, and nearly every one that cbor2 knows is a weapon: numbers of millions of digits, structures
    that hold themselves or a trillion copies of a part, regular expressions, whole e-mails.
    """

    def __getitem__(self, tag: int) -> Callable[..., NoReturn]:
        return self._refuse

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1  # an empty one would not be asked

    @staticmethod
    def _refuse(*_: object) -> NoReturn:
        raise ValueError("a CBOR tag, which this protocol does not use")


_NO_TAGS = _NoTags()

_FIELDS = {tag: _fields_of(cls) for tag, cls in BY_TAG.items()}


class Encoded:
    """A value that is encoded once, and sent many times as part of messages.

    Raises:
        LocalProtocolError: it holds what CBOR can't carry.
    """

    __slots__ = ("data",)

    def __init__(self, value: object) -> None:
        self.data = _dumps(value, type(value).__name__)


def encode(message: Message) -> bytes:
    """One message as one frame.

    Raises:
        LocalProtocolError: the message is too large, or holds what CBOR can't carry.
    """
    names = _FIELDS[message.TAG][0]
    what = type(message).__name__
    body = _dumps([message.TAG, *(_sendable(getattr(message, name)) for name, _ in names)], what)
    if len(body) > MAX_FRAME:
        raise LocalProtocolError(f"{what} of {len(body)} bytes is over {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def _dumps(value: object, what: str) -> bytes:
    try:
        data: bytes = cbor.dumps(value, default=_write_encoded)
    except (cbor.CBOREncodeError, UnicodeEncodeError) as error:
        raise LocalProtocolError(f"can't send {what}: {error}") from error
    return data


def _write_encoded(encoder: Any, value: object) -> None:
    """What is asked by cbor2 about types that it does not know."""
    if not isinstance(value, Encoded):
        raise cbor.CBOREncodeError(f"cannot encode type {type(value)}")
    encoder.write(value.data)


def _sendable(value: object) -> object:
    """A field as CBOR takes it: text that is not UTF-8 escaped (a path in an error message), and not too long."""
    if type(value) is not str:
        return value
    if len(value) > MAX_TEXT:
        value = value[: MAX_TEXT - 1] + "…"
    return value.encode("utf-8", "backslashreplace").decode()


def decode_body(body: bytes) -> Message:
    """One frame without its length as a message; `Unknown` for a tag that we don't know.

    Raises:
        RemoteProtocolError: it is not one item of CBOR within our limits, or a field is missing or of a wrong type.
    """
    stream = io.BytesIO(body)  # `loads` would not tell where the item ends
    try:
        value = cbor.load(
            stream,
            semantic_decoders=_NO_TAGS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,  # numbers as keys can be chosen so that all have the same hash
        )
    except Exception as error:  # cbor2 documents CBORDecodeError; a hostile frame must not find another one
        raise RemoteProtocolError(f"frame is not valid CBOR: {error}") from error
    if stream.tell() != len(body):
        raise RemoteProtocolError("frame goes on after its message")
    if type(value) is not list or not value or not _is_int(value[0]):
        raise RemoteProtocolError("frame is not an array that begins with a tag")
    tag = value[0]
    cls = BY_TAG.get(tag)
    if cls is None:
        return Unknown(tag)
    fields, required = _FIELDS[tag]
    given = value[1 : len(fields) + 1]  # further fields come from a newer peer
    if len(given) < required:
        raise RemoteProtocolError(f"{cls.__name__} lacks a field")
    for (name, check), item in zip(fields, given, strict=False):
        if not check(item):
            raise RemoteProtocolError(f"{cls.__name__}.{name} has a wrong type")
    return cls(*given)


class FrameDecoder:
    """Takes bytes as they come, gives messages.

    After an error the stream can't be trusted any more: close it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was read. Follow with `messages` or `next_message` until there is no more."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next whole message, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: see `decode_body`; also for a frame that is empty or too long.
        """
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if not 0 < length <= MAX_FRAME:
            raise RemoteProtocolError(f"frame of {length} bytes (1 to {MAX_FRAME} are allowed)")
        end = 4 + length
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            body = bytes(view[4:end])
        del buffer[:end]
        return decode_body(body)

    def messages(self) -> Iterator[Message]:
        """All whole messages that are there."""
        while (message := self.next_message()) is not None:
            yield message

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    @property
    def unread(self) -> bytes:
        """Everything not yet decoded."""
        return bytes(self._buffer)

    def take_unread(self) -> bytes:
        """Everything not yet decoded; afterwards empty. For handing a stream over to another process."""
        unread = bytes(self._buffer)
        self._buffer.clear()
        return unread


def negotiate(hello: messages.Hello) -> int:
    """The version to speak with the sender of ``hello``: the highest that both know.

    Raises:
        VersionMismatch: there is none.
    """
    version = min(hello.version_max, messages.VERSION_MAX)
    if version < max(hello.version_min, messages.VERSION_MIN):
        raise VersionMismatch(
            f"peer speaks protocol {hello.version_min} to {hello.version_max}, "
            f"we speak {messages.VERSION_MIN} to {messages.VERSION_MAX}: upgrade the older side"
        )
    return version
