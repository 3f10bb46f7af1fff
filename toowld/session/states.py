"""The states of a session and of an attachment, and every legal move between them. PURE.

Rule 1: whatever touches a state lives here as a table; no other module keeps a boolean about it.

A **session** waits to be started, starts, runs, and ends. Losing clients never moves it::

    AWAITING ──start──▶ STARTING ──child started──▶ RUNNING ──child ended──▶ ENDED
                            └───────spawn failed────────────────────────────▶ ENDED

A respawn is a new engine on the same log, so ENDED is final here.

An **attachment** is one client's bond to a session. It is fed from the log until it has caught up, then live;
when it can't follow, it falls back to the log. When its output goes another way (to a lent terminal), it begins
anew where the client says::

    REPLAYING ──caught up──▶ LIVE ──fell behind──▶ LAGGED ──caught up──▶ LIVE
        │ ◀──────────rewound─────┴────rewound─────────┤
        └───────────────left─────┴────left────────────┴──left──▶ GONE

What an attachment may do is its **role**. One of a session's attachments at most is its LEAD: its terminal decides
how large the session is, and how fast its child may print, until it leaves or another takes the lead. A VIEWER never
does::

    VIEWER        PEER ──takes the lead──▶ LEAD ──another takes it──▶ PEER
"""

from __future__ import annotations

import enum

from toowld.errors import LocalProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class SessionState(enum.Enum):
    """Where the child is in its life."""

    AWAITING = "awaiting"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class SessionMove(enum.Enum):
    """What moves a session."""

    START = "start"
    STARTED = "child started"
    FAILED = "spawn failed"
    CHILD_ENDED = "child ended"


class AttachmentState(enum.Enum):
    """How a client gets its output."""

    REPLAYING = "replaying"
    LIVE = "live"
    LAGGED = "lagged"
    GONE = "gone"


class AttachmentMove(enum.Enum):
    """What moves an attachment."""

    CAUGHT_UP = "caught up"
    FELL_BEHIND = "fell behind"
    REWOUND = "rewound"
    LEFT = "left"


class Role(enum.Enum):
    """What an attachment may do."""

    VIEWER = "viewer"  # watch
    PEER = "peer"  # watch and type
    LEAD = "lead"  # that, and its terminal decides


class RoleMove(enum.Enum):
    """What changes a role."""

    TAKEN = "takes the lead"
    LOST = "another takes the lead"


SESSION_TABLE: Mapping[tuple[SessionState, SessionMove], SessionState] = {
    (SessionState.AWAITING, SessionMove.START): SessionState.STARTING,
    (SessionState.STARTING, SessionMove.STARTED): SessionState.RUNNING,
    (SessionState.STARTING, SessionMove.FAILED): SessionState.ENDED,
    (SessionState.RUNNING, SessionMove.CHILD_ENDED): SessionState.ENDED,
}

ATTACHMENT_TABLE: Mapping[tuple[AttachmentState, AttachmentMove], AttachmentState] = {
    (AttachmentState.REPLAYING, AttachmentMove.CAUGHT_UP): AttachmentState.LIVE,
    (AttachmentState.REPLAYING, AttachmentMove.REWOUND): AttachmentState.REPLAYING,
    (AttachmentState.REPLAYING, AttachmentMove.LEFT): AttachmentState.GONE,
    (AttachmentState.LIVE, AttachmentMove.FELL_BEHIND): AttachmentState.LAGGED,
    (AttachmentState.LIVE, AttachmentMove.REWOUND): AttachmentState.REPLAYING,
    (AttachmentState.LIVE, AttachmentMove.LEFT): AttachmentState.GONE,
    (AttachmentState.LAGGED, AttachmentMove.CAUGHT_UP): AttachmentState.LIVE,
    (AttachmentState.LAGGED, AttachmentMove.REWOUND): AttachmentState.REPLAYING,
    (AttachmentState.LAGGED, AttachmentMove.LEFT): AttachmentState.GONE,
}

ROLE_TABLE: Mapping[tuple[Role, RoleMove], Role] = {
    (Role.PEER, RoleMove.TAKEN): Role.LEAD,
    (Role.LEAD, RoleMove.TAKEN): Role.LEAD,
    (Role.LEAD, RoleMove.LOST): Role.PEER,
}


def next_session_state(state: SessionState, move: SessionMove) -> SessionState:
    """Where ``move`` leads from ``state``.

    Raises:
        LocalProtocolError: nowhere; whoever drives the engine has a bug.
    """
    try:
        return SESSION_TABLE[state, move]
    except KeyError:
        raise LocalProtocolError(f"a session that is {state.value} can't take '{move.value}'") from None


def next_attachment_state(state: AttachmentState, move: AttachmentMove) -> AttachmentState:
    """Where ``move`` leads from ``state``.

    Raises:
        LocalProtocolError: nowhere; whoever drives the engine has a bug.
    """
    try:
        return ATTACHMENT_TABLE[state, move]
    except KeyError:
        raise LocalProtocolError(f"an attachment that is {state.value} can't take '{move.value}'") from None


def next_role(role: Role, move: RoleMove) -> Role:
    """What ``move`` makes of ``role``.

    Raises:
        LocalProtocolError: it can't be; viewers must be refused before.
    """
    try:
        return ROLE_TABLE[role, move]
    except KeyError:
        raise LocalProtocolError(f"an attachment that is a {role.value} can't take '{move.value}'") from None
