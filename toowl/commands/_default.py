"""Plain ``toowl``: back to the session that was left last, or a new one."""

from __future__ import annotations

from toowl.commands import _attaching
from toowl.commands._connect import connect


def run(argv: list[str]) -> int:
    _attaching.need_terminal(
        "`toowl ls` lists the sessions, `toowl new -d` makes one, `toowl help` tells more"
    )
    with connect(autostart=True) as client:
        session = _attaching.left_last(client)
        if session is None:
            session = _attaching.create(client)
        return _attaching.put_on_terminal(client, session["id"], respawn=False)
