"""One connection to a custodian, from whoever asks or wants the news: the daemon, or a client that comes by itself.

Owns how far the two know each other. What is asked and answered is `keeper`'s business.
"""

from __future__ import annotations

from toowld.host import FrameSocket, Loop
from toowld.wire import Hello, Message, negotiate

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any

#: A connection that has not said Hello within this time is no client of ours (seconds).
HELLO_TIMEOUT = 10.0


class Link:
    """One connection.

    Args:
        sock: becomes ours.
        loop: calls us.
        on_message: gets each message, and the descriptors that came with it (they become the callee's).
        on_closed: the peer is gone; not called after ``socket.close`` or ``socket.release``.
        on_took: the peer took something; gets how many bytes are left.
        unread: bytes that somebody else had read from the socket already.

    Attributes:
        subscribed: wants the news.
        behind: there is news that it was not sent, as it takes nothing.
        informed: what it was told last is still so. Not kept over an upgrade: then all who are subscribed are told
            the news.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        *,
        on_message: Callable[[Link, Message, list[int]], None],
        on_closed: Callable[[Link], None],
        on_took: Callable[[Link, int], None],
        unread: bytes = b"",
    ) -> None:
        self.subscribed = False
        self.behind = False
        self.informed = False
        self.greeted = False
        self._on_closed = on_closed
        self._on_message = on_message
        self.socket = FrameSocket(
            sock,
            loop,
            on_message=self._on_frame,
            on_close=lambda reason: self._close(),
            on_sent=lambda queued: on_took(self, queued),
            unread=unread,
        )
        self._patience = loop.call_at(loop.time() + HELLO_TIMEOUT, self._give_up)

    def _on_frame(self, message: Message, fds: list[int]) -> None:
        self._on_message(self, message, fds)
        if isinstance(message, Hello):
            negotiate(message)
            self._greet()

    def _greet(self) -> None:
        self.greeted = True
        self._patience.cancel()

    def _give_up(self) -> None:
        if self.socket.is_open:
            self.socket.close()
            self._close()

    def _close(self) -> None:
        self._patience.cancel()
        self._on_closed(self)

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        return {
            "greeted": self.greeted,
            "subscribed": self.subscribed,
            "behind": self.behind,
            "socket": self.socket.freeze(keep),
        }

    def thaw(self, state: Mapping[str, Any], take: Callable[[int], int]) -> None:
        """Go on where another one was, whose socket and ``unread`` we were made with."""
        self.socket.thaw(state["socket"], take)
        self.subscribed = state["subscribed"]
        self.behind = state["behind"]
        if state["greeted"]:
            self._greet()
