"""Who may slow the child down. PURE.

Only the lead (`toowld.session.leading`). When its outbox is full, or it is nearly caught up, the PTY is not read
until it has room, so a terminal that keeps going loses nothing and Ctrl-C acts at once. From farther behind, the
child may print half of what the lead is given meanwhile: it gets nearer, and the log never overtakes it. If it
takes nothing for `outbox.STALL_AFTER`, it falls behind like everybody else, and the child goes on.
"""

from __future__ import annotations

from toowld.session import effects as do
from toowld.session.attachment import Attachment
from toowld.session.leading import lead_of
from toowld.session.outbox import HOLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

#: A lead that is this close to the end holds the PTY until it has caught up; else a child that prints as fast
#: as the log can be read would keep it behind for ever. At a terminal's 20 MB/s the child waits 50 ms for it.
NEARLY_CAUGHT_UP = 1 << 20

#: What the child may print is not saved up for later beyond this, nor what it has printed too much: one read of
#: the PTY.
MAX_ALLOWANCE = 64 << 10


def printed(attachment: Attachment, count: int) -> None:
    """The child printed so much that this one, which is behind, was not given."""
    attachment.allowance = max(attachment.allowance - count, -MAX_ALLOWANCE)


def fed(attachment: Attachment, count: int) -> None:
    """This one was given so much from the log."""
    attachment.allowance = min(attachment.allowance + count // 2, MAX_ALLOWANCE)


class Flow:
    """Whether the PTY of one session is read.

    Attributes:
        paused: it is not, by the effects that `regulate` returned so far.
    """

    def __init__(self, *, paused: bool = False) -> None:
        self.paused = paused

    def is_even(self, attachments: Iterable[Attachment]) -> bool:
        """Whether all keep up, as nearly always: then a key must not wait for `regulate`, which has nothing to do."""
        for attachment in attachments:
            if attachment.outbox.queued > HOLD or not attachment.live:
                return False
        return not self.paused

    def regulate(
        self, attachments: Collection[Attachment], seq: int, running: bool, now: float
    ) -> Sequence[do.Effect]:
        """Pause or resume the PTY, and let those fall behind who are too slow to be live.

        Args:
            attachments: all of the session's.
            seq: the end of its output.
            running: there is a PTY.
        """
        effects: list[do.Effect] = []
        lead = lead_of(attachments)
        for attachment in attachments:
            if not (attachment.live and attachment.outbox.full):
                continue
            if attachment is not lead or attachment.outbox.is_stalled(now):
                attachment.fall_behind(now)
                effects.append(do.WatchRoom(attachment.client))
        if not running:
            self.paused = False
            return effects
        hold = lead is not None and self._is_held_by(lead, seq, now)
        if hold != self.paused:
            self.paused = hold
            effects.append(do.PausePty() if hold else do.ResumePty())
        return effects

    def deadline(self, attachments: Iterable[Attachment]) -> float | None:
        """When to `regulate` again if nothing happens (monotonic seconds): the lead stalls then."""
        if not self.paused:
            return None
        lead = lead_of(attachments)
        return lead.outbox.stalls_at if lead is not None and lead.outbox.waits else None

    def _is_held_by(self, lead: Attachment, seq: int, now: float) -> bool:
        if lead.outbox.is_stalled(now):
            return False
        if lead.live:
            return lead.outbox.holds or (self.paused and not lead.outbox.has_room)
        if lead.seq < 0:
            return False  # where its replay begins is known in a moment
        return seq - lead.seq <= NEARLY_CAUGHT_UP or lead.allowance <= 0
