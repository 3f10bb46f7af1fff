"""``toowl rm``: forget ended sessions."""

from __future__ import annotations

from toowl.commands._connect import connect
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import each

SUMMARY = "forget ended sessions and their scrollback"


def parser() -> Parser:
    made = command_parser(
        "rm",
        SUMMARY,
        usage="toowl rm SESSION...",
        description="""Forget ended sessions: their record and their scrollback are deleted. A session in which
        something runs is refused: `toowl kill` ends it first. `toowl export` keeps what it printed.""",
        examples=(("toowl kill work && toowl rm work", "end it and forget it"),),
    )
    made.add_argument("sessions", metavar="SESSION", nargs="+", help="id, the beginning of an id, or name")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with connect() as client:
        return each(args.sessions, lambda session: client.request("remove", session=session))
