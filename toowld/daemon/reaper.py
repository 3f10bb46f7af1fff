"""Ending sessions by themselves: those that nobody visits any more, and those that were to last only so long.

It owns the countdowns. They run on a monotonic clock, while a daemon runs; what remains of them is in the record, so
that the next daemon goes on with it. One that was not running begins with all of its time, and none ends a session at
the tick at which it begins: a daemon that has just started knows little yet.

Only what is known for sure ends a session. One that can't be asked who is attached waits, and before the end it is
asked once more. What can't be ended stays, and is tried again at the next tick.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from toowld.classes import define
from toowld.daemon.entry import Entry
from toowld.daemon.registry import Registry
from toowld.errors import ToowlError
from toowld.session import State
from toowld.settings.resolve import Settings

_log = logging.getLogger(__name__)

#: What remains is stored when it has become so much less (seconds), or a twentieth of the whole: that is how much too
#: late a session may end whose daemon was killed. A daemon that is stopped stores it exactly.
STORE_EVERY = 60.0

_ENDLESS = (0.0, float("inf"))

#: The settings of a session that say when it ends by itself.
_ENDS = frozenset(("idle_timeout", "ttl"))


class Kill(Protocol):
    """Ends the child of a session, and waits until it is gone.

    Raises:
        ToowlError: it runs on.
    """

    async def __call__(self, entry: Entry, *, force: bool) -> None: ...


@define
class Countdown:
    """One that runs: of how much time, until when on the clock, and when it was last known to be right."""

    limit: float
    due: float
    seen: float


class Reaper:
    """Counts, and ends.

    Args:
        settings: those that hold now.
        on_news: is told how a session is.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Callable[[], Settings],
        kill: Kill,
        on_news: Callable[[Entry, Any, Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._kill = kill
        self._on_news = on_news
        self._clock = clock
        self._counts: dict[tuple[str, str], Countdown] = {}  # by session and field of the record
        self._failures: dict[str, str] = {}  # why a session could not be ended

    async def cycle(self) -> None:
        """Count, and end those whose time has come."""
        now, everybody = self._clock(), self._settings().ends_some
        due = [
            (entry, *found)
            for entry in self._registry
            # At nearly every tick there is nothing to count for nearly all.
            if (everybody or _has_own(entry)) and (found := self._look(entry, now)) is not None
        ]
        self._counts = {key: count for key, count in self._counts.items() if key[0] in self._registry}
        self._failures = {key: text for key, text in self._failures.items() if key in self._registry}
        await asyncio.gather(*(self._end(*one) for one in due))

    def save(self) -> None:
        """The daemon ends: store what remains."""
        now = self._clock()
        for (session_id, field), count in self._counts.items():
            entry = self._registry.get(session_id)
            if entry is not None and getattr(entry.record, field) is not None:
                self._note(entry, field, max(0.0, count.due - now))

    def told(self, entry: Entry) -> dict[str, Any]:
        """What `info` says: in how many seconds a session ends, and whether a visit would change that."""
        found = []
        for field, limit, _ in self._limits(entry) if entry.running else ():
            if field == "idle_left" and (entry.clients or not _is_known(entry)):
                continue
            count, stored = self._counts.get((entry.record.id, field)), getattr(entry.record, field)
            left = _rest(stored, limit)
            if count is not None and count.limit == limit and stored is not None:
                left = max(0.0, count.due - self._clock())
            found.append((left, field == "idle_left"))
        if not found:
            return {"ends_in": None, "ends_unless_attached": False}
        left, visit = min(found)
        return {"ends_in": left, "ends_unless_attached": visit}

    def _note(self, entry: Entry, field: str, left: float | None) -> None:
        facts: dict[str, Any] = {field: left}
        self._registry.observe(entry, **facts)

    # --- counting ---------------------------------------------------------------------------------------

    def _limits(self, entry: Entry) -> Iterator[tuple[str, float, str]]:
        """What there is to count for a session: the record's field, the whole time, and why it ends then."""
        record, settings = entry.record, self._settings()
        found = settings.idle_timeout(record.settings, record.connection, named=bool(record.name))
        if found is not None and found[0] not in _ENDLESS:
            idle, key = found
            yield "idle_left", idle, f"nobody was attached for {idle:.12g} s ({key})"
        ttl = settings.of_session(record.settings, record.connection).ttl
        if ttl not in _ENDLESS:
            yield "ttl_left", ttl, f"it was to last {ttl:.12g} s (ttl)"

    def remote(self) -> list[dict[str, Any]]:
        """What `doctor` looks at: of running sessions made over a connection, the idle timeout, and its key."""
        found = []
        for entry in self._registry:
            record = entry.record
            if record.connection and entry.running:
                idle = self._settings().idle_timeout(
                    record.settings, record.connection, named=bool(record.name)
                )
                assert idle is not None  # a connection says at least that
                found.append({"id": record.id, "idle_timeout": idle[0], "key": idle[1]})
        return found

    def _look(self, entry: Entry, now: float) -> tuple[str, str] | None:
        """Go on counting; returns what has run out, and the cause of the end that this is."""
        if not entry.known or not entry.running or entry.lock.locked():
            return None  # nothing runs, or somebody is starting or ending it just now
        limits = {field: (limit, cause) for field, limit, cause in self._limits(entry)}
        over: tuple[str, str] | None = None
        for field in ("idle_left", "ttl_left"):
            if field not in limits or (field == "idle_left" and entry.clients and _is_known(entry)):
                self._cancel(entry, field)
            elif field == "idle_left" and not _is_known(entry):
                self._pause(entry, field)
            elif self._count(entry, field, limits[field][0], now):
                over = over or (field, limits[field][1])
        return over

    def _cancel(self, entry: Entry, field: str) -> None:
        self._counts.pop((entry.record.id, field), None)
        if getattr(entry.record, field) is not None:
            self._note(entry, field, None)

    def _pause(self, entry: Entry, field: str) -> None:
        count = self._counts.pop((entry.record.id, field), None)
        if count is not None and getattr(entry.record, field) is not None:
            self._note(entry, field, max(0.0, count.due - count.seen))

    def _count(self, entry: Entry, field: str, limit: float, now: float) -> bool:
        """Whether that time is over."""
        key, stored = (entry.record.id, field), getattr(entry.record, field)
        count = self._counts.get(key)
        if count is None or count.limit != limit or stored is None:
            # Somebody came and left since, or the time has been changed: all of it again.
            left = _rest(stored, limit) if count is None else limit
            self._counts[key] = Countdown(limit, now + left, now)
            if left != stored:
                self._note(entry, field, left)
            return False
        count.seen, left = now, count.due - now
        if left > 0 and stored - left >= max(STORE_EVERY, limit / 20):
            self._note(entry, field, left)
        return left <= 0

    # --- ending -----------------------------------------------------------------------------------------

    async def _end(self, entry: Entry, field: str, cause: str) -> None:
        label = entry.record.label
        try:
            async with entry.lock:  # who attaches just now is there before us, or waits
                if self._registry.get(entry.record.id) is not entry or not entry.running:
                    return
                if field == "idle_left" and not await self._is_alone(entry):
                    return
                entry.ending = cause
                try:
                    await self._kill(entry, force=False)
                finally:
                    entry.ending = None
                self._failures.pop(entry.record.id, None)
                _log.info("session %s was ended: %s", entry.record.id, cause)
        except ToowlError as error:
            if self._failures.get(entry.record.id) != str(error):  # said once, not at every tick
                _log.warning("session %s was to end, as %s: %s: trying again", label, cause, error)
            self._failures[entry.record.id] = str(error)

    async def _is_alone(self, entry: Entry) -> bool:
        """Ask who keeps it, now.

        Raises:
            ToowlError: that can't be told.
        """
        keeper = entry.keeper
        if keeper is None:
            return False
        info = await keeper.request("info")
        self._on_news(entry, keeper, info)
        return entry.running and info.get("clients") == 0 and entry.record.idle_left is not None


def _has_own(entry: Entry) -> bool:
    """Whether an end was said for this session or its connection, or has been counted for it."""
    record = entry.record
    return (
        bool(record.connection)
        or not _ENDS.isdisjoint(record.settings)
        or record.idle_left is not None
        or record.ttl_left is not None
    )


def _rest(stored: float | None, limit: float) -> float:
    """What remains by the record; all, where it says nothing, or what can't be."""
    return stored if stored is not None and 0 <= stored <= limit else limit


def _is_known(entry: Entry) -> bool:
    """Whether it is known who is attached."""
    keeper = entry.keeper
    return (
        entry.record.state is State.RUNNING
        and keeper is not None
        and not keeper.hangs
        and "clients" in entry.live
    )
