"""One client's bond to the session, as the engine sees it. PURE."""

from __future__ import annotations

from toowld.errors import RemoteProtocolError
from toowld.session.outbox import Outbox
from toowld.session.queries import ReplyFilter
from toowld.session.states import (
    AttachmentMove,
    AttachmentState,
    Role,
    RoleMove,
    next_attachment_state,
    next_role,
)
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Attachment:
    """What the engine knows of one client.

    Attributes:
        client: number of the attachment.
        client_id: the client's own name for itself, stable over its reconnects.
        seq: the next output byte that it has not been given; -1 until the log has found where its replay begins.
        reading: the log has been asked for its next piece and has not answered yet.
        allowance: while it leads from far behind, how many bytes the child may print by now.
        size: of its terminal; None for one without.
        replies: takes out what its terminal answers where another one's answer counts.
        welcomed: it was told that it is attached, and of what size the session is.
        typed_at: when its user last typed, or attached (monotonic seconds), for who leads.
        live: it is given output as it comes. This and the next are asked at every key: no properties.
        read_only: it may not type.
    """

    __slots__ = (
        "_role",
        "_state",
        "allowance",
        "client",
        "client_id",
        "live",
        "outbox",
        "read_only",
        "reading",
        "replies",
        "seq",
        "size",
        "typed_at",
        "welcomed",
    )

    def __init__(self, client: int, client_id: str, size: Size | None, read_only: bool, now: float) -> None:
        self.client = client
        self.client_id = client_id
        self.seq = 0
        self.reading = False
        self.allowance = 0
        self.size = size
        self._role = Role.VIEWER if read_only else Role.PEER
        self.typed_at = now  # to attach is to lead, until somebody else types
        self.outbox = Outbox(now)
        self.replies = ReplyFilter()
        self.welcomed = False
        self._state = AttachmentState.REPLAYING
        self.live = False
        self.read_only = read_only

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`. Nothing is being read for it: the log answers at once."""
        assert not self.reading and self.seq >= 0
        return {
            "client": self.client,
            "client_id": self.client_id,
            "seq": self.seq,
            "state": self._state.value,
            "allowance": self.allowance,
            "rows": self.size.rows if self.size else None,
            "cols": self.size.cols if self.size else None,
            "read_only": self.read_only,
            "role": self._role.value,
            "typed_at": self.typed_at,
            "outbox": self.outbox.freeze(),
            "replies": self.replies.freeze(),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Attachment:
        """The opposite of `freeze`."""
        size = None if state["rows"] is None else Size(rows=state["rows"], cols=state["cols"])
        attachment = cls(state["client"], state["client_id"], size, state["read_only"], state["typed_at"])
        if state.get("role") == Role.LEAD.value:  # the first states knew no roles
            attachment.change_role(RoleMove.TAKEN)
        attachment.seq = state["seq"]
        attachment.welcomed = True
        attachment.allowance = state["allowance"]
        attachment.outbox = Outbox.thaw(state["outbox"])
        attachment.replies = ReplyFilter.thaw(state["replies"])
        attachment._enter(AttachmentState(state["state"]))
        return attachment

    @property
    def state(self) -> AttachmentState:
        return self._state

    def move(self, move: AttachmentMove) -> None:
        """Change state.

        Raises:
            LocalProtocolError: an illegal move.
        """
        self._enter(next_attachment_state(self._state, move))

    def _enter(self, state: AttachmentState) -> None:
        self._state = state
        self.live = state is AttachmentState.LIVE

    def describe(self) -> dict[str, Any]:
        """What its client is told of it (docs/protocol.md)."""
        return {"client": self.client, "read_only": self.read_only, "role": self._role.value}

    def fall_behind(self, now: float) -> None:
        """It is too slow to be live: from here on it is fed from the log, whenever it has room."""
        self.move(AttachmentMove.FELL_BEHIND)
        self.allowance = 0
        self.outbox.await_room(now)

    def rewind(self, seq: int, now: float) -> None:
        """It has nothing queued any more, and is fed from the log from ``seq`` on.

        Raises:
            RemoteProtocolError: it was not given so much.
        """
        if not 0 <= seq <= self.seq:
            raise RemoteProtocolError(f"output from {seq} was not given yet")
        self.move(AttachmentMove.REWOUND)
        self.seq = seq
        self.reading = False
        self.allowance = 0
        self.outbox.got_room(now)

    @property
    def role(self) -> Role:
        return self._role

    def change_role(self, move: RoleMove) -> None:
        """Take the lead, or lose it.

        Raises:
            LocalProtocolError: it can't.
        """
        self._role = next_role(self._role, move)

    @property
    def precedence(self) -> tuple[bool, float]:
        """Of several attachments that may type, the one with the highest leads."""
        return (self._role is Role.LEAD, self.typed_at)

    @property
    def has_terminal(self) -> bool:
        """Whether its terminal can answer what the session's program asks."""
        return self.size is not None and not self.read_only

    @property
    def catching_up(self) -> bool:
        return self._state in (AttachmentState.REPLAYING, AttachmentState.LAGGED)
