"""Who leads: whose terminal decides how large a session is and how fast its child may print. PURE.

Whoever took the lead; else, of those who may type, whoever typed last, or attached. What a terminal says by itself is
not typing: nobody leads by that, nor by a client that comes back after its connection broke.
"""

from __future__ import annotations

from toowld.session.attachment import Attachment
from toowld.session.events import Lead
from toowld.session.joining import Joining
from toowld.session.queries import only_reports
from toowld.session.states import Role, RoleMove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def lead_of(attachments: Iterable[Attachment]) -> Attachment | None:
    """Who leads these; None: none of them may type."""
    lead = None
    for attachment in attachments:
        if not attachment.read_only and (lead is None or attachment.precedence > lead.precedence):
            lead = attachment
    return lead


class Leading:
    """Keeps the ``role`` and ``typed_at`` of one session's attachments, by which one leads.

    Args:
        typed_at: when somebody last typed, or attached (monotonic seconds).
    """

    def __init__(self, typed_at: float = 0.0) -> None:
        self._typed_at = typed_at

    def joined(self, joining: Joining, others: Collection[Attachment], lead: Lead) -> None:
        """Somebody attaches to where the others are; ``lead``: whether it takes the lead."""
        attachment, older = joining.attachment, joining.older
        if not joining.fresh:  # its user has done nothing: it leads as much as it did
            last = min([attachment.typed_at, *(other.typed_at for other in others)])
            attachment.typed_at = last if older is None else older.typed_at
        self._typed_at = max(self._typed_at, attachment.typed_at)
        taken = any(other.role is Role.LEAD for other in others if other is not older)
        if lead is Lead.TAKE or (lead is Lead.KEEP and not taken):
            for other in others:
                if other.role is Role.LEAD:
                    other.change_role(RoleMove.LOST)
            attachment.change_role(RoleMove.TAKEN)

    def typed_last(self, attachment: Attachment) -> bool:
        """Whether nobody has typed, or attached, since this one did."""
        return attachment.typed_at >= self._typed_at

    def goes_on(self, attachment: Attachment, now: float) -> None:
        """Who `typed_last` types again."""
        attachment.typed_at = self._typed_at = now

    def typed(self, attachment: Attachment, data: bytes, now: float) -> None:
        """Somebody typed."""
        # Nearly every key is of whoever typed last anyway: then what it is is not looked at.
        if self.typed_last(attachment) or not only_reports(data):
            self.goes_on(attachment, now)
