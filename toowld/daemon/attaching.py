"""How a client comes to its session: its connection is handed over to whoever keeps that.

A session that has ended is begun again for it, or looked at as its log tells.
"""

from __future__ import annotations

import asyncio
import contextlib

from toowld.daemon.connection import Connection
from toowld.daemon.entry import Entry
from toowld.daemon.keepers import LocalKeeper
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.pages import LOG_PAGE
from toowld.daemon.reaching import keeper_of, out_of_reach
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.errors import AttachRefused, CustodianLost, CustodianUnreachable, ToowlError
from toowld.host import SessionHost
from toowld.host.params import Params
from toowld.log import LogRecord
from toowld.log.view import LogView
from toowld.session import Session, State
from toowld.wire import Ended, Request

#: How long a client waits for a session that is just being started or ended (seconds).
ATTACH_PATIENCE = 3.0


class Attaching:
    """Hands connections over."""

    def __init__(self, registry: Registry, store: Store, lifecycle: Lifecycle) -> None:
        self._registry = registry
        self._store = store
        self._lifecycle = lifecycle

    async def attach(self, connection: Connection, request: Request) -> None:
        """Hand a client's connection over.

        Raises:
            ToowlError: it could not be; the connection is still its owner's, unless it broke.
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
            if entry.record.state in (State.ENDED, State.AWAITING) and params.flag("respawn", True):
                await self._lifecycle.respawn(entry, env=params.environment("env", {}))
            # Ended: it was not started again, or what was started was a matter of moments.
            keeper = await self._view(entry) if entry.record.state is State.ENDED else keeper_of(entry)
            sock, unread = connection.release()
            try:
                try:
                    await keeper.hand_over(sock, unread, request.id, request.params)
                except (AttachRefused, CustodianLost):
                    # A short life is over before its client is there. Its output is not, and how it ended.
                    keeper = await self._view_of_ended(entry)
                    await keeper.hand_over(sock, unread, request.id, request.params)
            except ToowlError as error:
                unreachable = isinstance(error, CustodianUnreachable)
                connection.take_back(sock, unread, doomed=unreachable)
                if unreachable:
                    raise out_of_reach(entry) from error
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
        return await self._view(entry)

    async def _unwritten(self, entry: Entry) -> list[LogRecord]:
        """The end of a log that no disk has taken yet, from who keeps it; where it can't be had, it is a gap."""
        found: list[LogRecord] = []
        seq: int | None = 0
        with contextlib.suppress(ToowlError):
            while entry.live.get("degraded") and entry.former is not None and seq is not None:
                page = await entry.former.request("unwritten", {"seq": seq, "limit": LOG_PAGE})
                found += [LogRecord(*fields) for fields in page["records"]]
                seq = page["next"]
        return found

    async def _view(self, entry: Entry) -> LocalKeeper:
        """For looking at the scrollback of a session that has ended, without starting anything."""
        record = entry.record
        unwritten = await self._unwritten(entry)
        log = LogView(self._store.folder(record.id), record.size, end=record.next_seq, unwritten=unwritten)
        ended = Ended(log.end, record.end_reason or "lost", record.exit_code, record.exit_signal)
        session = Session(seq=log.end, size=record.size, ended=ended)
        session.about = {"id": record.id, "name": record.name, "persistent": record.persistent}
        loop = asyncio.get_running_loop()
        return LocalKeeper(SessionHost(loop, session, log, on_changed=lambda: None, on_finished=lambda: None))
