"""Between clients and sessions: answers requests, and brings each attach to whoever keeps the session.

An attach is brokered, not relayed: the client's connected socket is handed over, with the bytes that were already
read from it, and the daemon steps aside. How a client's connection behaves until then is `Connection`'s business;
what it takes to begin and end sessions is `Lifecycle`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from operator import attrgetter
from typing import Any

from toowld import __version__
from toowld.daemon import setting
from toowld.daemon.attaching import ATTACH_PATIENCE, Attaching
from toowld.daemon.audit import Audit
from toowld.daemon.connection import Connection
from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.pages import LOG_PAGE, log_page
from toowld.daemon.reaching import keeper_of, reached
from toowld.daemon.registry import Registry
from toowld.daemon.screens import Screens
from toowld.daemon.store import Store
from toowld.daemon.subscribing import follow
from toowld.daemon.upgrading import upgrade
from toowld.daemon.watching import Watching
from toowld.errors import (
    RefusedError,
    ToowlError,
)
from toowld.host import control
from toowld.host.params import Params
from toowld.log import LogReader, LogRecord
from toowld.log.unwritten import with_unwritten
from toowld.session import State
from toowld.session.states import Role
from toowld.wire import Hello, Request, Size
from toowld.wire.text import pack_text

#: How long `list` waits for custodians that are slow to say how they are (seconds).
REFRESH_TIMEOUT = 1.0

FEATURES = ("ExportCast", "Screen", "Events", "Settings")

_Handler = Callable[[Params], Awaitable[Mapping[str, Any]]]


class Broker:
    """Serves the connections of clients.

    Args:
        reach: tries to connect to the custodian of a session that none is linked to.
        own: requests about the daemon itself, answered by its owner.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        lifecycle: Lifecycle,
        screens: Screens,
        bus: Bus,
        audit: Audit,
        reach: Callable[[Entry], Awaitable[None]],
        own: Mapping[str, _Handler],
        gate: bool,
    ) -> None:
        self._registry = registry
        self._store = store
        self._lifecycle = lifecycle
        self._attaching = Attaching(registry, store, lifecycle)
        self._screens = screens
        self._bus = bus
        self._audit = audit
        self._reach = reach
        self.watching = Watching(registry, bus, self._refresh)
        self._gate = gate
        self._connections: set[Connection] = set()
        self._handlers: dict[str, _Handler] = {
            "list": self._list,
            "info": self._info,
            "new": self._new,
            "prepare": self._prepare,
            "start": self._start,
            "rename": self._rename,
            "tag": self._tag,
            "set": self._set,
            "detach": self._passed_on("detach"),
            "switch": self._switch,
            "send": self._passed_on("send"),
            "resize": self._resize,
            "kill": self._kill,
            "remove": self._remove,
            "restart": self._restart,
            "restore": self._restore,
            "reconnect": self._reconnect,
            "upgrade": self._upgrade,
            "read_log": self._read_log,
            "screen": self._screen,
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
            "follow": self._followed(),
        }
        Connection(sock, self, Hello(about=about))

    def _followed(self) -> list[str]:
        """What clients are to give along for shells; no agent, where the session leads to it anyway."""
        set_up = self._lifecycle.settings.environment
        return [name for name in set_up.follow if name != "SSH_AUTH_SOCK" or not set_up.agent]

    def remember(self, connection: Connection) -> None:
        """The connection is ours."""
        self._connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is closed, or somebody else's now."""
        self._connections.discard(connection)

    def close(self) -> None:
        """Hang up on everybody."""
        self.watching.close()
        for connection in list(self._connections):
            connection.close()

    async def answer(self, connection: Connection, request: Request) -> Mapping[str, Any]:
        """Carry out one request.

        Raises:
            ToowlError: why not.
        """
        if request.method == "subscribe":
            return follow(
                connection, self._bus, self._registry, self.watching, Params("subscribe", request.params)
            )
        handler = self._handlers.get(request.method)
        if handler is None:
            raise RefusedError(
                f"this toowld does not know the request '{request.method}': upgrade the older side"
            )
        with self._audit.asked(connection.peer, request) as made:
            answer = await handler(Params(request.method, request.params))
            made.update(id=answer.get("id"), name=answer.get("name"))
        result: Mapping[str, Any] = pack_text(answer)
        return result

    # --- requests ---------------------------------------------------------------------------------------

    async def _list(self, params: Params) -> Mapping[str, Any]:
        entries = list(self._registry)
        await asyncio.gather(*(self._refresh(entry) for entry in entries if not self._at_rest(entry)))
        fields = params.texts_or_none("fields")
        rows = sorted(
            [entry.row(fields) for entry in entries], key=attrgetter("last_active_at"), reverse=True
        )
        return {"sessions": [row.encoded for row in rows]}

    async def _refresh(self, entry: Entry) -> None:
        if entry.record.state is State.ENDED and "log_bytes" not in entry.live:  # of an earlier daemon's time
            reader = LogReader(self._store.folder(entry.record.id))
            with contextlib.suppress(OSError):  # unreadable; whoever wants to read it is told
                entry.live = {**entry.live, "log_bytes": await asyncio.to_thread(lambda: reader.bytes_used)}
        await self._lifecycle.news.ask(entry, REFRESH_TIMEOUT)

    def _at_rest(self, entry: Entry) -> bool:
        """Whether all is known of a session without asking its custodian: with hundreds, that is so for most.

        Where its child goes, a custodian does not notice; and one that is stopped has to be found out.
        """
        keeper, record = entry.keeper, entry.record
        if keeper is None or keeper.rest is None or not entry.sleep.lasts(record.custodian_pid):
            return False
        cwd = control.child_cwd(record.pid)
        if cwd is not None and cwd != record.cwd and (packed := pack_text(cwd)) != record.cwd:
            self._lifecycle.news.on_news(entry, keeper, {**entry.live, "cwd": packed})
        return True

    async def _info(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        # Whether a terminal keeps up shows as time passes, and with nothing that would be told.
        if entry.clients or not self._at_rest(entry):
            await self._refresh(entry)
        reader = LogReader(self._store.folder(entry.record.id))
        if entry.record.state is State.ENDED and "seq" not in entry.live:  # of an earlier daemon's time
            with contextlib.suppress(OSError):
                entry.live = {**entry.live, "seq": await asyncio.to_thread(lambda: reader.end)}
        rate = None
        if entry.running:
            with contextlib.suppress(OSError):
                rate = await asyncio.to_thread(reader.rate, time.time())
        record = entry.record.to_map()
        del record["env"]  # may hold secrets, and nobody needs it here
        return entry.info() | {
            "record": record,
            "client_list": entry.live.get("client_list", []) if entry.running else [],
            "log_dir": str(self._store.folder(entry.record.id)),
            "log_error": entry.live.get("log_error"),
            "log_rate": rate,
            **self._lifecycle.reaper.told(entry),
            **await self.watching.activity(entry),
        }

    async def _new(self, params: Params) -> Mapping[str, Any]:
        entry, notices = await self._lifecycle.create(params)
        return entry.info() | {"notices": notices}

    async def _prepare(self, params: Params) -> Mapping[str, Any]:
        entry, notices = await self._lifecycle.prepare(params)
        return entry.info() | {"notices": notices}

    async def _start(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        notices = await self._lifecycle.start(entry, params.environment("env", {}))
        return entry.info() | {"notices": notices}

    async def _rename(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        name, notices = await self._registry.claim_name(params.text("name"), entry)
        await self._registry.change(entry, name=name)
        self._lifecycle.news.tell_name(entry)
        await asyncio.sleep(0)  # it is on its way to the keeper before the answer, should we be killed
        return entry.info() | {"notices": notices}

    async def _tag(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        await self._registry.tag(entry, params.changes("tags"))
        return entry.info()

    async def _set(self, params: Params) -> Mapping[str, Any]:
        entry = await self._settled(params)
        notices = await setting.change(entry, self._registry, self._lifecycle.settings, params)
        return entry.info() | {"notices": notices}

    def _passed_on(self, method: str) -> _Handler:
        async def handler(params: Params) -> Mapping[str, Any]:
            entry = await self._settled(params)
            with reached(entry) as keeper:
                return await keeper.request(method, params.without("session"))

        return handler

    async def _switch(self, params: Params) -> Mapping[str, Any]:
        """Have the clients of a session go to another. It is they who attach there, and stay if that fails."""
        entry = await self._settled(params)
        other = self._registry.find(params.text("to"))
        if other is entry:
            return {"asked": 0, "unable": 0, "same": True, "to": other.info()}
        if other.running and other.record.state is not State.STARTING:
            keeper_of(other)  # one that can't be reached is not worth a try
        with reached(entry) as keeper:
            answer = await keeper.request(
                "switch", {"to": other.record.id, "client": params.integer_or_none("client")}
            )
        return {**answer, "to": other.info()}

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
        with reached(entry) as keeper:
            await keeper.request("resize", {"rows": size.rows, "cols": size.cols})
        await self._refresh(entry)
        return entry.info()

    async def _kill(self, params: Params) -> Mapping[str, Any]:
        entry = await self._settled(params)
        await self._lifecycle.ending.kill(entry, force=params.flag("force", False))
        return entry.info()

    async def _remove(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        await self._lifecycle.ending.remove(entry)
        return {"id": entry.record.id, "name": entry.record.name}

    async def _restart(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        notices = await self._lifecycle.restart(
            entry, params.flag_or_none("persistent"), force=params.flag("force", False)
        )
        return entry.info() | {"notices": notices}

    async def _reconnect(self, params: Params) -> Mapping[str, Any]:
        """Reach a session now, instead of at the next tick."""
        entry = await self._settled(params)
        await self._reach(entry)
        entry = self._registry.find(
            entry.record.id
        )  # its record may just have come to light, or nobody was there
        with reached(entry) as keeper:
            info = await keeper.request("info")
        self._lifecycle.news.on_news(entry, keeper, info)
        return entry.info()

    async def _restore(self, params: Params) -> Mapping[str, Any]:
        entry = self._registry.find(params.text("session"))
        notices = await self._lifecycle.restore(entry, params.environment("env", {}))
        return entry.info() | {"notices": notices}

    async def _upgrade(self, params: Params) -> Mapping[str, Any]:
        entry = await self._settled(params)
        dry_run = params.flag("dry_run", False)
        done = await upgrade(entry, keeper_of(entry), dry_run=dry_run)
        if not dry_run:
            self._bus.publish("upgraded", entry.record, {"before": done["before"], "after": done["after"]})
        return done

    async def _read_log(self, params: Params) -> Mapping[str, Any]:
        """One page of a session's log. Its files are read here; only what they lack is asked of who keeps it."""
        entry = self._registry.find(params.text("session"))
        seq = params.integer("seq")
        limit = params.integer("limit", LOG_PAGE)
        reader = LogReader(self._store.folder(entry.record.id))
        page = await asyncio.to_thread(lambda: log_page(reader.records(seq), seq, limit))
        keeper = entry.keeper or entry.former
        if page["next"] is not None or keeper is None or not entry.live.get("degraded"):
            return page
        try:
            memory = await keeper.request("unwritten", {"seq": seq, "limit": limit})
        except ToowlError as error:
            return page | {"incomplete": str(error)}
        unwritten = [LogRecord(*fields) for fields in memory["records"]]
        # Read again: some of it may have reached the files just now.
        whole = await asyncio.to_thread(
            lambda: log_page(with_unwritten(reader.records(seq), unwritten, seq), seq, limit)
        )
        return whole if whole["next"] is not None else whole | {"next": memory["next"]}

    async def _screen(self, params: Params) -> Mapping[str, Any]:
        """What a client puts on its terminal before it attaches "from seq"."""
        entry = self._registry.find(params.text("session"))  # as it is: only the attach waits for a session
        terminal = None if params.integer_or_none("rows") is None else params.size()
        await self._refresh(entry)
        size = terminal
        if params.flag("read_only", False):
            size = None
        elif not params.flag("decides", False):
            size = _size_with(entry, terminal)
        lines = self._lifecycle.settings.of_session(
            entry.record.settings, entry.record.connection
        ).replay_lines
        return await self._screens.picture(self._store.folder(entry.record.id), size, terminal, lines)

    # --- attach -----------------------------------------------------------------------------------------

    async def attach(self, connection: Connection, request: Request) -> None:
        """Bring a client to its session. Afterwards the connection is not ours any more.

        Raises:
            ToowlError: it could not be; the connection is still ours, unless it broke.
        """
        with self._audit.asked(connection.peer, request):
            await self._attaching.attach(connection, request)


def _size_with(entry: Entry, terminal: Size | None) -> Size | None:
    """What a session's size will be with one more client who may type (`Session._fit_size`)."""
    if terminal is None:
        return None
    typists = [
        about
        for about in (entry.live.get("client_list", ()) if entry.running else ())
        if about.get("rows") and about.get("cols") and not about.get("read_only")
    ]
    leads = [about for about in typists if about.get("role") == Role.LEAD.value]
    others = [Size(rows=about["rows"], cols=about["cols"]) for about in leads or typists]
    if leads:
        return others[0]
    return entry.record.size_policy.size([*others, terminal])
