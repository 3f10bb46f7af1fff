"""When a client tries again: the states of its link to a session, as a table. PURE.

::

    DISCONNECTED ──dial──▶ CONNECTING ──established──▶ CONNECTED
                              │  ▲                        │
                            failed dial                 lost
                              ▼  │                        │
                           RECONNECTING ◀─────────────────┘

``close`` leads back to DISCONNECTED from everywhere. RECONNECTING is the time between two tries; how long it takes
is `Backoff`'s. It never ends by itself: a laptop that slept over the weekend still wants its session.

Nothing here reads a clock: times come in as arguments, in seconds. Delays are counted in monotonic time, which stands
still while the machine sleeps; `Clocks` that moved apart tell that it did, or that somebody set the time. Whatever
was wrong before may be over then, so the next try is made at once.
"""

from __future__ import annotations

import enum

from toowld.classes import frozen
from toowld.errors import LocalProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: First delay on a local socket: what a custodian or a daemon needs to be there again is some ten milliseconds.
LOCAL_BASE = 0.1
#: No delay is longer: half a minute after the network is back a client is back too, even if nobody told it.
CAP = 30.0
#: Clocks drift apart by a few milliseconds an hour, and NTP slews them by 0.5 ms a second at most.
JUMP = 2.0
#: A link that held for so long worked: what breaks it then is a new matter. Without this a peer that
#: accepts everybody and hangs up at once would be asked without end.
STEADY = 1.0


class LinkState(enum.Enum):
    """Where a client stands with its session."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"


class LinkMove(enum.Enum):
    """What moves a link."""

    DIAL = "dial"
    ESTABLISHED = "established"
    FAILED = "failed"
    LOST = "lost"
    CLOSE = "close"


LINK_TABLE: Mapping[tuple[LinkState, LinkMove], LinkState] = {
    (LinkState.DISCONNECTED, LinkMove.DIAL): LinkState.CONNECTING,
    (LinkState.DISCONNECTED, LinkMove.CLOSE): LinkState.DISCONNECTED,
    (LinkState.CONNECTING, LinkMove.ESTABLISHED): LinkState.CONNECTED,
    (LinkState.CONNECTING, LinkMove.FAILED): LinkState.RECONNECTING,
    (LinkState.CONNECTING, LinkMove.CLOSE): LinkState.DISCONNECTED,
    (LinkState.CONNECTED, LinkMove.LOST): LinkState.RECONNECTING,
    (LinkState.CONNECTED, LinkMove.CLOSE): LinkState.DISCONNECTED,
    (LinkState.RECONNECTING, LinkMove.DIAL): LinkState.CONNECTING,
    (LinkState.RECONNECTING, LinkMove.CLOSE): LinkState.DISCONNECTED,
}


def next_link_state(state: LinkState, move: LinkMove) -> LinkState:
    """Where ``move`` leads from ``state``.

    Raises:
        LocalProtocolError: nowhere; a bug of ours.
    """
    try:
        return LINK_TABLE[state, move]
    except KeyError:
        raise LocalProtocolError(f"a link that is {state.value} can't be moved by '{move.value}'") from None


class Backoff:
    """Delays that double from ``base`` up to ``cap``, each shortened at random by up to a half.

    Args:
        random: a number from 0 to 1. Without it all clients of a daemon would come back in the same instant.
    """

    def __init__(self, random: Callable[[], float], *, base: float = LOCAL_BASE, cap: float = CAP) -> None:
        self._random = random
        self._base = base
        self._cap = cap
        self._next = base

    def delay(self) -> float:
        """How long to wait now."""
        whole = min(self._next, self._cap)
        self._next = min(whole * 2, self._cap)  # not base·2**n: that number has no end, and float has
        return whole * (1 - self._random() / 2)

    def reset(self) -> None:
        """It worked: begin anew."""
        self._next = self._base


@frozen
class Clocks:
    """What the clocks say at one moment. ``boottime`` goes on while the machine sleeps, ``wall`` can be set."""

    monotonic: float
    boottime: float
    wall: float

    def jumped_since(self, before: Clocks) -> bool:
        """Whether more than time has passed."""
        passed = self.monotonic - before.monotonic
        return (
            abs(self.boottime - before.boottime - passed) > JUMP
            or abs(self.wall - before.wall - passed) > JUMP
        )


class Reconnector:
    """One client's link: its state, and when the next try is due.

    Args:
        backoff: how long to wait between tries.
        clocks: now.
    """

    def __init__(self, backoff: Backoff, clocks: Clocks) -> None:
        self.state = LinkState.DISCONNECTED
        self.failures = 0  # since the link was last there
        self.retry_at: float | None = None
        self._backoff = backoff
        self._clocks = clocks
        self._since = 0.0

    def dial(self) -> None:
        """A try begins."""
        self._move(LinkMove.DIAL)
        self.retry_at = None

    def established(self, now: float) -> None:
        """The session answered: the link is there."""
        self._move(LinkMove.ESTABLISHED)
        self.failures = 0
        self._since = now

    def proved(self) -> None:
        """Output or an acknowledgement came: the link does work."""
        self._backoff.reset()

    def failed(self, now: float) -> None:
        """The try came to nothing."""
        self._move(LinkMove.FAILED)
        self.failures += 1
        self.retry_at = now + self._backoff.delay()

    def lost(self, now: float) -> None:
        """The link broke."""
        self._move(LinkMove.LOST)
        if now - self._since >= STEADY:
            self._backoff.reset()
        self.retry_at = now + self._backoff.delay()

    def close(self) -> None:
        """Nobody wants it any more."""
        self._move(LinkMove.CLOSE)
        self.retry_at = None

    def retry_now(self, now: float) -> None:
        """Something happened that may have helped: don't wait any longer, and be quick for a while."""
        self._backoff.reset()
        if self.state is LinkState.RECONNECTING:
            self.retry_at = now

    def look(self, clocks: Clocks) -> None:
        """Compare the clocks with how they stood at the last look."""
        before, self._clocks = self._clocks, clocks
        if clocks.jumped_since(before):
            self.retry_now(clocks.monotonic)

    def due(self, now: float) -> bool:
        """Whether the next try is to be made now."""
        return self.retry_at is not None and now >= self.retry_at

    def _move(self, move: LinkMove) -> None:
        self.state = next_link_state(self.state, move)


class Keepalive:
    """Finds out that a peer is gone which no one told us about: for transports that can go silent.

    Not for Unix sockets: there the kernel says when the peer is gone, and an idle client should sleep.
    """

    def __init__(self, *, interval: float = 5.0, patience: float = 15.0) -> None:
        self._interval = interval
        self._patience = patience
        self._heard_at = 0.0
        self._ping_at = 0.0
        self._token = 0

    def heard(self, now: float) -> None:
        """Something came, or we did not listen: the count begins anew."""
        self._heard_at = now

    def begin(self, now: float) -> None:
        """A new connection."""
        self._heard_at = now
        self._ping_at = now + self._interval

    def ping(self, now: float) -> int | None:
        """The token of the `Ping` to send now, if one is due."""
        if now < self._ping_at:
            return None
        self._ping_at = now + self._interval
        self._token += 1
        return self._token

    def dead(self, now: float) -> bool:
        """Whether the peer has been silent for too long."""
        return now - self._heard_at >= self._patience

    @property
    def deadline(self) -> float:
        """When to ask `dead` and `ping` again."""
        return min(self._ping_at, self._heard_at + self._patience)
