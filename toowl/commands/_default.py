"""Plain ``toowl``: back to the session that was left last, or a new one."""

from __future__ import annotations

from typing import Any

from toowl.commands import _attaching
from toowl.commands._connect import connect
from toowl.commands._options import current_session


def run(argv: list[str]) -> int:
    _attaching.need_terminal(
        "`toowl ls` lists the sessions, `toowl new -d` makes one, `toowl help` tells more"
    )
    with connect(autostart=True) as client:
        session = _choose(client.request("list")["sessions"])
        if session is None:
            session = _attaching.create(client)
        return _attaching.put_on_terminal(client, session["id"], respawn=False)


def _choose(sessions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The running session with nobody attached that was active last."""
    free = [
        session
        for session in sessions
        if session.get("state") == "running"
        and not session.get("clients")
        and session["id"] != current_session()
    ]
    return max(free, key=lambda session: session.get("last_active_at") or 0.0, default=None)
