"""How much is queued for one client, and whether it still makes progress. PURE accounting: holds no bytes.

The driver owns the bytes (in the socket's send buffer and behind it). The engine decides with this what a
client may be given, and when it counts as stalled.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Beyond this, one who is live gets no more, and is helped from the log later. Four PTY wake-ups of 64 KiB fit, so
#: that a healthy viewer is never behind just because it had no turn between two of them.
HIGH = 256 << 10

#: Beyond this, the child waits for its lead. What is queued here, in the socket and in the client is still to be
#: printed when somebody presses Ctrl-C: docs/architecture.md has the sum. Measured with a terminal that prints
#: 2 MB/s (256 -> 32 KiB, with the other buffers as they are now): 0.13 -> 0.07 s; throughput to a fast one is
#: the same, for 8 % more CPU.
HOLD = 32 << 10

#: Below this there is room again. A quarter keeps pause and resume from alternating at every write.
LOW = HOLD // 4

#: A client that takes nothing for so long (seconds) while it is full counts as stalled.
STALL_AFTER = 1.0


class Outbox:
    """What one client has been given and not yet taken."""

    __slots__ = ("_progress_at", "awaits_room", "queued")

    def __init__(self, now: float) -> None:
        self.queued = 0
        self.awaits_room = False  # nothing may be queued, but the kernel still holds too much of ours
        self._progress_at = now

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {"queued": self.queued, "awaits_room": self.awaits_room, "progress_at": self._progress_at}

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Outbox:
        """The opposite of `freeze`."""
        outbox = cls(state["progress_at"])
        outbox.queued = state["queued"]
        outbox.awaits_room = state["awaits_room"]
        return outbox

    def add(self, count: int, now: float) -> None:
        """``count`` bytes were queued."""
        if not (self.queued or self.awaits_room):  # `waits`, without a call for each piece of output
            self._progress_at = now  # an empty queue can't stall: the clock starts with the first byte
        self.queued += count

    def left(self, queued: int, now: float) -> None:
        """The connection took some; ``queued`` bytes are left."""
        self.queued = queued
        self._progress_at = now

    def await_room(self, now: float) -> None:
        """It was asked when the connection has room."""
        if not self.waits:
            self._progress_at = now
        self.awaits_room = True

    def got_room(self, now: float) -> None:
        """The connection has nothing queued, and room."""
        self.awaits_room = False
        self.left(0, now)

    @property
    def waits(self) -> bool:
        """Whether the client is to take something: then, and only then, it can stall."""
        return self.queued > 0 or self.awaits_room

    @property
    def full(self) -> bool:
        """Whether one that lives on what comes gets no more, and must be helped from the log."""
        return self.queued > HIGH

    @property
    def holds(self) -> bool:
        """Whether the child is to wait for it, if it leads."""
        return self.queued > HOLD

    @property
    def has_room(self) -> bool:
        return self.queued <= LOW

    @property
    def stalls_at(self) -> float:
        """When it counts as stalled if it `waits` and nothing is taken until then (monotonic seconds)."""
        return self._progress_at + STALL_AFTER

    def is_stalled(self, now: float) -> bool:
        """Whether it has taken nothing for too long."""
        return self.waits and now >= self.stalls_at
