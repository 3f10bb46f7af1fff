"""Taking over what an earlier daemon left: records, live custodians, and things that are neither.

The live custodian is the truth. A record without one has ended; a custodian without a record is taken in from
what it says of itself; one that does not answer is `unreachable`, and neither killed nor replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.daemon import process, salvage
from toowld.daemon.consistency import Comparison
from toowld.daemon.entry import Entry
from toowld.daemon.keepers import CustodianKeeper, connect
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.registry import Registry
from toowld.daemon.stamp import Stamp
from toowld.daemon.store import Skipped, Store
from toowld.errors import RefusedError, ToowlError, VersionMismatch
from toowld.host.sockets import is_socket_of_ours, peer_uid_pid
from toowld.session import Record, State
from toowld.session.record import UNKNOWN_STATE

_log = logging.getLogger(__name__)

_SOCKET_NAME = re.compile(r"([0-9a-f]{8})\.sock")


class Adoption:
    """Finds what is there, at the start and at every tick.

    Attributes:
        skipped: what was left alone, and why, for `doctor`.
    """

    def __init__(self, folder: Path, registry: Registry, store: Store, lifecycle: Lifecycle) -> None:
        self.skipped: list[Skipped] = []
        self._folder = folder
        self._registry = registry
        self._store = store
        self._lifecycle = lifecycle
        self._meetings: dict[str, asyncio.Task[None]] = {}  # with custodians that have not answered yet
        self._sockets = Stamp(folder)
        self._comparison = Comparison(registry, store)

    async def run(self) -> None:
        """The scan at the start. Takes no longer than the timeout for one custodian, however many there are."""
        records, skipped = self._store.load_all()
        names: set[str | None] = set()
        for item in skipped:
            self._skip(Path(item.path), item.reason)
        for record in records:
            if record.error is not None and record.error.startswith(UNKNOWN_STATE):
                _log.warning("session %s: %s: taken for lost", record.id, record.error)
            entry = self._registry.add(record)
            if record.name in names:
                self._name_anew(entry)
            names.add(record.name)
        await self.scan()
        await self._settle()
        self._salvage()
        for item in self._store.sweep(self._registry):
            self._skip(Path(item.path), item.reason)

    def _name_anew(self, entry: Entry) -> None:
        """Another session has this one's name: its folder was copied, or brought back from somewhere."""
        # Impossible: it is of a future version, perhaps. Then the session is found by its id.
        with contextlib.suppress(RefusedError):
            name, notices = self._registry.free_name(entry.record.name, entry)
            for notice in notices:
                _log.warning("session %s: %s", entry.record.id, notice)
            if name != entry.record.name:
                self._registry.observe(entry, name=name)

    def _salvage(self) -> None:
        """Logs that lost their record, and that no custodian answers for: list what they tell of their session."""
        for session_id in self._store.orphans(self._registry):
            folder = self._store.folder(session_id)
            record = salvage.from_log(session_id, folder, self._lifecycle.settings.of_session())
            if record is None:
                continue
            known = next((item.reason for item in self.skipped if item.path == str(folder)), "no record")
            self._skip(folder, f"{known}; the session is listed by its id, with what its log tells")
            self._store.set_aside(session_id)
            self._registry.rebuild(record).gone.set()

    async def scan(self) -> None:
        """Connect to every custodian socket that no session is linked to."""
        waiting = []
        for path in sorted(self._folder.iterdir()):
            match = _SOCKET_NAME.fullmatch(path.name)
            if match is None or not is_socket_of_ours(str(path)):
                self._skip(path, "not a custodian's socket of ours")
                continue
            entry = self._registry.get(match[1])
            if (entry is None or entry.keeper is None) and match[1] not in self._meetings:
                waiting.append(self._adopt(match[1], path))
        await asyncio.gather(*waiting)

    async def reach(self, entry: Entry) -> None:
        """What `tick` does, for one session, and now. What came of it is to be seen in its entry."""
        if entry.keeper is not None:
            return
        session_id = entry.record.id
        path = self._folder / f"{session_id}.sock"
        if (meeting := self._meetings.get(session_id)) is not None:  # it was asked, and may answer just now
            await asyncio.wait([meeting], timeout=self._lifecycle.settings.daemon.scan_timeout)
        elif is_socket_of_ours(str(path)):
            await self._adopt(session_id, path)
        if self._registry.get(session_id) is entry:
            await self._settle_one(entry)

    def _skip(self, path: Path, reason: str) -> None:
        item = Skipped(str(path), reason)
        if item not in self.skipped:  # said once, not at every tick
            self.skipped = [*(other for other in self.skipped if other.path != item.path), item]
            _log.warning("skipped %s: %s", path, reason)

    async def _adopt(self, session_id: str, path: Path) -> None:
        try:
            sock = connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                self._skip(path, f"unreachable: {error.strerror}")
                self._mark_unreachable(session_id)
            elif self._has_custodian(session_id):  # that is not its file, and it will see
                self._skip(path, "unreachable: nobody listens there, but its custodian lives")
                self._mark_unreachable(session_id)
            else:
                path.unlink(missing_ok=True)
                self._skip(path, "stale: nobody listens there; removed")
            return
        listener = peer_uid_pid(sock)[1]
        meeting = asyncio.get_running_loop().create_task(self._meet(session_id, path, sock, listener))
        self._meetings[session_id] = meeting
        meeting.add_done_callback(lambda _: self._meetings.pop(session_id))
        done, _ = await asyncio.wait([meeting], timeout=self._lifecycle.settings.daemon.scan_timeout)
        if not done:
            # The connection stays: a process that is only stopped answers as soon as it goes on.
            self._skip(path, "unreachable: it does not answer")
            self._mark_unreachable(session_id, listener)

    async def _meet(self, session_id: str, path: Path, sock: socket.socket, listener: int) -> None:
        """Wait, for as long as it takes, for who is on the other end, and take its session in."""
        keeper = CustodianKeeper(
            sock,
            session_id,
            on_news=lambda info: self._on_news(session_id, keeper, info),
            on_lost=lambda: self._on_lost(session_id, keeper),
            on_hangs=lambda: self._on_hangs(session_id, keeper),
        )
        try:
            hello = await keeper.link.hello
            info = await keeper.request("subscribe")
        except ToowlError as error:  # it is tried again at every tick
            keeper.close()
            self._skip(path, f"unreachable: {error}")
            self._mark_unreachable(session_id, listener, error)
        except BaseException:  # the daemon ends
            keeper.close()
            raise
        else:
            self._take_in(session_id, keeper, str(hello.about.get("build")), hello.about.get("pid"), info)

    def _take_in(
        self, session_id: str, keeper: CustodianKeeper, build: str, pid: object, info: Mapping[str, Any]
    ) -> None:
        path = self._folder / f"{session_id}.sock"
        try:
            entry = self._registry.get(session_id)
            if entry is not None and (entry.keeper is not None or entry.lock.locked() or _is_leaving(entry)):
                keeper.close()  # it was started anew while we asked, or has just ended: we have the one before
                return
            if entry is None or not entry.known:
                entry = self._register(session_id, info)
            self._lifecycle.adopt(entry, keeper, build, pid, info)
        except (ToowlError, KeyError, TypeError, ValueError) as error:
            keeper.close()
            self._skip(path, f"can't be adopted: {error}")
            return
        self.skipped = [item for item in self.skipped if item.path != str(path)]
        _log.info(
            "session %s reconnected to its custodian, pid %s, %s attached", session_id, pid, info["clients"]
        )

    def _register(self, session_id: str, info: Mapping[str, Any]) -> Entry:
        """Rebuild the record of a session from what its custodian knows."""
        record = Record.from_packed(dict(info["record"]))
        if record.id != session_id:
            raise ValueError(f"it says that it keeps session {record.id}")
        name, notices = self._registry.free_name(record.name)
        for notice in notices:
            _log.warning("session %s: %s", session_id, notice)
        _log.info("session %s registered: its record was missing", session_id)
        return self._registry.rebuild(record.changed(name=name))

    def _on_news(self, session_id: str, keeper: CustodianKeeper, info: Mapping[str, Any]) -> None:
        if (entry := self._registry.get(session_id)) is not None:
            self._lifecycle.news.on_news(entry, keeper, info)

    def _on_lost(self, session_id: str, keeper: CustodianKeeper) -> None:
        if (entry := self._registry.get(session_id)) is not None:
            self._lifecycle.news.on_lost(entry, keeper)

    def _on_hangs(self, session_id: str, keeper: CustodianKeeper) -> None:
        if (entry := self._registry.get(session_id)) is not None:
            self._lifecycle.news.on_hangs(entry, keeper)

    def _mark_unreachable(
        self, session_id: str, listener: int | None = None, error: Exception | None = None
    ) -> None:
        entry = self._registry.get(session_id)
        if entry is None:
            # All that is known of it is that somebody listens there, or is about to.
            entry = self._registry.add(Record(id=session_id, persistent=True), known=False)
        if entry.record.state is State.ENDED or entry.lock.locked() or entry.keeper is not None:
            return  # the last: it was started anew while the one before was asked
        entry.obstacle = None
        if isinstance(error, VersionMismatch):
            entry.obstacle = f"its custodian is of another version: {error}"
        facts: dict[str, Any] = {"state": State.UNREACHABLE}
        if listener is not None and not self._lifecycle.is_custodian_alive(entry.record):
            # So that `kill --force` knows whom.
            facts |= {
                "custodian_pid": listener,
                "custodian_started": process.started_at(listener),
                "boot": process.boot_id(),
            }
        if any(getattr(entry.record, name) != value for name, value in facts.items()):
            self._registry.observe(entry, **facts)
        self._lifecycle.news.tell_reach(entry)

    async def _settle(self) -> None:
        """Records that say "running" and have no custodian: ended, or out of reach for now."""
        for entry in self._registry:
            await self._settle_one(entry)

    async def _settle_one(self, entry: Entry) -> None:
        record = entry.record
        if entry.lock.locked():
            return  # it is just being started or ended, by somebody who will see to it
        if record.state is State.ENDED:
            entry.gone.set()
        elif not entry.known:
            if not self._has_socket(record.id):
                self._registry.drop(entry)
        elif entry.keeper is None and record.state is not State.AWAITING:
            if record.persistent and self._lifecycle.is_custodian_alive(record):
                self._mark_unreachable(record.id)
            elif record.state is not State.UNREACHABLE or not self._has_socket(record.id):
                await self._lifecycle.news.note_gone(entry)

    def _has_custodian(self, session_id: str) -> bool:
        entry = self._registry.get(session_id)
        return entry is not None and entry.known and self._lifecycle.is_custodian_alive(entry.record)

    def _has_socket(self, session_id: str) -> bool:
        return os.path.lexists(self._folder / f"{session_id}.sock")

    async def _have_them_look(self) -> None:
        """Tell custodians whose socket is gone, by asking them something: they may not have been able to notice."""
        asked = [
            entry.keeper.request("info")
            for entry in self._registry
            if isinstance(entry.keeper, CustodianKeeper) and not self._has_socket(entry.record.id)
        ]
        await asyncio.gather(*asked, return_exceptions=True)  # who does not answer is asked at the next tick

    async def tick(self) -> None:
        """Try again what did not answer, and take in what came back."""
        await self._comparison.tick()
        if self._sockets.changed() or any(map(_is_adrift, self._registry)):
            await self._have_them_look()
            await self.scan()
            await self._settle()
            self._sockets.looked()


def _is_adrift(entry: Entry) -> bool:
    """Whether a session should have a keeper, and has none."""
    return entry.running and entry.keeper is None


def _is_leaving(entry: Entry) -> bool:
    """Whether its custodian is known to have nothing more to do than to serve its last clients."""
    return isinstance(entry.former, CustodianKeeper) and entry.former.link.is_open
