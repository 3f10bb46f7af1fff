"""How large a session is: whose terminals decide that, and by which rule. PURE.

Owns the sizes of all terminals whose users may type, and who of them did something last: attached, typed, or resized
the terminal. Viewers are not in here, and have no say. What a size does to the PTY and to whom it is told is the
engine's business.
"""

from __future__ import annotations

import enum

from toowld.session.attachment import Attachment
from toowld.session.queries import only_reports
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any


class SizePolicy(enum.Enum):
    """Which terminals decide. The values stand in settings, records and requests."""

    SMALLEST = "smallest"  # what all of them can show
    LATEST = "latest"  # that of whoever did something last; tmux has the same as window-size latest

    def size(self, terminals: Collection[Size]) -> Size:
        """What fits these, at least one; that of whoever did something last stands last."""
        if self is SizePolicy.LATEST:
            *_, last = terminals
            return last
        return Size(rows=min(size.rows for size in terminals), cols=min(size.cols for size in terminals))


def size_policy(word: object) -> SizePolicy:
    """The policy of that name; the smallest where nobody said so yet, or a later version says what we don't know."""
    try:
        return SizePolicy(word)
    except ValueError:
        return SizePolicy.SMALLEST


class Sizes:
    """The terminals of one session that count, and in which order. ``policy``: may be another one at any time."""

    def __init__(self, policy: SizePolicy) -> None:
        self.policy = policy
        self._terminals: dict[int, Size] = {}  # by client; whose user did something last stands last

    def freeze(self) -> dict[str, Any]:
        """The rule and the order as plain values, for `thaw`; the sizes themselves are kept with the attachments."""
        return {"size_policy": self.policy.value, "size_order": list(self._terminals)}

    @classmethod
    def thaw(cls, state: Mapping[str, Any], attachments: Iterable[Attachment]) -> Sizes:
        """The opposite of `freeze`. The first states had neither: the smallest decided, in whatever order."""
        sizes = cls(size_policy(state.get("size_policy")))
        found = {a.client: a.size for a in attachments if a.size is not None and a.has_terminal}
        sizes._terminals = {client: found[client] for client in state.get("size_order", found)}
        return sizes

    @property
    def wanted(self) -> Size | None:
        """How large the session is to be; None: there is nobody to say so, and it stays as it is."""
        return self.policy.size(self._terminals.values()) if self._terminals else None

    def joined(self, attachment: Attachment, fresh: bool, older: Attachment | None) -> None:
        """Somebody attached.

        Args:
            fresh: the user wanted it. Else the client came back by itself after its connection broke: it stands where
                ``older`` does, if that is still here, or behind all others.
            older: another attachment of the same client, which is about to leave.
        """
        if fresh:
            self._put_last(attachment)
        elif attachment.size is not None and attachment.has_terminal:
            terminals = list(self._terminals.items())
            order = list(self._terminals)
            place = order.index(older.client) if older is not None and older.client in order else 0
            terminals.insert(place, (attachment.client, attachment.size))
            self._terminals = dict(terminals)

    def resized(self, attachment: Attachment) -> None:
        """Somebody's terminal has another size."""
        self._put_last(attachment)

    def typed(self, attachment: Attachment, data: bytes) -> bool:
        """Somebody typed. Returns whether the size may be another one by that.

        What a terminal says by itself is nobody's doing: two of them would take the size from each other for ever.
        """
        if len(self._terminals) < 2 or self.policy is SizePolicy.SMALLEST or not attachment.has_terminal:
            return False
        if attachment.client == next(reversed(self._terminals), None):  # with nearly every key
            return False
        if only_reports(data):
            return False
        self._put_last(attachment)
        return True

    def left(self, attachment: Attachment) -> None:
        """Somebody is gone."""
        self._terminals.pop(attachment.client, None)

    def _put_last(self, attachment: Attachment) -> None:
        if attachment.size is not None and attachment.has_terminal:
            self._terminals.pop(attachment.client, None)
            self._terminals[attachment.client] = attachment.size
