"""All sessions that this daemon knows, by id and by name, and what each of them is doing.

What somebody decides is stored before it is true in memory; if the disk says no, nothing has changed. What has
happened anyway (`Registry.observe`) is true whatever the disk says, and found out again if it was not stored. Finding
out what is true is left to `adopt` and `lifecycle`.

The disk may take its time: records are written beside the loop (`saving`), those of one session one after the other.
What is on its way there is nobody's yet, but its name and id are taken.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.saving import Saving
from toowld.daemon.store import Store, StoreError
from toowld.errors import RefusedError, SessionAmbiguous, SessionNotFound
from toowld.session import Record
from toowld.session.tags import tagged

_log = logging.getLogger(__name__)

#: Names appear in paths of nobody, but in everybody's terminal and shell: no blanks, nothing that needs quoting.
_NAME = re.compile(r"[^\W_][\w.@:+-]{0,63}")


class Registry:
    """All entries. ``bus``: is told what becomes of them."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._saving = Saving(store)
        self._entries: dict[str, Entry] = {}
        self._promised: list[Record] = []  # as they will be, once they are stored

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._entries

    def knows(self, session_id: str) -> bool:
        """Whether that is a session of ours, be it one that is just being stored for the first time."""
        return session_id in self._ids()

    def get(self, session_id: str) -> Entry | None:
        return self._entries.get(session_id)

    def add(self, record: Record, *, known: bool = True) -> Entry:
        """Take a record in that is on disk already, or (not ``known``) is a mere guess that stays off it."""
        entry = self._entries[record.id] = Entry(record, known)
        return entry

    async def create(self, record: Record) -> Entry:
        """Store a new record and take it in.

        Raises:
            StoreError: the disk takes none.
        """
        with self.promising(record):
            try:
                await self._saving.save(record, durable=True)
            except asyncio.CancelledError:  # the daemon ends, and nothing is to come of it
                with suppress(StoreError):  # then the next daemon shows what is left
                    self._store.forget(record.id)
                raise
            entry = self.add(record)
            self._bus.publish("created", record, {"persistent": record.persistent})
            return entry

    def rebuild(self, record: Record) -> Entry:
        """Take in a session that is there, whether the disk takes its record or not."""
        entry = self.add(record)
        self.observe(entry)
        return entry

    async def change(self, entry: Entry, **changes: Any) -> None:
        """Store a change, then make it true.

        Raises:
            StoreError, RefusedError, SessionNotFound: nothing has changed.
        """
        await self._change(entry, lambda record: record.changed(**changes))

    async def tag(self, entry: Entry, changes: Mapping[str, str | None]) -> None:
        """Set tags, and (None) take others away.

        Raises:
            StoreError, RefusedError, SessionNotFound: nothing has changed.
        """
        await self._change(entry, lambda record: record.changed(tags=tagged(record.tags, changes)))

    async def configure(
        self,
        entry: Entry,
        changes: Mapping[str, Any],
        facts: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        """Note what is said for a session itself, and (None) what no longer is.

        Args:
            facts: what else of the record follows from all that is said then.

        Raises:
            StoreError, RefusedError, SessionNotFound: nothing has changed.
        """

        def changed(record: Record) -> Record:
            said = {
                name: value for name, value in {**record.settings, **changes}.items() if value is not None
            }
            return record.changed(settings=said, **facts(said))

        await self._change(entry, changed)

    async def _change(self, entry: Entry, change: Callable[[Record], Record]) -> None:
        """``change`` is asked again for what it makes of a record that has become another one meanwhile."""
        if not entry.known:
            raise RefusedError(
                f"session {entry.record.id}: nothing is known of it until its custodian answers: see `toowld doctor`"
            )
        with self.promising(change(entry.record)):
            async with entry.saving:
                self.check(entry)
                try:
                    await self._saving.save(change(entry.record), durable=True)
                except StoreError as error:
                    entry.unsaved = entry.unsaved or error.replaced  # then the old one is to be stored again
                    raise
                entry.unsaved = False
                # Added to what was observed meanwhile. That is stored next.
                self._become(entry, change(entry.record))

    def _become(self, entry: Entry, record: Record) -> None:
        before, entry.record = entry.record, record
        if entry.known:
            self._bus.record_changed(before, record)

    @contextmanager
    def promising(self, record: Record) -> Iterator[None]:
        """Have the record's id and name taken, as it is going to be stored."""
        self._promised.append(record)
        try:
            yield
        finally:
            self._promised.remove(record)

    def observe(self, entry: Entry, *, durable: bool = False, **facts: Any) -> None:
        """Note what has happened already. If the disk takes no note of it, it is true all the same.

        It is stored soon; see `stored`.
        """
        self._become(entry, entry.record.changed(**facts))
        if not entry.known:
            return
        if entry.due is None:  # else that is waited for already
            self._saving.background(self.stored(entry))
        entry.due = durable or bool(entry.due)

    async def stored(self, entry: Entry) -> None:
        """Wait until the disk has taken note of what was observed so far, or has refused to."""
        async with entry.saving:
            durable, entry.due = entry.due, None
            if durable is None or self._entries.get(entry.record.id) is not entry:
                return
            try:
                await self._saving.save(entry.record, durable=durable)
                entry.unsaved = False
            except StoreError as error:
                if not entry.unsaved:  # said once, not at every piece of news
                    _log.warning("%s", error)
                entry.unsaved = True

    async def save_again(self) -> None:
        """Store what the disk took no note of when it happened."""
        for entry in self:
            if entry.unsaved:
                entry.due = True
                await self.stored(entry)
                if entry.unsaved:
                    return  # as it was: said already, and the others fare no better

    async def settle(self) -> None:
        """Wait until nothing is on its way to the disk; what it refused before gets another chance."""
        await self.save_again()
        for entry in self:
            await self.stored(entry)  # and behind all changes that wait for their turn
        await self._saving.settle()

    def drop(self, entry: Entry) -> None:
        """Take an entry out that never was on disk, or can't be removed from there."""
        del self._entries[entry.record.id]
        if entry.known:
            self._bus.publish("removed", entry.record, {})

    async def forget(self, entry: Entry) -> None:
        """Remove the record and the log.

        Raises:
            StoreError: something is left on disk; the entry stays too.
        """
        async with entry.saving:
            await self._saving.forget(entry.record.id)
            self.drop(entry)

    def find(self, wanted: str) -> Entry:
        """By id, by name, or by the beginning of an id that fits only one.

        Raises:
            SessionNotFound, SessionAmbiguous: see their text.
        """
        if (entry := self._entries.get(wanted)) is not None:
            return entry
        for entry in self._entries.values():
            if entry.record.name == wanted:
                return entry
        fitting = [entry for key, entry in self._entries.items() if wanted and key.startswith(wanted)]
        if len(fitting) > 1:
            some = ", ".join(entry.record.id for entry in fitting[:4])
            raise SessionAmbiguous(f'session "{wanted}" fits {len(fitting)} ids ({some} …): type more of it')
        if not fitting:
            raise SessionNotFound(f'session "{wanted}" not found: `toowl ls` lists those that are there')
        return fitting[0]

    def check(self, entry: Entry) -> None:
        """Make sure that an entry is still there after waiting for its lock.

        Raises:
            SessionNotFound: it was removed meanwhile.
        """
        if self._entries.get(entry.record.id) is not entry:
            raise SessionNotFound(
                f'session "{entry.record.label}" was removed just now: `toowl ls` lists those that are there'
            )

    def fresh_id(self) -> str:
        """8 hex digits that no session has, nor any folder of one."""
        while True:
            session_id = secrets.token_hex(4)
            if session_id not in self._ids() and not self._store.folder(session_id).exists():
                return session_id

    def _ids(self) -> set[str]:
        return {*self._entries, *(record.id for record in self._promised)}

    async def claim_name(
        self, wanted: str | None, holder: Entry | None = None
    ) -> tuple[str | None, list[str]]:
        """`free_name`, after whoever has the name and does not need it any more has got another one.

        That is a session that has ended as somebody wanted: it is only kept for a while, and goes by its id as well.
        """
        name, told = (wanted or "").strip(), []
        for entry in self:
            record = entry.record
            if record.name != name or entry is holder or not record.ended_as_wanted or entry.lock.locked():
                continue
            async with entry.lock:  # it is not started again meanwhile
                other, _ = self.free_name(name)
                with suppress(StoreError, SessionNotFound):  # then the name is taken, or is free anyway
                    await self.change(entry, name=other)
                    told = [f'the session that was called "{name}" has ended: it is called "{other}" now']
        found, more = self.free_name(wanted, holder)
        return found, told + more

    def free_name(self, wanted: str | None, holder: Entry | None = None) -> tuple[str | None, list[str]]:
        """The name that a session gets for the one that it wants, and what its user should be told.

        Raises:
            RefusedError: the name is impossible.
        """
        name = (wanted or "").strip()
        if not name:
            return None, []
        if not _NAME.fullmatch(name):
            shown = name if len(name) <= 64 else f"{name[:63]}…"
            raise RefusedError(
                f"{shown!r} is no session name: use letters, digits and . _ @ : + - (64 at most), no blanks"
            )
        known = [*(entry.record for entry in self._entries.values()), *self._promised]
        others = [record for record in known if holder is None or record.id != holder.record.id]
        # A name that reads like somebody's id would hide that session.
        taken = {record.name for record in others} | {record.id for record in others}
        if name not in taken:
            return name, []
        stamp = time.strftime("%H%M%S")
        free = next(
            candidate
            for candidate in (f"{name}-{stamp}", *(f"{name}-{stamp}-{n}" for n in range(2, len(taken) + 3)))
            if candidate not in taken
        )
        return free, [f'the name "{name}" is taken: this session is called "{free}"']
