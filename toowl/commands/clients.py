"""``toowl clients``: who is attached to a session, and whether their terminals keep up."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from toowl.commands._connect import connect, note
from toowl.commands._options import Parser, add_session, command_parser, session_or_current
from toowl.commands._text import age, safe, size, table
from toowl.commands.ls import as_text

SUMMARY = "list the terminals that are attached to a session"

_HEADER = ("CLIENT", "TTY", "PID", "SIZE", "ROLE", "ATTACHED", "IDLE", "OUTPUT")


def parser() -> Parser:
    made = command_parser(
        "clients",
        SUMMARY,
        usage="toowl clients [SESSION] [--json]",
        description="""List the terminals that are attached to a session. ROLE is lead for the one that took the lead
        (its size and its pace are the session's), viewer for one that may only watch. IDLE is the time since the
        last key. OUTPUT is live where a terminal has all that was printed, replaying or lagged where it is given the
        rest from the scrollback, and stalled where it takes nothing: with how much it lacks.""",
        examples=(("toowl clients work", ""), ("toowl detach work --client 3", "make one of them leave")),
    )
    add_session(made, optional=True)
    made.add_argument("--json", action="store_true", help="print a list of objects")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    with connect() as client:
        clients = client.request("info", session=session)["client_list"]
    if args.json:
        print(json.dumps(clients, indent=2, default=as_text))
        return 0
    if not clients:
        note(f'nobody is attached to session "{session}"')
        return 0
    now = time.time()
    for line in table([_HEADER, *(_row(client, now) for client in clients)], None):
        print(line)
    return 0


def _row(client: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """One client; what an older keeper does not tell is a dash."""

    def text(key: str) -> str:
        value = client.get(key)
        return "-" if value is None else safe(value if isinstance(value, str | bytes) else str(value))

    def since(key: str) -> str:
        value = client.get(key)
        return age(now - value) if isinstance(value, int | float) else "-"

    cols, rows = client.get("cols"), client.get("rows")
    return (
        text("client"),
        text("tty"),
        text("pid"),
        f"{cols}x{rows}" if cols and rows else "-",
        role(client),
        since("since"),
        since("typed_at"),
        output(client),
    )


def role(client: Mapping[str, Any]) -> str:
    """lead, viewer, or a dash."""
    found = str(client.get("role") or ("viewer" if client.get("read_only") else "peer"))
    return "-" if found == "peer" else safe(found)


def output(client: Mapping[str, Any]) -> str:
    """Whether it has all that was printed."""
    state, behind = client.get("state"), client.get("behind")
    if state is None:
        return "-"
    lacks = f", {size(behind)} behind" if isinstance(behind, int) and behind > 0 else ""
    return f"{safe(str(state))}{lacks}"
