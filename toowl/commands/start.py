"""``toowl start``: start what waits to be started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toowl.commands._connect import connect, notices
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import add_json, each
from toowld.wire.login import login_variables
from toowld.wire.text import pack_text

if TYPE_CHECKING:
    from typing import Any

SUMMARY = "start the program of a session in which nothing runs"

#: A host that swaps is slow to fork.
_PATIENCE = 30.0


def parser() -> Parser:
    made = command_parser(
        "start",
        SUMMARY,
        usage="toowl start SESSION... [--json]",
        description="""Start the programs of sessions that were made with toowl new --awaiting, or that have ended:
        these go on below their scrollback. One in which something runs is refused; toowl restart ends that first.""",
        examples=(("toowl new --awaiting -n deploy -- ./deploy.sh; toowl start deploy", ""),),
    )
    made.add_argument("sessions", metavar="SESSION", nargs="+", help="id, the beginning of an id, or name")
    add_json(made)
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    env = pack_text(login_variables(os.environ))
    with connect() as client:

        def start(session: str) -> dict[str, Any]:
            started = client.request("start", session=session, env=env, timeout=_PATIENCE)
            notices(started)
            return started

        return each(args.sessions, start, as_json=args.json)
