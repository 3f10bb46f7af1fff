"""Between clients and sessions: answers requests, and brings each attach to whoever keeps the session.

An attach is brokered, not relayed: the client's connected socket is handed over, with the bytes that were already
read from it, and the daemon steps aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from toowld import __version__
from toowld.daemon.keepers import LocalKeeper
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.registry import Entry, Keeper, Registry
from toowld.daemon.restoring import By
from toowld.daemon.store import Store
from toowld.errors import (
    AttachRefused,
    CustodianLost,
    CustodianUnreachable,
    RefusedError,
    RemoteProtocolError,
    ToowlError,
)
from toowld.host import FrameSocket, SessionHost
from toowld.host.params import Params
from toowld.log import GapMark, LogReader
from toowld.log.view import LogView
from toowld.session import Session, State
from toowld.wire import Ended, Failure, Hello, Message, Request, Response, encode, negotiate
from toowld.wire.text import pack_text

_log = logging.getLogger(__name__)

#: A connection that has not said Hello within this time is no client of ours (seconds).
HELLO_TIMEOUT = 10.0

#: A client that asks without ever reading the answers is cut off at so many bytes.
MAX_UNREAD_ANSWERS = 16 << 20

#: Requests of one connection that may be under way; further ones wait in its socket.
MAX_UNDER_WAY = 32

#: How long a client waits for a session that is just being started or ended (seconds).
ATTACH_PATIENCE = 3.0

#: How long `list` waits for custodians that are slow to say how they are (seconds).
REFRESH_TIMEOUT = 1.0

#: What one page of `read_log` holds at most, in bytes of payload.
LOG_PAGE = 512 << 10

FEATURES = ("ExportCast",)

_Handler = Callable[[Params], Awaitable[Mapping[str, Any]]]


class Broker:
    """Serves the connections of clients.

    Args:
        own: requests about the daemon itself, answered by its owner.
    """

    def __init__(
        self, registry: Registry, store: Store, lifecycle: Lifecycle, own: Mapping[str, _Handler], gate: bool
    ) -> None:
        self._registry = registry
        self._store = store
        self._lifecycle = lifecycle
        self._gate = gate
        self._connections: set[Connection] = set()
        self._handlers: dict[str, _Handler] = {
            "list": self._list,
            "info": self._info,
            "new": self._new,
            "rename": self._rename,
            "detach": self._passed_on("detach"),
            "send": self._passed_on("send"),
            "resize": self._resize,
            "kill": self._kill,
            "remove": self._remove,
            "restart": self._restart,
            "restore": self._restore,
            "read_log": self._read_log,
            **own,
        }

    def serve(self, sock: socket.socket) -> None:
        """Take a client in."""
        about = {
            "role": "daemon",
            "build": __version__,
            "pid": os.getpid(),
            "features": list(FEATURES),
            "persistent": self._gate,
        }
        Connection(sock, self, Hello(about=about))

    def remember(self, connection: Connection) -> None:
        """The connection is ours."""
        self._connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is closed, or somebody else's now."""
        self._connections.discard(connection)

    def close(self) -> None:
        """Hang up on everybody."""
        for connection in list(self._connections):
            connection.close()

    async def answer(self, request: Request) -> Mapping[str, Any]:
        """Carry out one request.

        Raises:
            ToowlError: why not.
        """
        handler = self._handlers.get(request.method)
        if handler is None:
            raise RefusedError(
                f"this toowld does not know the request '{request.method}': upgrade the older side"
            )
        result: Mapping[str, Any] = pack_text(await handler(Params(request.method, request.params)))
        return result

    # --- requests ---------------------------------------------------------------------------------------

    async def _list(self, params: Params) -> Mapping[str, Any]:
        entries = list(self._registry)
        await asyncio.gather(*(self._refresh(entry) for entry in entries))
        infos = [entry.info() for entry in entries]
        return {"sessions": sorted(infos, key=lambda info: info["last_active_at"], reverse=True)}

    async def _refresh(self, entry: Entry) -> None:
        keeper = entry.keeper
        if entry.record.state is State.ENDED and "log_bytes" not in entry.live:  # of an earlier daemon's time
            reader = LogReader(self._store.folder(entry.record.id))
            with contextlib.suppress(OSError):  # unreadable; whoever wants to read it is told
                entry.live = {**entry.live, "log_bytes": await asyncio.to_thread(lambda: reader.bytes_used)}
        if keeper is None or keeper.hangs:  # asked already; its answer makes it reachable again
            return
        try:
            info = await keeper.request("info", timeout=REFRESH_TIMEOUT)
        except ToowlError:
            return
        self._lifecycle.on_news(entry, keeper, info)

    async def _info(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        await self._refresh(entry)
        record = entry.record.to_map()
        del record["env"]  # may hold secrets, and nobody needs it here
        return entry.info() | {
            "record": record,
            "client_list": entry.live.get("client_list", []) if entry.running else [],
            "log_dir": str(self._store.folder(entry.record.id)),
            "log_error": entry.live.get("log_error"),
        }

    async def _new(self, params: Params) -> Mapping[str, Any]:
        entry, notices = await self._lifecycle.create(params)
        return entry.info() | {"notices": notices}

    async def _rename(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        name, notices = self._registry.free_name(params.text("name"), entry)
        self._registry.change(entry, name=name)
        self._lifecycle.tell_name(entry)
        return entry.info() | {"notices": notices}

    def _passed_on(self, method: str) -> _Handler:
        async def handler(params: Params) -> Mapping[str, Any]:
            entry = await self._settled(params)
            return await _keeper_of(entry).request(method, params.without("session"))

        return handler

    async def _settled(self, params: Params) -> Entry:
        """The session that is asked for. One that is just being started gets a moment to be reached."""
        entry = self._registry.find(params.text("session"))
        if entry.keeper is None and entry.lock.locked():
            with contextlib.suppress(TimeoutError):  # what can't be done with it then, is told by who can't
                async with asyncio.timeout(ATTACH_PATIENCE), entry.lock:
                    pass
            self._registry.check(entry)
        return entry

    async def _resize(self, params: Params) -> Mapping[str, Any]:
        entry = await self._settled(params)
        size = params.size()
        await _keeper_of(entry).request("resize", {"rows": size.rows, "cols": size.cols})
        await self._refresh(entry)
        return entry.info()

    async def _kill(self, params: Params) -> Mapping[str, Any]:
        entry = await self._settled(params)
        await self._lifecycle.kill(entry, force=params.flag("force", False))
        return entry.info()

    async def _remove(self, params: Params) -> Mapping[str, Any]:
        await self._lifecycle.remove(self._registry.find(params.text("session")))
        return {}

    async def _restart(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        notices = await self._lifecycle.restart(entry, params.flag_or_none("persistent"))
        return entry.info() | {"notices": notices}

    async def _restore(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        notices = await self._lifecycle.restore(entry, params.environment("env", {}))
        return entry.info() | {"notices": notices}

    async def _read_log(self, params: Params) -> Mapping[str, Any]:
        """One page of a session's log, from its files: nobody else has to do anything for it."""
        entry = self._registry.find(params.text("session"))
        seq = params.integer("seq")
        limit = min(max(params.integer("limit", LOG_PAGE), 1), LOG_PAGE)
        return await asyncio.to_thread(_log_page, LogReader(self._store.folder(entry.record.id)), seq, limit)

    # --- attach -----------------------------------------------------------------------------------------

    async def attach(self, connection: Connection, request: Request) -> None:
        """Bring a client to its session. Afterwards the connection is not ours any more.

        Raises:
            ToowlError: it could not be; the connection is still ours, unless it broke.
        """
        params = Params("attach", request.params)
        entry = self._registry.find(params.text("session"))
        try:
            async with asyncio.timeout(ATTACH_PATIENCE):
                await entry.lock.acquire()
        except TimeoutError:
            raise AttachRefused(
                f"session {entry.record.label} is still being started or ended: try again in a moment"
            ) from None
        try:
            self._registry.check(entry)
            keeper: Keeper | None = None
            if entry.record.state is State.ENDED:
                if params.flag("respawn", True):
                    await self._lifecycle.respawn(entry, By.ATTACH, env=params.environment("env", {}))
                else:
                    keeper = self._view(entry)
            keeper = keeper or _keeper_of(entry)
            sock, unread = connection.release()
            try:
                try:
                    await keeper.hand_over(sock, unread, request.id, request.params)
                except (AttachRefused, CustodianLost):
                    # A short life is over before its client is there. Its output is not, and how it ended.
                    keeper = await self._view_of_ended(entry)
                    await keeper.hand_over(sock, unread, request.id, request.params)
            except ToowlError:
                connection.take_back(sock, unread)
                raise
        finally:
            entry.lock.release()

    async def _view_of_ended(self, entry: Entry) -> LocalKeeper:
        """Wait for the news of an end that others know of already, and look at what is left.

        Raises:
            AttachRefused: no such news.
        """
        try:
            async with asyncio.timeout(ATTACH_PATIENCE):
                await entry.gone.wait()
        except TimeoutError:
            raise AttachRefused(f"session {entry.record.label} is just ending: attach again") from None
        return self._view(entry)

    def _view(self, entry: Entry) -> LocalKeeper:
        """For looking at the scrollback of a session that has ended, without starting anything."""
        record = entry.record
        log = LogView(self._store.folder(record.id), record.size, end=record.next_seq)
        ended = Ended(log.end, record.end_reason or "lost", record.exit_code, record.exit_signal)
        session = Session(seq=log.end, size=record.size, ended=ended)
        session.about = {"id": record.id, "name": record.name, "persistent": record.persistent}
        loop = asyncio.get_running_loop()
        return LocalKeeper(SessionHost(loop, session, log, on_changed=lambda: None, on_finished=lambda: None))


def _keeper_of(entry: Entry) -> Keeper:
    label = entry.record.label
    if entry.keeper is not None:
        return entry.keeper
    if entry.record.state is State.ENDED:
        raise RefusedError(
            f"session {label} is {entry.display()}: "
            f"`toowl attach {label}` shows its scrollback and starts a fresh shell"
        )
    if entry.record.state is State.STARTING:
        raise RefusedError(f"session {label} is still being started: try again in a moment")
    raise CustodianUnreachable(
        f"session {label}: its custodian does not answer: "
        f"`toowld doctor` tells why, `toowl kill --force {label}` ends it"
    )


def _log_page(reader: LogReader, seq: int, limit: int) -> dict[str, Any]:
    records: list[list[Any]] = []
    gap = None
    held = 0
    for item in reader.records(seq):
        if isinstance(item, GapMark):
            if records:
                return {"records": records, "next": item.start, "gap": gap}
            gap = [item.start, item.end]
            continue
        if records and held + len(item.payload) > limit:
            return {"records": records, "next": item.seq, "gap": gap}
        records.append([item.type, item.seq, item.wall_us, item.mono_us, item.payload])
        held += len(item.payload)
    return {"records": records, "next": None, "gap": gap}


class Connection:
    """One client, as long as it asks and is not attached."""

    def __init__(self, sock: socket.socket, broker: Broker, hello: Hello) -> None:
        self._broker = broker
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeted = False
        self._attaching = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(HELLO_TIMEOUT, self.close)
        self._socket = self._wrap(sock, b"")
        broker.remember(self)
        self._socket.send(encode(hello))  # where the client is gone already, that closes and forgets this

    def _wrap(self, sock: socket.socket, unread: bytes) -> FrameSocket:
        return FrameSocket(
            sock,
            self._loop,
            on_message=self._on_message,
            on_close=self._on_close,
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
            self._send(Response(request.id, await self._broker.answer(request)))
        except ToowlError as error:
            self._send(Failure(request.id, error.code, str(error)))

    async def _attach(self, request: Request) -> None:
        if earlier := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(earlier)  # their answers come first: afterwards this is no place for them
        try:
            await self._broker.attach(self, request)
        except ToowlError as error:
            self._attaching = False
            self._send(Failure(request.id, error.code, str(error)))

    def _send(self, message: Message) -> None:
        if self._socket.queued > MAX_UNREAD_ANSWERS:
            self.close()
        self._socket.send(encode(message))

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
        self._broker.forget(self)
        return self._socket.release()

    def take_back(self, sock: socket.socket, unread: bytes) -> None:
        """The client could not be given away after all."""
        self._closed = False
        self._broker.remember(self)
        self._socket = self._wrap(sock, unread)
        self._socket.pause()

    def _on_close(self, reason: str) -> None:
        self._closed = True  # what it asked for goes on: a kill must not depend on who waits for it
        self._patience.cancel()
        self._broker.forget(self)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._patience.cancel()
        self._socket.close()
        self._broker.forget(self)
