"""Whether memory and disk know of the same sessions, while the daemon runs.

Somebody may remove a session's folder by hand, or put one back from a backup. What runs is true, whatever the disk
says: its record is written again. What does not run is only what is on disk.
"""

from __future__ import annotations

import asyncio
import logging

from toowld.daemon.entry import Entry
from toowld.daemon.registry import Registry
from toowld.daemon.stamp import Stamp
from toowld.daemon.store import Store
from toowld.errors import ToowlError

_log = logging.getLogger(__name__)


#: A folder that gets or loses a session is looked at at once, what is in the folders of sessions every so many ticks.
_EVERY = 20


class Comparison:
    """Memory and disk, at each tick."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._stamp = Stamp(store.sessions)
        self._ticks = 0

    async def tick(self) -> None:
        """Compare them, if that is due."""
        changed = self._stamp.changed()
        if changed or self._ticks >= _EVERY:
            self._ticks = 0
            await compare(self._registry, self._store)
            self._stamp.looked()
        self._ticks += 1


async def compare(registry: Registry, store: Store) -> None:
    """Make them agree. A disk that can't be read says nothing, and nothing is done."""
    before = list(registry)
    try:
        stored = await asyncio.to_thread(store.stored)
        for entry in before:
            if entry.record.id not in stored:
                _missing(registry, store, entry)
        for session_id in sorted(stored):
            if not registry.knows(session_id):
                await _take_in(registry, store, session_id)
    except OSError as error:
        _log.warning("the folder of the sessions can't be read: %s", error)


def _missing(registry: Registry, store: Store, entry: Entry) -> None:
    """There was no record on disk a moment ago."""
    record = entry.record
    if not entry.known or registry.get(record.id) is not entry:
        return
    if entry.lock.locked() or entry.saving.locked() or entry.due is not None or entry.unsaved:
        return  # somebody is at it
    if store.has_record(record.id):
        return
    if entry.running or store.folder(record.id).exists():
        _log.warning("session %s: its record is gone from the disk: it is written again", record.id)
        registry.observe(entry, durable=True)
    else:
        _log.warning("session %s was removed from the disk, and is forgotten", record.id)
        registry.drop(entry)


async def _take_in(registry: Registry, store: Store, session_id: str) -> None:
    try:
        record = await asyncio.to_thread(store.load, session_id)
        if registry.knows(session_id) or not store.has_record(session_id):
            return  # it was made, or removed, while we looked
        name, _ = registry.free_name(record.name)
    except ToowlError as error:
        _log.debug("session %s can't be taken in: %s", session_id, error)
        return
    entry = registry.add(record)
    if not entry.running:
        entry.gone.set()
    if name != record.name:
        registry.observe(entry, name=name)
    _log.warning("session %s was found on the disk, and is taken in", session_id)
