"""The two places where a session can live, behind one face (`entry.Keeper`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from toowld.client import reach
from toowld.daemon.link import REQUEST_TIMEOUT, Link
from toowld.errors import AttachRefused
from toowld.host import SessionHost, control
from toowld.wire import Event

#: The feature of custodians that tell when what they said of themselves is not so any more.
AGING = "Aging"

#: What is answered with how the session is.
_INFORMING = ("start", "subscribe", "info")

#: The feature of custodians that can replace their code.
UPGRADE = "Upgrade"


class CustodianKeeper:
    """A session in a process of its own: everything is asked over a link."""

    def __init__(
        self,
        sock: socket.socket,
        label: str,
        *,
        on_news: Callable[[Mapping[str, Any]], None],
        on_lost: Callable[[], None],
        on_hangs: Callable[[], None],
    ) -> None:
        self.link = Link(
            sock,
            f"custodian of session {label}",
            on_event=lambda event: self._on_event(event, on_news),
            on_closed=on_lost,
            on_hangs=on_hangs,
        )
        self._features: tuple[str, ...] | None = None  # None: its Hello was not looked at yet
        self._events = 0
        self._info_at: int | None = None  # the number of events when it last said how it is
        self.link.greet()

    def _on_event(self, event: Event, on_news: Callable[[Mapping[str, Any]], None]) -> None:
        self._events += 1
        if event.name == "changed":
            self._info_at = self._events
            on_news(event.data)

    @property
    def hangs(self) -> bool:
        return bool(self.link.overdue)

    @property
    def ages(self) -> bool:
        return AGING in self.features

    @property
    def rest(self) -> int | None:
        return self._events if self._info_at == self._events and self.ages else None

    @property
    def features(self) -> tuple[str, ...]:
        """What it says that it can do, of what not every custodian can."""
        if self._features is None:
            named = self.link.hello.result().about.get("features")
            listed = named if isinstance(named, list) else []
            self._features = tuple(feature for feature in listed if isinstance(feature, str))
        return self._features

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float = REQUEST_TIMEOUT
    ) -> Mapping[str, Any]:
        events = self._events
        answer = await self.link.request(method, params, timeout=timeout)
        if method in _INFORMING:
            self._info_at = events  # if something has come meanwhile, it may be newer than the answer
        return answer

    async def upgrade(self, params: Mapping[str, Any], *, timeout: float) -> Mapping[str, Any]:
        """Have other code go on there.

        Raises:
            UpgradeFailed: it is as it was. CustodianLost, CustodianUnreachable.
        """
        answer = await self.link.request("upgrade", params, timeout=timeout)
        if not params.get("dry_run"):
            self._features = tuple(answer.get("features") or (UPGRADE,))
        return answer

    async def hand_over(
        self, client: socket.socket, unread: bytes, request_id: int, params: Mapping[str, Any]
    ) -> None:
        """Pass the client's socket itself: from now on its bytes flow past us.

        Raises:
            AttachRefused: it has just ended. CustodianLost, CustodianUnreachable: it was not taken.
                ``client`` is still open here.
        """
        await self.link.request(
            "handover",
            {"attach": dict(params), "unread": unread, "request_id": request_id},
            fds=(os.dup(client.fileno()),),
        )
        client.close()

    def close(self) -> None:
        self.link.close()


class LocalKeeper:
    """A standard session, or a look at an ended one: the engine runs in this process."""

    hangs = False
    ages = False  # asking costs nothing
    rest = None

    def __init__(self, host: SessionHost) -> None:
        self.host = host

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float = REQUEST_TIMEOUT
    ) -> Mapping[str, Any]:
        if method == "set_name":  # a custodian keeps a record too; here only what clients are told changes
            self.host.rename((params or {}).get("name"))
            return {}
        return control.request(self.host, method, params or {})

    async def hand_over(
        self, client: socket.socket, unread: bytes, request_id: int, params: Mapping[str, Any]
    ) -> None:
        """Let our own host have the client's socket.

        Raises:
            AttachRefused: it has just ended; ``client`` is still open here.
        """
        if self.host.finished:
            raise AttachRefused("the session has just ended: attach again")
        self.host.join(client, unread, request_id, control.joining(params))

    def close(self) -> None:
        """The daemon ends, and a standard session with it."""
        self.host.abandon("lost")


def connect(path: str) -> socket.socket:
    """Connect to a custodian's socket at once.

    Raises:
        OSError: ECONNREFUSED if nobody listens on the file that is there, EAGAIN if its queue is full.
    """
    return reach(path, lambda: _connect(path))


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
