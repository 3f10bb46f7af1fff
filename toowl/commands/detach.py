"""``toowl detach``: make terminals leave a session."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from toowl.commands._attaching import label
from toowl.commands._connect import connect, note
from toowl.commands._current import typed_last
from toowl.commands._options import Parser, add_session, command_parser, session_or_current
from toowl.commands._several import add_group, add_json, each, meant
from toowld.errors import RefusedError, UsageError

SUMMARY = "make a terminal leave a session, which runs on"


def parser() -> Parser:
    made = command_parser(
        "detach",
        SUMMARY,
        usage="toowl detach [SESSION] [--client ID|--all] | -f KEY=VALUE... [--yes] [--json]",
        description="""Make a terminal leave a session. The session runs on. Without --client or --all it is the one
        attached terminal, if there is just one; inside a session, without SESSION, the one that was typed at last.
        From the attached terminal itself, Ctrl-\\ then d does the same. With -f, all terminals leave the sessions
        that fit: these are listed first, and you are asked.""",
        examples=(("toowl detach work --all", "nobody is attached to work any more"),),
    )
    add_session(made, optional=True)
    group = made.add_mutually_exclusive_group()
    group.add_argument(
        "--client", metavar="ID", type=int, help="only this client; `toowl clients` lists them"
    )
    group.add_argument("--all", action="store_true", help="all clients")
    add_group(made, "have all leave the sessions that fit")
    add_json(made, "print how many left as an object; with -f a line each")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.filter:
        return _detach_group(args)
    session = session_or_current(args.session)
    with connect() as client:
        number = args.client
        if number is None and not args.all:
            info = client.request("info", session=session)
            here = typed_last(info.get("client_list") or []) if args.session is None else None
            number = _the_one(info) if here is None else here
        detached = 0
        if number is not None or args.all:
            answer = client.request("detach", session=session, client=number, all=args.all)
            detached = answer.get("detached", 0)
    if args.json:
        print(json.dumps({"session": session, "detached": detached}))
    elif not detached:
        note(f'nobody was attached to session "{session}"')
    return 0


def _detach_group(args: Namespace) -> int:
    if args.client is not None:
        raise UsageError("-f is for all clients of the sessions that fit: --client is for one session")
    args.sessions = [] if args.session is None else [args.session]
    with connect() as client:
        sessions = meant(
            client,
            args,
            question="Make all leave {count}?",
            suitable=lambda found: found.get("clients"),
        )

        def detach(session: str) -> dict[str, Any]:
            return {"session": session, **client.request("detach", session=session, all=True)}

        return each(sessions, detach, as_json=args.json)


def _the_one(info: dict[str, Any]) -> int | None:
    """The only client of a session; None if it has none.

    Raises:
        RefusedError: it has several, and nobody said which.
    """
    clients = info.get("client_list") or []
    if len(clients) > 1:
        raise RefusedError(
            f'session "{label(info)}" has {len(clients)} clients attached: '
            "say --client ID (`toowl clients` lists them) or --all"
        )
    return int(clients[0]["client"]) if clients else None
