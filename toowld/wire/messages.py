"""The messages of the wire, as frozen classes. PURE.

A message travels as one CBOR array ``[tag, field, …]``, fields in the order in which they stand here.
**Tags and meanings, once released, are frozen**: custodians outlive upgrades by months. What may change:

- a new tag: peers that don't know it ignore it;
- a new field at the end, with a default: older peers ignore it, newer ones fill it in;
- a new key in a map (`Hello.about`, `Attached.about`, `Request.params`, …): unknown keys are ignored.

``docs/protocol.md`` says who sends what, and when.
"""

from __future__ import annotations

from toowld.classes import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

#: The versions of this protocol that we speak, both ends included.
VERSION_MIN = 1
VERSION_MAX = 1


@frozen
class Size:
    """A terminal's size in character cells. Always written with keywords: half the world orders them otherwise."""

    rows: int
    cols: int

    def __post_init__(self) -> None:
        # TIOCSWINSZ holds unsigned shorts; 0 means "unknown" to the kernel, which no program handles well.
        if not (0 < self.rows <= 0xFFFF and 0 < self.cols <= 0xFFFF):
            raise ValueError(f"no terminal is {self.cols}x{self.rows}")


DEFAULT_SIZE = Size(rows=24, cols=80)


@frozen
class Message:
    """Base of all messages."""

    TAG: ClassVar[int]


@frozen
class Hello(Message):
    """First message of both sides.

    ``about`` may hold: ``role`` ("client", "daemon", "custodian"), ``build`` (version text), ``pid``,
    ``session`` (id), ``features`` (list of text, e.g. "ExportCast").
    """

    TAG: ClassVar[int] = 0
    version_min: int = VERSION_MIN
    version_max: int = VERSION_MAX
    about: Mapping[str, Any] = field(factory=dict)


@frozen
class Output(Message):
    """Bytes that the child wrote. ``seq``: absolute offset of ``data[0]`` in the session's output."""

    TAG: ClassVar[int] = 1
    seq: int
    data: bytes


@frozen
class Input(Message):
    """Bytes for the child. ``seq``: offset of ``data[0]`` in all that this client id ever sent to the session."""

    TAG: ClassVar[int] = 2
    seq: int
    data: bytes


@frozen
class InputAck(Message):
    """All input of this client below ``seq`` has been written to the PTY."""

    TAG: ClassVar[int] = 3
    seq: int


@frozen
class Resize(Message):
    """The client's terminal has this size now; from the session: its own size is this now."""

    TAG: ClassVar[int] = 4
    rows: int
    cols: int


@frozen
class Attached(Message):
    """The attachment stands; replay follows, then `Live`.

    ``seq``: where the replay begins. ``live``: the end of the output at this moment; what is sent below it is
    replay. ``input_seq``: how much input of this client id has been taken so far. ``about``: the session's
    `id`, `name`, `pid`, `rows`, `cols`, `client` (number of this attachment), `read_only`.
    """

    TAG: ClassVar[int] = 5
    seq: int
    live: int
    input_seq: int
    about: Mapping[str, Any] = field(factory=dict)


@frozen
class Gap(Message):
    """Output in ``[start, end)`` is not held; the next `Output` begins at ``end``. How much: `gap_bytes`."""

    TAG: ClassVar[int] = 6
    start: int
    end: int


@frozen
class Live(Message):
    """All output below ``seq`` has been sent; what follows is live."""

    TAG: ClassVar[int] = 7
    seq: int


@frozen
class Ended(Message):
    """The child is gone, and all its output was sent before this.

    ``reason``: "exited" or "lost". ``code`` / ``signal``: of the child, where known. ``seq``: end of the output.
    """

    TAG: ClassVar[int] = 8
    seq: int
    reason: str
    code: int | None = None
    signal: int | None = None


@frozen
class Detach(Message):
    """The client wants to leave. Answered by `Detached`."""

    TAG: ClassVar[int] = 9


@frozen
class Detached(Message):
    """The attachment is over, the session is not. ``reason``: "client", "requested", "protocol error: …" …"""

    TAG: ClassVar[int] = 10
    reason: str


@frozen
class Ping(Message):
    """Asks for a `Pong` with the same token."""

    TAG: ClassVar[int] = 11
    token: int


@frozen
class Pong(Message):
    """Answers a `Ping`."""

    TAG: ClassVar[int] = 12
    token: int


@frozen
class Lend(Message):
    """The client lends its terminal: output from ``seq`` on may be written to it, and what is typed be read from it.

    Comes with two descriptors: the terminal, raw and non-blocking, and the page of `toowld.wire.page`. ``params``:
    ``settings``, what TCGETS says of the terminal: while it says something else, somebody else uses it. ``stops``, a
    list of byte strings; what is typed from the first of them on is not for the session. Answered by `Lent`, or by
    `Returned` at once: not now.
    """

    TAG: ClassVar[int] = 13
    seq: int
    params: Mapping[str, Any] = field(factory=dict)


@frozen
class Lent(Message):
    """The session has the client's terminal. `Output` from ``seq`` on that was sent before counts as not sent."""

    TAG: ClassVar[int] = 14
    seq: int


@frozen
class Returned(Message):
    """The terminal is the client's: output below ``seq`` was written to it, what follows is sent.

    ``input_seq``: how much input of this client was taken. ``begun``: its last bytes, if a stop may have begun with
    them. ``typed``: was read from the terminal and not taken, because it begins with a stop, or with what makes
    ``begun`` one.
    """

    TAG: ClassVar[int] = 15
    seq: int
    input_seq: int
    begun: bytes = b""
    typed: bytes = b""


@frozen
class Recall(Message):
    """The client has taken its terminal back (see `toowld.wire.page`). Answered by `Returned`."""

    TAG: ClassVar[int] = 20


@frozen
class Seen(Message):
    """While its terminal is lent: the client knows, from the log, all output below ``seq``. Answers `Live`."""

    TAG: ClassVar[int] = 21
    seq: int


@frozen
class Request(Message):
    """Asks the daemon or a custodian to do something. Answered by `Response` or `Failure` with the same id."""

    TAG: ClassVar[int] = 16
    id: int
    method: str
    params: Mapping[str, Any] = field(factory=dict)


@frozen
class Response(Message):
    """What a `Request` brought."""

    TAG: ClassVar[int] = 17
    id: int
    result: Mapping[str, Any] = field(factory=dict)


@frozen
class Failure(Message):
    """Why a `Request` was not done. ``code`` is one of `toowld.errors`; ``text`` is for the user."""

    TAG: ClassVar[int] = 18
    id: int
    code: str
    text: str


@frozen
class Event(Message):
    """Something happened; sent to links that asked for it with the request ``subscribe``."""

    TAG: ClassVar[int] = 19
    name: str
    data: Mapping[str, Any] = field(factory=dict)


@frozen
class Unknown(Message):
    """A message of a newer peer. Never sent by us; whoever gets one ignores it."""

    TAG: ClassVar[int] = -1
    tag: int


BY_TAG: Mapping[int, type[Message]] = {
    cls.TAG: cls
    for cls in (
        Hello, Output, Input, InputAck, Resize, Attached, Gap, Live, Ended, Detach, Detached,
        Ping, Pong, Lend, Lent, Returned, Request, Response, Failure, Event, Recall, Seen,
    )
}  # fmt: skip
