"""What a session wants done: the only things that `Session.handle` returns. PURE.

"Effect", because *command* already means a CLI command and the child's argv. The driver carries them out in
order; none of them fails from the engine's point of view (a failure comes back as an event). They are not frozen, for
the reason that `toowld.session.events` gives.
"""

from __future__ import annotations

from toowld.classes import define
from toowld.wire import Message, Size


@define
class Effect:
    """Base of all effects."""


@define
class AppendLog(Effect):
    """Keep this output. Stands before the `Send` of the same bytes: what a client saw is in the log."""

    data: bytes


@define
class LogResize(Effect):
    """Note the new size in the log."""

    size: Size


@define
class LogExit(Effect):
    """Note in the log how the child ended; ``requested``: somebody asked this session to be ended."""

    reason: str
    code: int | None
    signal: int | None
    requested: bool


@define
class SyncLog(Effect):
    """Bring the log to the disk (fdatasync)."""


@define
class ReadLog(Effect):
    """Answer with `events.LogRead`: output from ``seq`` on, at most ``limit`` bytes."""

    client: int
    seq: int
    limit: int


@define
class FindReplayStart(Effect):
    """Answer with `events.LogRead`, from a safe place at most ``back`` bytes before the end on."""

    client: int
    back: int
    limit: int


@define
class WritePty(Effect):
    """Type these bytes, after all that was asked before. Answer with `events.PtyTook` as they go."""

    data: bytes


@define
class ResizePty(Effect):
    """Set the PTY's size; the kernel sends SIGWINCH if it differs."""

    size: Size


@define
class NudgeForeground(Effect):
    """Send SIGWINCH to the foreground group: the size is the same, but the screen is a fresh one."""


@define
class PausePty(Effect):
    """Stop reading the PTY, so that the child waits."""


@define
class ResumePty(Effect):
    """Read the PTY again."""


@define
class ClosePty(Effect):
    """Forget the PTY: the kernel hangs up on whoever still uses it."""


@define
class SignalSession(Effect):
    """Send a signal to every process of the child's session (setsid(2))."""

    signal: int


@define
class Send(Effect):
    """Send a message to a client; its bytes count into the outbox until `events.ClientTook`."""

    client: int
    message: Message


@define
class WatchRoom(Effect):
    """Say `events.ClientRoom`, once, when the client's connection has nothing queued and would take more."""

    client: int


@define
class CloseClient(Effect):
    """Close the client's connection, after what is queued for it was sent. ``reason``: for the daemon's log."""

    client: int
    reason: str


@define
class Changed(Effect):
    """Something that lists show has changed: clients, size, state."""


@define
class Finished(Effect):
    """The child has ended and every client knows (or had its time): the engine has no more to do."""
