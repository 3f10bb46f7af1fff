"""What happens to sessions, numbered, for whoever listens: clients, and the hooks.

Owns the numbers and the last `KEPT` events. A listener is a place among these, no queue of its own: it is given what
comes after its place as fast as it takes that. Whoever falls farther behind than what is kept is told how much it
missed, and the daemon never waits for anybody. To publish costs the same whether nobody listens or somebody is slow.

Numbers grow by one with each event of this daemon; ``run`` tells this daemon's from those of the one before.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from toowld.classes import define
from toowld.daemon import differences
from toowld.session import Record
from toowld.wire import Event, encode
from toowld.wire.text import pack_text

#: Events that are kept for those who come back: at the rate of a few busy sessions those of some minutes, 1 MB or so.
KEPT = 2048


@define
class Happening:
    """One event. ``at``: seconds since the epoch; ``version``: that of the session's record, which never sinks."""

    number: int
    name: str
    at: float
    session: str
    label: str | None
    version: int
    data: Mapping[str, Any]
    frame: bytes | None = None


class Bus:
    """Everything that happens while this daemon runs.

    Attributes:
        run: names this daemon's life.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.run = secrets.token_hex(4)
        self._happened: deque[Happening] = deque(maxlen=kept)
        self._last = 0
        self._listeners: set[Listener] = set()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def publish(self, name: str, record: Record, data: Mapping[str, Any]) -> None:
        """Tell of something that has happened to a session."""
        self._last += 1
        happening = Happening(self._last, name, time.time(), record.id, record.name, record.version, data)
        self._happened.append(happening)
        for listener in list(self._listeners):
            listener.wake()

    def record_changed(self, before: Record, now: Record) -> None:
        """A session's record has become another one."""
        for name, data in differences.of_record(before, now):
            self.publish(name, now, data)

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` woken from now on."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """The opposite of `listen`."""
        self._listeners.discard(listener)

    def after(self, number: int) -> tuple[int, list[Happening]]:
        """What is kept of all that happened after ``number``, and how many events before that are not kept."""
        first = self._last - len(self._happened) + 1
        skip = max(number + 1 - first, 0)
        # From the end, as that is where nearly all of them are.
        wanted = len(self._happened) - skip
        found = [self._happened[-back] for back in range(wanted, 0, -1)] if wanted > 0 else []
        return max(first - number - 1, 0), found

    def frame(self, happening: Happening) -> bytes:
        """An event as it goes to clients, made once for all of them."""
        if happening.frame is None:
            data = {
                "run": self.run,
                "number": happening.number,
                "at": happening.at,
                "session": happening.session,
                "name": happening.label,
                "version": happening.version,
                **happening.data,
            }
            happening.frame = encode(Event(happening.name, pack_text(data)))
        return happening.frame


class Listener:
    """Somebody who wants to know.

    Args:
        wants: whether an event is for it.
        take: is given one that is. Whether it takes more.
        missed: is told how many events it can't be given any more (None: nobody knows), and after which number it
            goes on.
        since: the last number that it knows.
        run: which daemon's numbers those are; None: ours.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        wants: Callable[[Happening], bool],
        take: Callable[[Happening], bool],
        missed: Callable[[int | None, int], None],
        since: int,
        run: str | None = None,
    ) -> None:
        self._bus = bus
        self._wants = wants
        self._take = take
        self._missed = missed
        self._at = since
        self._lost = run not in (None, bus.run) or since > bus.last
        if self._lost:
            self._at = 0
        self._full = False
        self._giving = False
        self._closed = False
        self.on_close: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to give, with what has happened since."""
        if not self._closed:
            self._bus.listen(self)
            self.resume()

    def wake(self) -> None:
        """There is something new."""
        if not (self._full or self._giving):
            self._give()

    def resume(self) -> None:
        """It takes more again."""
        self._full = False
        self.wake()

    def _give(self) -> None:
        self._giving = True  # what takes an event may make room, or the next event
        try:
            while not (self._full or self._closed) and (self._at < self._bus.last or self._lost):
                gone, happened = self._bus.after(self._at)
                if gone or self._lost:
                    self._at += gone
                    self._missed(None if self._lost else gone, self._at)
                    self._lost = False
                for happening in happened:
                    self._at = happening.number
                    if self._wants(happening) and not self._take(happening):
                        self._full = True
                    if self._full or self._closed:
                        break
        finally:
            self._giving = False

    def close(self) -> None:
        """Give no more."""
        if not self._closed:
            self._closed = True
            self._bus.leave(self)
            self.on_close()
