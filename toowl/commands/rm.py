"""``toowl rm``: forget ended sessions."""

from __future__ import annotations

from toowl.commands._connect import connect
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import add_group, add_json, each, meant

SUMMARY = "forget ended sessions and their scrollback"


def parser() -> Parser:
    made = command_parser(
        "rm",
        SUMMARY,
        usage="toowl rm SESSION...|-f KEY=VALUE... [--yes] [--json]",
        description="""Forget ended sessions: their record and their scrollback are deleted. A session in which
        something runs is refused: `toowl kill` ends it first. `toowl export` keeps what it printed. With -f, all
        sessions that fit and in which nothing runs: they are listed first, and you are asked.""",
        examples=(
            ("toowl kill work && toowl rm work", "end it and forget it"),
            ("toowl rm -f ci=main --yes", "all that have this tag and have ended"),
        ),
    )
    made.add_argument("sessions", metavar="SESSION", nargs="*", help="id, the beginning of an id, or name")
    add_group(made, "forget the sessions that fit")
    add_json(made, "print id and name of each as an object, a line each")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with connect() as client:
        sessions = meant(
            client,
            args,
            question="Forget {count}, with all that they printed?",
            suitable=lambda found: found["state"] in ("ended", "awaiting"),
            optional=False,
        )
        return each(sessions, lambda session: client.request("remove", session=session), as_json=args.json)
