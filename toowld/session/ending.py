"""How a session comes to its end: what its child is sent, and how long its clients are waited for. PURE."""

from __future__ import annotations

import signal

from toowld.session.attachment import Attachment
from toowld.session.effects import Finished, SignalSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

#: Signals, and how long each is given (seconds). HUP, then TERM, then KILL: a shell that saves its history on HUP
#: needs a moment, seldom more.
KILL_STEPS: tuple[tuple[int, float], ...] = (
    (signal.SIGHUP, 2.0),
    (signal.SIGTERM, 3.0),
    (signal.SIGKILL, 1.0),
)

#: Clients that take nothing any more get so long, at least, after the end of the child (seconds).
FAREWELL = 5.0

#: Those who still take their last bytes get so long, and no longer: a client that trickles must not keep a
#: custodian for ever. Over a line of 1 MB/s nearly all of a full log comes through meanwhile.
LONGEST_FAREWELL = 60.0


class Killing:
    """How far the ending of one child is. Its methods return what to send to the child's session now.

    Attributes:
        requested: somebody asked for it.
        deadline: when to call `due` (monotonic seconds); None: nothing is under way.
    """

    def __init__(self) -> None:
        self.requested = False
        self.deadline: float | None = None
        self._steps: list[tuple[int, float]] = []  # still to come

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {
            "kill_plan": [list(step) for step in self._steps],
            "kill_at": self.deadline,
            "end_requested": self.requested,
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Killing:
        """The opposite of `freeze`."""
        killing = cls()
        killing.requested = state["end_requested"]
        killing.deadline = state["kill_at"]
        killing._steps = [(signum, wait) for signum, wait in state["kill_plan"]]
        return killing

    def request(self, *, force: bool, now: float) -> Sequence[SignalSession]:
        """Somebody wants the child ended; ``force``: by SIGKILL, and at once."""
        if self.requested and not force:
            return ()  # it is under way: whoever asks again and again must not keep it at the first step
        self.requested = True
        self._steps = [step for step in KILL_STEPS if not force or step[0] == signal.SIGKILL]
        return self._next(now)

    def due(self, now: float) -> Sequence[SignalSession]:
        """What it is time for."""
        return self._next(now) if self.deadline is not None and now >= self.deadline else ()

    def child_ended(self) -> Sequence[SignalSession]:
        """The child is gone."""
        self.deadline = None
        self._steps = []
        # Whoever ignored the signals so far has had its time; nothing of a killed session stays.
        return (SignalSession(signal.SIGKILL),) if self.requested else ()

    def _next(self, now: float) -> Sequence[SignalSession]:
        # The last step is repeated: a process in uninterruptible sleep dies when it wakes, and until then the
        # session says "running", which is the truth.
        signum, wait = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        self.deadline = now + wait
        if signum == signal.SIGKILL:
            return (SignalSession(signum),)
        return (
            SignalSession(signum),
            SignalSession(signal.SIGCONT),
        )  # a stopped process can't act on HUP or TERM


class Farewell:
    """The time between the end of the child and that of its session: for clients that lack its last bytes.

    Attributes:
        over: it was, and nobody is left.
        deadline: when to call `overdue` (monotonic seconds); None: nobody is waited for.
    """

    def __init__(self) -> None:
        self.over = False
        self.deadline: float | None = None
        self._until = 0.0

    def begin(self, now: float) -> None:
        """The child has ended."""
        self.deadline = now + FAREWELL
        self._until = now + LONGEST_FAREWELL

    def overdue(self, attachments: Iterable[Attachment], now: float) -> Sequence[Attachment]:
        """Who is not to be waited for any longer."""
        if self.deadline is None or now < self.deadline:
            return ()
        self.deadline = min(now + FAREWELL, self._until)  # for those who still take their last bytes
        late = now >= self._until
        return [attachment for attachment in attachments if late or attachment.outbox.is_stalled(now)]

    def end(self) -> Sequence[Finished]:
        """Nobody is left. Returns that, once."""
        self.deadline = None
        if self.over:
            return ()
        self.over = True
        return (Finished(),)
