"""Who answers what a program asks its terminal. PURE.

One terminal does: that of the lead at the moment of the question. What others answer to it is dropped. Where
nobody's terminal is there we answer ourselves (`toowld.session.answers`), also if somebody attaches meanwhile:
clients show old output without its questions. With a single terminal, output is not even looked at for them.
"""

from __future__ import annotations

from toowld.session.attachment import Attachment
from toowld.session.leading import lead_of
from toowld.session.queries import Query, QueryScanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any


class QueryRouter:
    """Knows whether terminals are there that answer one session's program.

    Args:
        seq: the end of its output; nobody is there yet.

    Attributes:
        scanner: what finds the questions in its output; None while they need not be found.
    """

    def __init__(self, seq: int) -> None:
        self.scanner: QueryScanner | None = QueryScanner()
        self._terminals = 0  # that can answer
        self._unseen_since = seq  # what was printed from here on, no terminal was there to answer

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {
            "scanned": None if self.scanner is None else self.scanner.begun,
            "unseen_since": self._unseen_since,
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any], attachments: Iterable[Attachment]) -> QueryRouter:
        """The opposite of `freeze`."""
        router = cls(state["unseen_since"])
        router.scanner = None if state["scanned"] is None else QueryScanner(state["scanned"])
        router._terminals = _count(attachments)
        return router

    def attachments_changed(self, attachments: Iterable[Attachment], seq: int) -> None:
        """Somebody came or left; ``seq``: the end of the output."""
        terminals = _count(attachments)
        if terminals == self._terminals:
            return
        if not terminals:
            self._unseen_since = seq
        self._terminals = terminals
        self.scanner = None if terminals == 1 else QueryScanner()

    def answered_since(self, attachment: Attachment) -> int:
        """From where on nobody waits for this one's answers to what was printed by now."""
        return self._unseen_since if self._terminals == attachment.has_terminal else 0

    def is_answered(self, query: Query, attachments: Collection[Attachment]) -> bool:
        """Whether one of these answers a question that they are about to be shown."""
        lead = lead_of(attachment for attachment in attachments if attachment.has_terminal)
        for attachment in attachments:
            if attachment.has_terminal and attachment is not lead:
                attachment.replies.expect(query.kind)
        return lead is not None


def _count(attachments: Iterable[Attachment]) -> int:
    return sum(attachment.has_terminal for attachment in attachments)
