"""``toowl reconnect``: try at once to reach a session that does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toowl.commands._attaching import label
from toowl.commands._connect import connect
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import add_json, each
from toowl.commands._text import safe

if TYPE_CHECKING:
    from typing import Any

SUMMARY = "try at once to reach sessions that do not answer"

#: The daemon waits for a session that is being started, then for its custodian, twice.
_PATIENCE = 30.0


def parser() -> Parser:
    made = command_parser(
        "reconnect",
        SUMMARY,
        usage="toowl reconnect SESSION... [--json]",
        description="""Have the daemon try now to reach the keepers of sessions that are shown as unreachable, which
        it does by itself every 30 s, and tell what came of it. Nothing is ended: where that is what is left, toowl
        restart --force does it.""",
        examples=(
            ("toowl reconnect work || toowl restart --force work", "it hangs for good: start it afresh"),
        ),
    )
    made.add_argument("sessions", metavar="SESSION", nargs="+", help="id, the beginning of an id, or name")
    add_json(made)
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with connect() as client:

        def reconnect(session: str) -> dict[str, Any]:
            info = client.request("reconnect", session=session, timeout=_PATIENCE)
            if not args.json:
                print(
                    f"session {safe(label(info))} answers: it is {safe(str(info.get('display')))}", flush=True
                )
            return info

        return each(args.sessions, reconnect, as_json=args.json)
