"""What a client asks for that attaches, looked at in the light of who is there. PURE."""

from __future__ import annotations

from toowld.classes import define
from toowld.errors import LocalProtocolError, RemoteProtocolError
from toowld.session.attachment import Attachment
from toowld.session.events import ClientJoined, Lead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: What those are told whom somebody else wants out.
TAKEN_OVER = "taken over from another terminal"


@define
class Joining:
    """A new attachment.

    Attributes:
        attachment: not one of the session's yet.
        older: another one of the same client: its old connection is half open, and would bring
            it everything twice.
        leaving: who has to leave for it, and what they are told.
        from_seq: where its output goes on; None: the client has none of it.
        fresh: its user wanted it. Else the client is back by itself, and shows all that it was given.
    """

    attachment: Attachment
    older: Attachment | None
    leaving: list[tuple[Attachment, str]]
    from_seq: int | None
    fresh: bool


def admit(event: ClientJoined, attachments: Mapping[int, Attachment], seq: int, now: float) -> Joining:
    """Look at who wants to attach.

    Args:
        attachments: those of the session.
        seq: the end of its output.

    Raises:
        RemoteProtocolError: the client asks for what can't be.
        LocalProtocolError: there is such an attachment.
    """
    if event.client in attachments:
        raise LocalProtocolError(f"client {event.client} is attached already")
    from_seq = event.from_seq
    if from_seq is not None and not 0 <= from_seq < 1 << 63:
        raise RemoteProtocolError(f"asked for output from {from_seq}")
    if from_seq is not None and from_seq > seq:
        # It has output that the log lost (the power went), or of another session. None of ours continues it.
        from_seq = None
    if event.lead is not Lead.NO and event.read_only:
        raise RemoteProtocolError("who may only watch can't take the lead")
    older = next((one for one in attachments.values() if one.client_id == event.client_id), None)
    leaving = [(one, TAKEN_OVER) for one in attachments.values() if event.steal and one is not older]
    if older is not None:
        leaving.append((older, "replaced"))
    return Joining(
        Attachment(event.client, event.client_id, event.size, event.read_only, now),
        older,
        leaving,
        from_seq,
        fresh=from_seq is None or event.redraw,
    )
