"""``toowl kill``: end the program of a session."""

from __future__ import annotations

from toowl.commands._connect import connect
from toowl.commands._options import Parser, command_parser, session_or_current
from toowl.commands._several import each

SUMMARY = "end what runs in sessions"

#: The daemon goes from SIGHUP over SIGTERM to SIGKILL and answers when the child is gone.
_PATIENCE = 60.0


def parser() -> Parser:
    made = command_parser(
        "kill",
        SUMMARY,
        usage="toowl kill [SESSION...] [--force]",
        description="""End everything that runs in the sessions: with SIGHUP, then SIGTERM, then SIGKILL. Their
        scrollback stays, for attach, capture and export, until `toowl rm`.""",
        examples=(("toowl kill work build", ""), ("toowl kill --force stuck", "with SIGKILL at once")),
    )
    made.add_argument(
        "sessions",
        metavar="SESSION",
        nargs="*",
        help="id, the beginning of an id, or name; inside a session: that one",
    )
    made.add_argument("--force", action="store_true", help="SIGKILL at once, and also what refuses to end")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    sessions = args.sessions or [session_or_current(None)]
    with connect() as client:
        return each(
            sessions,
            lambda session: client.request("kill", session=session, force=args.force, timeout=_PATIENCE),
        )
