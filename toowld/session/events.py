"""What can happen to a session: the only things that `Session.handle` takes. PURE.

``client`` is the number of an attachment, chosen by the driver, never used twice in one engine.

Nobody changes an event, but they are not frozen: each key makes several, and a frozen one takes four times as long.
"""

from __future__ import annotations

import enum

from toowld.classes import define
from toowld.session.sizes import SizePolicy
from toowld.wire import Size


class Lead(enum.Enum):
    """Whether a client that attaches takes the lead."""

    NO = "no"
    KEEP = "keep"  # unless somebody has it by now: it comes back, and had it before
    TAKE = "take"  # from whoever has it


@define
class Event:
    """Base of all events."""


@define
class StartRequested(Event):
    """The child is about to be started."""


@define
class ChildStarted(Event):
    """The child runs."""

    pid: int


@define
class ChildFailed(Event):
    """The child could not be started."""


@define
class ChildEnded(Event):
    """The child was reaped, and all that it had written has been read before this.

    ``reason``: "exited" if it ended by itself or was killed on request, "lost" if we are being ended.
    """

    code: int | None
    signal: int | None
    reason: str = "exited"


@define
class Marked(Event):
    """Output that went past the engine (`Session.sole`) had a mark."""


@define
class PtyOutput(Event):
    """Bytes read from the PTY, at most 64 KiB."""

    data: bytes


@define
class PtyTook(Event):
    """The PTY took the next ``count`` bytes of what `effects.WritePty` asked for."""

    count: int


@define
class ClientJoined(Event):
    """A client wants to attach.

    ``from_seq``: first output byte that it lacks, or None to let the session choose: the last
    ``replay_bytes`` of the scrollback, or nothing if that is 0; so it does for one beyond the end.
    ``redraw``: its screen is not what the output before ``from_seq`` made of it.
    ``lead``: whether it takes the lead. ``steal``: all others have to leave.
    """

    client: int
    client_id: str
    size: Size | None
    read_only: bool
    from_seq: int | None
    replay_bytes: int
    redraw: bool = False
    lead: Lead = Lead.NO
    steal: bool = False


@define
class ClientLeft(Event):
    """The client asked to detach, or its connection is gone. Nobody is told."""

    client: int


@define
class ClientDismissed(Event):
    """Somebody else wants this client out; it is told ``reason``."""

    client: int
    reason: str


@define
class ClientTyped(Event):
    """Input of a client.

    ``seq``: offset of ``data[0]`` in all that this client id ever sent; None for what was read from its terminal,
    and so continues what was taken.
    """

    client: int
    seq: int | None
    data: bytes


@define
class ClientRewound(Event):
    """What a client was given from ``seq`` on counts as not given: it goes on there, over another way.

    Nothing is queued on that yet, and nobody waits for room.
    """

    client: int
    seq: int


@define
class ClientResized(Event):
    """A client's terminal has another size."""

    client: int
    size: Size


@define
class ClientTook(Event):
    """The client's connection has taken bytes; ``queued`` bytes are left."""

    client: int
    queued: int


@define
class ClientRoom(Event):
    """The answer to `effects.WatchRoom`: nothing is queued, and the client's connection would take more.

    Comes from the loop, never from within a send: everybody else had a turn since the question.
    """

    client: int


@define
class LogRead(Event):
    """What `effects.ReadLog` brought: output from ``seq`` on (later than asked: the rest is no longer held)."""

    client: int
    seq: int
    data: bytes


@define
class Injected(Event):
    """Input that comes from no attachment (`toowl send`)."""

    data: bytes


@define
class ScreenAnswered(Event):
    """The answer to one of `Session.questions`, which ended at ``end``; empty: there is none."""

    end: int
    data: bytes


@define
class ResizeRequested(Event):
    """Somebody sets the size by hand. Holds until a client attaches, resizes or leaves."""

    size: Size


@define
class PolicyChanged(Event):
    """From now on the size follows the terminals in another way."""

    policy: SizePolicy


@define
class KillRequested(Event):
    """End the child: HUP, TERM, KILL with time between them, or KILL at once."""

    force: bool


@define
class TimerFired(Event):
    """`Session.next_deadline` has come."""
