"""The session as it looks now, to be put on the terminal before its output goes on: asked for, or made here.

The daemon has one made for us. Without a daemon (a persistent session, reached at its custodian) it is made from the
log, by us. Where there is none (an older daemon, no emulator on this machine, output that it can't follow) the
session is replayed as it was printed, and nobody is told but who asks `toowld doctor`.
"""

from __future__ import annotations

from toowld import paths
from toowld.classes import frozen
from toowld.errors import DaemonUnreachable, ToowlError
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from toowld.client import Client

#: The daemon gives up after 5 s.
_TIMEOUT = 8.0
#: Whoever is attached already has something on the terminal, and a chord that must work.
_FRESH_TIMEOUT = 2.0


@frozen
class Picture:
    """What paints the session as it was before ``seq``, and the beginning of a sequence that goes on there.

    ``fresh_line``: the cursor is on an empty line then.
    """

    seq: int
    data: bytes
    unfinished: bytes
    fresh_line: bool


@frozen
class Order:
    """A picture that was asked for: for whom, and the number of the request, if it was one."""

    wanted: Mapping[str, Any]
    request_id: int | None


def order(
    client: Client,
    session: str,
    size: Size,
    read_only: bool,
    decides: bool = False,
    begun: Mapping[str, Any] | None = None,
) -> Order:
    """Ask for a picture and don't wait: it is painted while the rest of us is still being loaded.

    Args:
        client: the connection that the attach will be asked over.
        size: of our terminal.
        decides: that will be the session's.
        begun: the parameters of request 1, if that has asked for a picture already.
    """
    wanted = {
        "session": session,
        "rows": size.rows,
        "cols": size.cols,
        "read_only": read_only,
        "decides": decides and not read_only,
    }
    if wanted == begun:
        return Order(wanted, 1)
    about = client.hello.about
    if about.get("role") == "custodian" or "Screen" not in about.get("features", ()):
        return Order(wanted, None)
    return Order(wanted, client.post("screen", wanted))


def get(client: Client, ordered: Order, size: Size) -> Picture | None:
    """The picture; None if there is none.

    Args:
        size: of our terminal now. If it is another than it was, another picture is asked for.
    """
    try:
        if (size.rows, size.cols) != (ordered.wanted["rows"], ordered.wanted["cols"]):
            of = ordered.wanted
            ordered = order(client, of["session"], size, of["read_only"], of["decides"])
        if ordered.request_id is not None:
            return _read(client.answer(ordered.request_id, timeout=_TIMEOUT))
        about = client.hello.about
        if about.get("role") != "custodian":
            return None
        return _made_here(about["session"], None if ordered.wanted["read_only"] else size, size)
    except (ToowlError, OSError, LookupError, TypeError, ValueError):
        return None  # what is wrong with the session itself, the attach tells


def fresh(session_id: str) -> Picture | None:
    """The picture of a session in its own size, for whoever is attached already; None if there is none."""
    from toowld.client import Client

    try:
        try:
            with Client.connect(paths.resolve(), timeout=_FRESH_TIMEOUT) as client:
                wanted = {"session": session_id, "read_only": True}
                return _read(client.request("screen", timeout=_FRESH_TIMEOUT, **wanted))
        except DaemonUnreachable:
            return _made_here(session_id, None, None)
    except (ToowlError, OSError, LookupError, TypeError, ValueError):
        return None


def _read(made: Mapping[str, Any]) -> Picture:
    return Picture(int(made["seq"]), bytes(made["data"]), bytes(made["unfinished"]), bool(made["fresh_line"]))


def _made_here(session_id: str, size: Size | None, terminal: Size | None) -> Picture:
    from toowld.screen.picture import picture
    from toowld.settings import schema

    lines = schema.default("defaults", "replay_lines")
    made = picture(paths.resolve().session(session_id), size, terminal, lines=lines)
    return Picture(made.seq, made.data, made.unfinished, made.fresh_line)
