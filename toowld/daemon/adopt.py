"""Taking over what an earlier daemon left: records, live custodians, and things that are neither.

The live custodian is the truth. A record without one has ended; a custodian without a record is taken in from
what it says of itself; one that does not answer is `unreachable`, and neither killed nor replaced.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.daemon.keepers import CustodianKeeper, connect
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.registry import Registry
from toowld.daemon.store import Skipped, Store, StoreError
from toowld.errors import ToowlError
from toowld.host.sockets import is_socket_of_ours
from toowld.session import Record, State

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
        self._trying: set[str] = set()

    async def run(self) -> None:
        """The scan at the start. Takes no longer than the timeout for one custodian, however many there are."""
        records, skipped = self._store.load_all()
        self.skipped = skipped
        for record in records:
            self._registry.add(record)
        await self.scan()
        for item in self.skipped:
            _log.warning("skipped %s: %s", item.path, item.reason)
        self._settle()

    async def scan(self) -> None:
        """Connect to every custodian socket that no session is linked to."""
        waiting = []
        for path in sorted(self._folder.iterdir()):
            match = _SOCKET_NAME.fullmatch(path.name)
            if match is None or not is_socket_of_ours(str(path)):
                self._skip(path, "not a custodian's socket of ours")
                continue
            entry = self._registry.get(match[1])
            if (entry is None or entry.keeper is None) and match[1] not in self._trying:
                waiting.append(self._adopt(match[1], path))
        await asyncio.gather(*waiting)

    def _skip(self, path: Path, reason: str) -> None:
        item = Skipped(str(path), reason)
        if item not in self.skipped:
            self.skipped.append(item)

    async def _adopt(self, session_id: str, path: Path) -> None:
        try:
            sock = connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:  # nobody listens: its custodian is gone
                path.unlink(missing_ok=True)
                self._skip(path, "stale: nobody listens there; removed")
            else:
                self._skip(path, f"unreachable: {error.strerror}")
                self._mark_unreachable(session_id)
            return
        keeper = CustodianKeeper(
            sock,
            session_id,
            on_news=lambda info: self._on_news(session_id, keeper, info),
            on_lost=lambda: self._on_lost(session_id, keeper),
        )
        self._trying.add(session_id)
        try:
            async with asyncio.timeout(self._lifecycle.config.scan_timeout):
                hello = await asyncio.shield(keeper.link.hello)
                info = await keeper.request("subscribe")
        except (TimeoutError, ToowlError) as error:
            # It is tried again at every tick; a process that is only stopped will answer then.
            keeper.close()
            self._skip(path, f"unreachable: {error or 'it does not answer'}")
            self._mark_unreachable(session_id)
            return
        finally:
            self._trying.discard(session_id)
        self._take_in(session_id, keeper, str(hello.about.get("build")), hello.about.get("pid"), info)

    def _take_in(
        self, session_id: str, keeper: CustodianKeeper, build: str, pid: object, info: Mapping[str, Any]
    ) -> None:
        entry = self._registry.get(session_id)
        try:
            if entry is None:
                entry = self._registry.create(Record.from_packed(dict(info["record"])))
                _log.info("session %s registered: its record was missing", session_id)
            self._lifecycle.adopt(entry, keeper, build, pid, info)
        except (ToowlError, KeyError, TypeError) as error:
            keeper.close()
            self._skip(self._folder / f"{session_id}.sock", f"can't be adopted: {error}")
            return
        _log.info("session %s reconnected to its custodian, pid %s", session_id, pid)

    def _on_news(self, session_id: str, keeper: CustodianKeeper, info: Mapping[str, Any]) -> None:
        if (entry := self._registry.get(session_id)) is not None:
            self._lifecycle.on_news(entry, keeper, info)

    def _on_lost(self, session_id: str, keeper: CustodianKeeper) -> None:
        if (entry := self._registry.get(session_id)) is not None:
            self._lifecycle.on_lost(entry, keeper)

    def _mark_unreachable(self, session_id: str) -> None:
        entry = self._registry.get(session_id)
        if entry is not None and entry.record.state is not State.ENDED:
            try:
                self._registry.change(entry, durable=False, state=State.UNREACHABLE)
            except StoreError as error:
                _log.warning("%s", error)
        elif entry is None:
            # All that is known of it is that somebody listens there, or is about to.
            self._registry.add(Record(id=session_id, persistent=True, state=State.UNREACHABLE))

    def _settle(self) -> None:
        """Records that say "running" and have no custodian: ended, or out of reach for now."""
        for entry in self._registry:
            record = entry.record
            if record.state is State.ENDED:
                entry.gone.set()
            elif entry.keeper is None and record.state is not State.AWAITING:
                if record.persistent and self._lifecycle.is_custodian_alive(record):
                    self._mark_unreachable(record.id)
                elif record.state is not State.UNREACHABLE or not self._has_socket(record.id):
                    self._lifecycle.note_gone(entry)

    def _has_socket(self, session_id: str) -> bool:
        return os.path.lexists(self._folder / f"{session_id}.sock")

    async def tick(self) -> None:
        """Try again what did not answer, and take in what came back."""
        await self.scan()
        self._settle()
