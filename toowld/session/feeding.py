"""How those get their output who are not live: from the log. PURE.

They are given one piece at a time, each when the last one is gone, until they have caught up; so replaying to a
new client, and helping one that fell behind, are the same thing. There is no moment between "replay" and "live" at
which a byte could be lost or sent twice: both continue at the attachment's own ``seq``.
"""

from __future__ import annotations

from toowld.errors import LocalProtocolError
from toowld.session import effects as do
from toowld.session.attachment import Attachment
from toowld.session.events import LogRead
from toowld.session.flow import fed
from toowld.session.states import AttachmentMove
from toowld.wire import Gap, Live, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: One piece of replay. Large enough that the cost per piece vanishes, small enough that the PTY and other
#: clients get their turn between two of them.
REPLAY_PIECE = 64 << 10


def find_start(attachment: Attachment, back: int) -> do.Effect:
    """Have the log find where a replay of at most ``back`` bytes begins. It comes together with the first piece."""
    attachment.seq = -1
    attachment.reading = True
    return do.FindReplayStart(attachment.client, back, REPLAY_PIECE)


def next_piece(attachment: Attachment, end: int) -> do.Effect:
    """Ask the log for the next piece, or declare the attachment caught up with the output's ``end``: it is live."""
    if attachment.seq < end:
        attachment.reading = True
        return do.ReadLog(attachment.client, attachment.seq, REPLAY_PIECE)
    attachment.move(AttachmentMove.CAUGHT_UP)
    return do.Send(attachment.client, Live(attachment.seq))


def take(attachment: Attachment, piece: LogRead, end: int, now: float) -> Sequence[do.Effect]:
    """Give a piece on. The next is for when it has room; for at once if this one is empty.

    Args:
        end: of the output.

    Raises:
        LocalProtocolError: nobody asked for that piece.
    """
    begin, until = piece.seq, piece.seq + len(piece.data)
    if not (attachment.reading and attachment.seq <= begin and until <= end):
        raise LocalProtocolError(f"the log's output from {begin} to {until} was not asked for")
    attachment.reading = False
    effects: list[do.Effect] = []
    if attachment.seq < 0:  # the answer to FindReplayStart
        attachment.seq = begin
    elif begin == until == attachment.seq:
        begin = until = end  # the log lost what it was given; to ask again would go on for ever
    if begin > attachment.seq:
        effects.append(do.Send(attachment.client, Gap(attachment.seq, begin)))
        attachment.replies.forget()
    attachment.seq = until
    if piece.data:
        attachment.outbox.add(len(piece.data), now)
        fed(attachment, len(piece.data))
        effects.append(do.Send(attachment.client, Output(piece.seq, piece.data)))
        # Not at once, though it may have room by now: others want their turn.
        attachment.outbox.await_room(now)
        effects.append(do.WatchRoom(attachment.client))
    return effects
