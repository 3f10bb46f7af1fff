"""``toowl kill``: end the program of a session."""

from __future__ import annotations

from toowl.commands._connect import connect
from toowl.commands._options import Parser, command_parser
from toowl.commands._several import add_group, add_json, each, meant

SUMMARY = "end what runs in sessions"

#: The daemon goes from SIGHUP over SIGTERM to SIGKILL and answers when the child is gone.
_PATIENCE = 60.0

#: States in which there is something to be ended.
_RUNNING = ("starting", "running", "unreachable")


def parser() -> Parser:
    made = command_parser(
        "kill",
        SUMMARY,
        usage="toowl kill [SESSION...|-f KEY=VALUE...] [--force] [--yes] [--json]",
        description="""End everything that runs in the sessions: with SIGHUP, then SIGTERM, then SIGKILL. Their
        scrollback stays, for attach, capture and export, until `toowl rm`. With -f, in all running sessions that fit:
        they are listed first, and you are asked.""",
        examples=(
            ("toowl kill work build", ""),
            ("toowl kill --force stuck", "with SIGKILL at once"),
            ("toowl kill -f ci=main -f state=detached", "all that have this tag, and nobody is attached to"),
        ),
    )
    made.add_argument(
        "sessions",
        metavar="SESSION",
        nargs="*",
        help="id, the beginning of an id, or name; inside a session: that one",
    )
    add_group(made, "end what runs in the sessions that fit")
    made.add_argument("--force", action="store_true", help="SIGKILL at once, and also what refuses to end")
    add_json(made)
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with connect() as client:
        sessions = meant(
            client,
            args,
            question="End what runs in {count}?",
            suitable=lambda found: found["state"] in _RUNNING,
        )
        return each(
            sessions,
            lambda session: client.request("kill", session=session, force=args.force, timeout=_PATIENCE),
            as_json=args.json,
        )
