"""``toowl detach``: make terminals leave a session."""

from __future__ import annotations

from toowl.commands._connect import connect, note
from toowl.commands._options import Parser, add_session, command_parser, session_or_current

SUMMARY = "make a terminal leave a session, which runs on"


def parser() -> Parser:
    made = command_parser(
        "detach",
        SUMMARY,
        usage="toowl detach [SESSION] [--client ID|--all]",
        description="""Make a terminal leave a session. The session runs on. Without --client or --all it is the one
        attached terminal, if there is just one. From the attached terminal itself, Ctrl-\\ then d does
        the same.""",
        examples=(("toowl detach work --all", "nobody is attached to work any more"),),
    )
    add_session(made, optional=True)
    group = made.add_mutually_exclusive_group()
    group.add_argument("--client", metavar="ID", type=int, help="only this client; `toowl info` lists them")
    group.add_argument("--all", action="store_true", help="all clients")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    with connect() as client:
        answer = client.request("detach", session=session, client=args.client, all=args.all)
    if not answer.get("detached"):
        note(f'nobody was attached to session "{session}"')
    return 0
