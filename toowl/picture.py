"""The session as it looks now, to be put on the terminal before its output goes on: asked for, or made here.

The daemon has one made for us. Without a daemon (a persistent session, reached at its custodian) it is made from the
log, by us. Where there is none (an older daemon, no emulator on this machine, output that it can't follow) the
session is replayed as it was printed, and nobody is told but who asks `toowld doctor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toowl.attachment import Picture
from toowld import paths, wire
from toowld.client import Client
from toowld.errors import ToowlError

#: The daemon gives up after 5 s.
_TIMEOUT = 8.0


def ask(client: Client, request: Mapping[str, Any]) -> Picture | None:
    """The picture for an attach that is about to be asked for; None if there is none.

    Args:
        client: the connection that the attach will be asked over.
        request: its parameters.
    """
    about = client.hello.about
    try:
        if about.get("role") == "custodian":
            return _made_here(about, request)
        if "Screen" not in about.get("features", ()):
            return None
        made = client.request(
            "screen",
            timeout=_TIMEOUT,
            **{name: request[name] for name in ("session", "rows", "cols", "read_only")},
        )
        return Picture(
            int(made["seq"]), bytes(made["data"]), bytes(made["unfinished"]), bool(made["fresh_line"])
        )
    except (ToowlError, OSError, LookupError, TypeError, ValueError):
        return None  # what is wrong with the session itself, the attach tells


def _made_here(about: Mapping[str, Any], request: Mapping[str, Any]) -> Picture:
    from toowld.screen.picture import picture

    terminal = wire.Size(rows=request["rows"], cols=request["cols"])
    size = None if request["read_only"] else terminal
    made = picture(paths.resolve().session(about["session"]), size, terminal)
    return Picture(made.seq, made.data, made.unfinished, made.fresh_line)
