"""Requests over a `FrameSocket`, with their answers: the daemon's end of a link to a custodian or to the zygote."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toowld import __version__
from toowld.errors import (
    CustodianLost,
    CustodianUnreachable,
    LocalProtocolError,
    RemoteProtocolError,
    from_wire,
)
from toowld.host import FrameSocket
from toowld.wire import Event, Failure, Hello, Message, Request, Response, encode, negotiate

#: A healthy custodian answers within a millisecond; one that takes so long is stopped or stuck (seconds).
REQUEST_TIMEOUT = 2.0


class Link:
    """A connection that we ask things over.

    Args:
        sock: connected; becomes ours.
        what: names the peer in error messages ("custodian of build").
        on_event: gets the news that the peer sends.
        on_closed: the peer is gone; not called after `close`.
        on_hangs: it has not answered in time, or has answered all again.
    """

    def __init__(
        self,
        sock: socket.socket,
        what: str,
        *,
        on_event: Callable[[Event], None] | None = None,
        on_closed: Callable[[], None] | None = None,
        on_hangs: Callable[[], None] | None = None,
    ) -> None:
        self._what = what
        self._on_event = on_event
        self._on_closed = on_closed
        self._on_hangs = on_hangs
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._last_id = 0
        self._loop = asyncio.get_running_loop()
        self.hello: asyncio.Future[Hello] = self._loop.create_future()
        #: Requests that timed out and were not answered since: while there are any, the peer hangs.
        self.overdue: set[int] = set()
        self._socket = FrameSocket(
            sock, self._loop, on_message=self._on_message, on_close=self._on_close, patient=True
        )

    @property
    def is_open(self) -> bool:
        return self._socket.is_open

    def greet(self) -> None:
        """Say who we are. The peer's own `hello` comes without being asked for."""
        self._socket.send(encode(Hello(about={"role": "daemon", "build": __version__})))

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        fds: Sequence[int] = (),
        timeout: float = REQUEST_TIMEOUT,
    ) -> Mapping[str, Any]:
        """Ask, and wait for the answer.

        Args:
            fds: sent along, and closed here.
            timeout: seconds.

        Raises:
            ToowlError: the one that the peer's `Failure` names.
            LocalProtocolError: it does not fit into a frame.
            CustodianLost: the peer is gone. CustodianUnreachable: it does not answer in time.
        """
        self._last_id += 1
        request_id = self._last_id
        try:
            # Whoever waited was told that it failed, and a process that is only stopped would do it later.
            expires = self._loop.time() + timeout
            frame = encode(Request(request_id, method, {**(params or {}), "expires": expires}))
        except LocalProtocolError:
            for fd in fds:
                os.close(fd)
            raise
        future: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        if self.is_open:
            self._answers[request_id] = future
        self._socket.send(frame, fds)
        if not self.is_open:
            raise CustodianLost(f"the {self._what} is gone")
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            self.overdue.add(request_id)
            if self._on_hangs is not None:
                self._on_hangs()
            raise CustodianUnreachable(f"the {self._what} does not answer: see `toowld doctor`") from None
        finally:
            self._answers.pop(request_id, None)

    def _on_message(self, message: Message, fds: list[int]) -> None:
        for fd in fds:  # nobody asked for any
            os.close(fd)
        match message:
            case Hello():
                try:
                    negotiate(message)
                except RemoteProtocolError as error:
                    if not self.hello.done():
                        self.hello.set_exception(error)
                else:
                    if not self.hello.done():
                        self.hello.set_result(message)
            case Response(request_id) | Failure(request_id):
                if request_id in self.overdue:
                    self.overdue.discard(request_id)
                    if self._on_hangs is not None:
                        self._on_hangs()
                future = self._answers.get(request_id)
                if future is None or future.done():
                    return
                if isinstance(message, Failure):
                    future.set_exception(from_wire(message.code, message.text))
                else:
                    future.set_result(message.result)
            case Event() if self._on_event is not None:
                self._on_event(message)

    def _on_close(self, reason: str) -> None:
        lost = CustodianLost(f"the {self._what} is gone ({reason})")
        if not self.hello.done():
            self.hello.set_exception(lost)
            self.hello.exception()  # whoever waits gets it; if nobody does, that is no bug to report
        for future in self._answers.values():
            if not future.done():
                future.set_exception(lost)
        if self._on_closed is not None:
            self._on_closed()

    def close(self) -> None:
        """Hang up. The peer's session goes on."""
        self._socket.close()
        self.hello.cancel()
