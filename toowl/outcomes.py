"""How an attachment ended: what its user is told, and the exit status. PURE."""

from __future__ import annotations

from toowld import errors, wire
from toowld.classes import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@frozen
class Outcome:
    """How an attachment ended: what to tell the user, and the exit status; or an error instead.

    ``renewable``: the session is gone through no fault of its user, who may want a new child in it at once.
    ``ended``: its program has.
    """

    status: int
    message: str = ""
    error: errors.ToowlError | None = None
    renewable: bool = False
    ended: bool = False


def hung_up(name: str) -> Outcome:
    """The connection to the session of that name is gone, and no other will come."""
    text = f"lost the connection to session {name}: see `toowl ls`, then `toowl attach {name}`"
    return Outcome(1, error=errors.CustodianLost(text))


def detached(name: str, reason: str, lacking: str = "") -> Outcome:
    """This client left.

    Args:
        name: of the session.
        reason: the session's, in its `wire.Detached`; "client": the user wanted it.
        lacking: what of the input is.
    """
    if reason.startswith("protocol"):
        text = f"session {name} ended this attachment for a breach of protocol ({reason}): attach again"
        return Outcome(1, error=errors.LocalProtocolError(text))
    why = "" if reason in ("client", "requested") else f": {reason}"
    if lacking:
        why += f"; {lacking}"
    return Outcome(0, f"[detached from {name}{why}]")


def program_ended(name: str, end: wire.Ended, about: Mapping[str, Any], notices: str) -> Outcome:
    """The session's program has ended, or the session is lost.

    Args:
        name: of the session.
        end: how.
        about: what the session said of itself (`wire.Attached`).
        notices: what the user is to be told besides, each on a line of its own.
    """
    if end.reason == "lost":
        return _lost(name, about, notices)
    if end.signal is not None:
        return Outcome(128 + end.signal, f"[{name} killed by signal {end.signal}]{notices}", ended=True)
    if end.code is not None:
        return Outcome(end.code, f"[{name} exited with status {end.code}]{notices}", ended=True)
    status = 0 if end.reason == "exited" else 1
    return Outcome(status, f"[{name} {end.reason}]{notices}", ended=True)


def _lost(name: str, about: Mapping[str, Any], notices: str) -> Outcome:
    if about.get("persistent") is False:
        text = f"[{name} ended together with its daemon: it is a standard session]{notices}"
        return Outcome(1, text, renewable=True, ended=True)
    why = about.get("error")
    why = "".join(c if c.isprintable() else "?" for c in why) if type(why) is str else "its custodian is gone"
    return Outcome(1, f"[{name} lost: {why}: `toowl attach {name}` restores it]{notices}", ended=True)
