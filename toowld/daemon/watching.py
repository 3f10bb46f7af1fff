"""What nobody tells: that a session has been silent for a while, and that it waits for somebody to type.

Looked at when it is asked for, and twice a second while somebody follows it; else not at all. A custodian is asked
only where something has happened since the last time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from toowld.classes import define, field
from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.foreground import Processes
from toowld.daemon.registry import Registry
from toowld.session import State

#: How often it is looked while somebody wants to know (seconds).
EVERY = 0.5
#: With hundreds of sessions, looking takes this part of the time at most.
_SHARE = 0.05
#: Who has printed nothing for so long (seconds) does nothing that one would watch.
QUIET = 2.0


@define
class _Seen:
    """What was seen of one session.

    Attributes:
        waits: it waits for somebody to type; told: that was told.
        output_at: when it printed last; silences: since then it was told of these.
    """

    waits: str | None = None
    told: bool = False
    output_at: float | None = None
    silences: set[float] = field(factory=set)


class Watching:
    """Looks at sessions.

    Args:
        refresh: brings `Entry.live` up to date.
    """

    def __init__(self, registry: Registry, bus: Bus, refresh: Callable[[Entry], Awaitable[None]]) -> None:
        self._registry = registry
        self._bus = bus
        self._refresh = refresh
        self._silences: Counter[float] = Counter()
        self._inputs = 0
        self._seen: dict[str, _Seen] = {}
        self._task: asyncio.Task[None] | None = None

    async def activity(self, entry: Entry) -> dict[str, Any]:
        """What it does, as far as that can be seen; its `Entry.live` is as new as it can be.

        ``waiting``: "prompt" or "input" if it waits for somebody to type. ``quiet``, ``untouched``: for how many
        seconds it has printed, and was typed, nothing.
        """
        if entry.record.state is not State.RUNNING:
            return {"waiting": None, "quiet": None, "untouched": None}
        waiting = await asyncio.to_thread(lambda: _waiting(entry, Processes()))
        typed = entry.live.get("last_active_at")
        return {
            "waiting": waiting,
            "quiet": _quiet(entry),
            "untouched": None if typed is None else max(time.time() - typed, 0.0),
        }

    def begin(self, silence: float | None, inputs: bool) -> Callable[[], None]:
        """Tell of sessions that are silent for so long (seconds), and of those that wait. Returns what ends that."""
        if silence is not None:
            self._silences[silence] += 1
        self._inputs += inputs
        if self._task is None and (silence is not None or inputs):
            self._task = asyncio.get_running_loop().create_task(self._watch())

        def end() -> None:
            self._inputs -= inputs
            if silence is not None:
                self._silences[silence] -= 1
                self._silences = +self._silences
            if not (self._silences or self._inputs):
                self.close()

        return end

    def close(self) -> None:
        """Look no more."""
        self._seen.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            running = [entry for entry in self._registry if entry.record.state is State.RUNNING]
            self._seen = {entry.record.id: self._seen.get(entry.record.id) or _Seen() for entry in running}
            processes = await asyncio.to_thread(Processes) if self._inputs else None
            for entry in running:
                await self._look(entry, processes)
            took = time.monotonic() - began
            await asyncio.sleep(max(EVERY, took / _SHARE))

    async def _look(self, entry: Entry, processes: Processes | None) -> None:
        seen = self._seen.get(entry.record.id)
        if seen is None:
            return
        if entry.keeper is not None and entry.keeper.rest is None:
            await self._refresh(entry)
        if entry.record.state is not State.RUNNING:
            return
        if processes is not None:
            self._tell_waiting(entry, seen, _waiting(entry, processes))
        self._tell_silence(entry, seen)

    def _tell_silence(self, entry: Entry, seen: _Seen) -> None:
        at = entry.live.get("output_at")
        if at != seen.output_at:
            seen.output_at = at
            seen.silences.clear()
        quiet = _quiet(entry)
        for seconds in sorted(self._silences):
            if quiet is not None and quiet >= seconds and seconds not in seen.silences:
                seen.silences.add(seconds)
                self._bus.publish("idle", entry.record, {"seconds": seconds})

    def _tell_waiting(self, entry: Entry, seen: _Seen, waits: str | None) -> None:
        """Tell of it once it was seen twice: programs read the terminal for a moment, too."""
        if waits is None:
            seen.waits, seen.told = None, False
        elif seen.waits is None:
            seen.waits = waits
        elif not seen.told:
            seen.told = True
            self._bus.publish("input", entry.record, {"waiting": waits})


def _waiting(entry: Entry, processes: Processes) -> str | None:
    if entry.live.get("prompt") == "prompt":
        return "prompt"
    pid = entry.record.pid
    quiet = _quiet(entry)
    if pid is None or processes.waiting(pid, quiet=quiet is not None and quiet >= QUIET) is None:
        return None
    return "input"


def _quiet(entry: Entry) -> float | None:
    """For how long it has printed nothing (seconds); None if its custodian does not tell, or it never has."""
    at = entry.live.get("output_at")
    return max(time.monotonic() - at, 0.0) if isinstance(at, int | float) else None
