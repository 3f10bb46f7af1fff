"""One client of the daemon's socket, from its Hello until it is attached to a session or hangs up.

Owns the connection's manners: who says Hello first, how many requests may be under way, how much may wait unread, and
that no answer comes after the client was given away. What is asked, and of which session, is for whoever `Serves` it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from toowld.daemon.events import Listener
from toowld.errors import AttachRefused, RemoteProtocolError, ToowlError
from toowld.host import FrameSocket
from toowld.host.sockets import peer_uid_pid
from toowld.wire import Failure, Hello, Message, Request, Response, encode, negotiate

_log = logging.getLogger(__name__)

#: A connection that has not said Hello within this time is no client of ours (seconds).
HELLO_TIMEOUT = 10.0

#: A client that asks without ever reading the answers is cut off at so many bytes.
MAX_UNREAD_ANSWERS = 16 << 20

#: With so much of it unread a client takes no more events; what happens meanwhile is kept for it as long as for all.
EVENTS_UNREAD = 64 << 10

#: Requests of one connection that may be under way; further ones wait in its socket.
MAX_UNDER_WAY = 32


class Serves(Protocol):
    """Whoever answers what clients ask."""

    def remember(self, connection: Connection) -> None:
        """The connection is one of ours."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed, or somebody else's now."""

    async def answer(self, connection: Connection, request: Request) -> Mapping[str, Any]:
        """Carry out one request.

        Raises:
            ToowlError: why not.
        """

    async def attach(self, connection: Connection, request: Request) -> None:
        """Bring the client to its session: `Connection.release` it, or `Connection.take_back` if that fails.

        Raises:
            ToowlError: it could not be; the connection is still ours, unless it broke.
        """


class Connection:
    """One client, as long as it asks and is not attached. ``peer``: its uid and pid."""

    def __init__(self, sock: socket.socket, server: Serves, hello: Hello) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeted = False
        self._attaching = False
        self._closed = False
        self._doomed: socket.socket | None = None
        self.peer = peer_uid_pid(sock)
        self._listener: Listener | None = None
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(HELLO_TIMEOUT, self.close)
        self._socket = self._wrap(sock, b"")
        server.remember(self)
        self._socket.send(encode(hello))  # where the client is gone already, that closes and forgets this

    def _wrap(self, sock: socket.socket, unread: bytes) -> FrameSocket:
        return FrameSocket(
            sock,
            self._loop,
            on_message=self._on_message,
            on_close=self._on_close,
            on_sent=self._on_sent,
            unread=unread,
        )

    def _on_message(self, message: Message, fds: list[int]) -> None:
        for fd in fds:  # nobody asked for any
            os.close(fd)
        match message:
            case Hello():
                negotiate(message)
                self._greeted = True
                self._patience.cancel()
            case Request() if self._greeted:
                self._begin(message)
            case Request():
                raise RemoteProtocolError("a client says Hello first")

    def _begin(self, request: Request) -> None:
        self._attaching = request.method == "attach"
        task = self._loop.create_task(self._attach(request) if self._attaching else self._answer(request))
        if self._attaching or len(self._tasks) + 1 >= MAX_UNDER_WAY:
            # What follows an attach is for the session. Where it fails, we go on reading.
            self._socket.pause()
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a request failed unexpectedly", exc_info=error)
            self.close()
        elif not self._closed and not self._attaching:
            self._socket.resume()

    async def _answer(self, request: Request) -> None:
        try:
            self._send(Response(request.id, await self._server.answer(self, request)))
        except ToowlError as error:
            self._send(Failure(request.id, error.code, str(error)))

    async def _attach(self, request: Request) -> None:
        if earlier := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(earlier)  # their answers come first: afterwards this is no place for them
        try:
            await self._server.attach(self, request)
        except ToowlError as error:
            self._attaching = False
            self._send(Failure(request.id, error.code, str(error)))
            if self._doomed is not None:
                with contextlib.suppress(OSError):  # it has hung up already
                    self._doomed.shutdown(socket.SHUT_RDWR)
                self.close()

    def _send(self, message: Message) -> None:
        if self._socket.queued > MAX_UNREAD_ANSWERS:
            self.close()
        self._socket.send(encode(message))

    # --- events -----------------------------------------------------------------------------------------

    def follow(self, listener: Listener) -> None:
        """Bring events to the client, from the next turn on: the answer to its request comes first."""
        self._unfollow()
        self._listener = listener
        self._loop.call_soon(listener.start)

    def bring(self, frame: bytes) -> bool:
        """Send an event. Whether the client takes more."""
        self._socket.send(frame)
        return self._socket.queued < EVENTS_UNREAD

    def _on_sent(self, queued: int) -> None:
        if self._listener is not None and not queued:
            self._listener.resume()

    def _unfollow(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # --- given away, and the end ------------------------------------------------------------------------

    def release(self) -> tuple[socket.socket, bytes]:
        """Give the client away.

        Raises:
            AttachRefused: it is gone, or has not read what it asked for before.
        """
        if self._closed:
            raise AttachRefused("the client is gone")
        if self._socket.queued:
            raise AttachRefused("read the answers to earlier requests before you attach")
        self._closed = True
        self._unfollow()
        self._server.forget(self)
        return self._socket.release()

    def take_back(self, sock: socket.socket, unread: bytes, *, doomed: bool) -> None:
        """The client could not be given away after all.

        Args:
            doomed: nobody knows whether it was taken, or will be when somebody goes on who hangs. Two must never
                read what one client types, so it is told, and hung up on for both.
        """
        self._closed = False
        self._doomed = sock if doomed else None
        self._server.remember(self)
        self._socket = self._wrap(sock, unread)
        self._socket.pause()

    def _on_close(self, reason: str) -> None:
        self._closed = True  # what it asked for goes on: a kill must not depend on who waits for it
        self._unfollow()
        self._patience.cancel()
        self._server.forget(self)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._unfollow()
        self._patience.cancel()
        self._socket.close()
        self._server.forget(self)
