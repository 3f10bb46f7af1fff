"""Who came to a session and who left it, in the words of the daemon's log, and as events. PURE.

A session's keeper tells how it is now, not what happened; it may have been asked for less often than it changed. What
happened is the difference, with what the keeper remembers of those who are not there any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toowld.classes import frozen

#: How the session names it: how people do. The rest is what the kernel said, or what broke the rules.
_REASONS = {
    "client": "it detached",
    "requested": "detached from elsewhere",
    "replaced": "it came over another connection",
    "ended": "the session ended",
    "slow": "the session ended, and it did not take the rest",
    "closed": "its connection was closed",
    "Connection reset by peer": "its connection was closed before it had read all",
}

#: An older keeper does not tell.
_UNKNOWN = "reason unknown"

_Info = Mapping[str, Any]


@frozen
class Visit:
    """Somebody came or left. ``event``: "attached" or "detached"; ``text``: the same in a sentence."""

    event: str
    text: str
    data: Mapping[str, Any]


def changes(before: _Info, now: _Info) -> Iterator[Visit]:
    """What to say of the clients, in the order in which they came and left.

    Args:
        before: the session's `toowld.host.control.info` as it was last known; empty if it was not.
    """
    was, present = _present(before), _present(now)
    why: dict[int, str] = dict(now.get("departures", ()))
    seen = max([*was, *(number for number, _ in before.get("departures", ()))], default=0)
    gone = sorted({*was, *(number for number in why if number > seen)} - present.keys())
    attached = f", {len(present)} attached"
    for number in gone:
        if number not in was:
            yield Visit("attached", f"client {number} connected, and is gone again", {"client": number})
        reason = why.get(number, _UNKNOWN)
        reason = _REASONS.get(reason, reason)
        yield _left(number, reason, len(present))
    for number in sorted(present.keys() - was.keys()):
        client = present[number]
        came = "reconnected" if client.get("again") else "connected"
        data = {key: client.get(key) for key in ("client", "pid", "tty", "read_only", "again")}
        text = f"client {number} {came} ({_who(client)}){attached}"
        yield Visit("attached", text, data | {"attached": len(present)})


def at_once(info: _Info, reason: str) -> Iterator[Visit]:
    """What to say where all that were attached are so no longer."""
    for number in sorted(_present(info)):
        yield _left(number, reason, 0)


def _left(number: int, reason: str, attached: int) -> Visit:
    text = f"client {number} disconnected ({reason}), {attached} attached"
    return Visit("detached", text, {"client": number, "reason": reason, "attached": attached})


def _present(info: _Info) -> dict[int, Mapping[str, Any]]:
    return {client["client"]: client for client in info.get("client_list", ())}


def _who(client: Mapping[str, Any]) -> str:
    where = client.get("tty") or "no terminal"
    return f"{where}, pid {client['pid']}" if client.get("pid") else str(where)
