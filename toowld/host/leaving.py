"""Connections that were told goodbye: open until their last bytes are out, but not for ever."""

from __future__ import annotations

import math
import socket

from toowld.host.loop import Loop
from toowld.host.sockets import FrameSocket
from toowld.session.ending import LONGEST_FAREWELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: A client that was told goodbye and takes nothing of what is queued for it is cut off after so long (seconds).
CLOSE_TIMEOUT = 5.0

#: One that takes something now and then, after so long, counted from the child's end where that came before: over
#: a slow link, the last 300 KiB and how it ended come through; a client that trickles does not keep us for ever.
LONGEST_CLOSE = LONGEST_FAREWELL


class Leaving:
    """The connections on their way out.

    Args:
        loop: calls us.
        on_gone: one of them is closed.
    """

    def __init__(self, loop: Loop, on_gone: Callable[[], None]) -> None:
        self._loop = loop
        self._on_gone = on_gone
        self._sockets: set[FrameSocket] = set()
        self.ended_at: float | None = None  # of the child, if it has ended
        self._latest = math.inf

    def __bool__(self) -> bool:
        """Whether one is still there."""
        return bool(self._sockets)

    def add(self, sock: FrameSocket) -> None:
        """Close a connection once its last bytes are out, or after a while."""
        if not sock.is_open:
            return  # it was gone before our goodbye
        sock.on_sent = sock.on_room = None
        sock.on_close = lambda reason: self._gone(sock)
        self._sockets.add(sock)
        sock.close_when_sent()
        if sock.is_open:
            now = self._loop.time()
            until = (now if self.ended_at is None else self.ended_at) + LONGEST_CLOSE
            until = min(until, self._latest)
            self._wait_for(sock, sock.queued, until)

    def freeze(self, keep: Callable[[int], int]) -> list[dict[str, Any]]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        return [sock.freeze(keep) for sock in self._sockets]

    def thaw(self, states: Sequence[Mapping[str, Any]], take: Callable[[int], int]) -> None:
        """Say goodbye to those to whom another one was saying it; they get their time anew."""
        for state in states:
            sock = FrameSocket(
                socket.socket(fileno=take(state["fd"])),
                self._loop,
                on_message=lambda message, fds: None,
                on_close=lambda reason: None,
            )
            sock.thaw(state, take)
            self.add(sock)

    def hurry(self) -> None:
        """Be through soon, with those who are still to come as well: a shutdown does not wait for a slow link."""
        self._latest = min(self._latest, self._loop.time() + CLOSE_TIMEOUT)
        for sock in self._sockets:
            self._loop.call_at(self._latest, self._gone, sock)

    def _wait_for(self, sock: FrameSocket, queued: int, until: float) -> None:
        """Look again later whether it still takes something."""
        when = min(self._loop.time() + CLOSE_TIMEOUT, until)
        self._loop.call_at(when, self._look, sock, queued, until)

    def _look(self, sock: FrameSocket, queued: int, until: float) -> None:
        if not sock.is_open:
            return
        if sock.queued < queued and self._loop.time() < until:
            self._wait_for(sock, sock.queued, until)
        else:
            self._gone(sock)

    def _gone(self, sock: FrameSocket) -> None:
        sock.close()
        self._sockets.discard(sock)
        self._on_gone()
