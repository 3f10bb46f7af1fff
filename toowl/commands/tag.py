"""``toowl tag``: note something of a session."""

from __future__ import annotations

import json

from toowl.commands._connect import connect, notices
from toowl.commands._options import Parser, command_parser, session_or_current
from toowl.commands._several import add_group, add_json, each, meant
from toowl.commands._text import safe
from toowld.errors import UsageError

SUMMARY = "note something of a session, as KEY=VALUE"


def parser() -> Parser:
    made = command_parser(
        "tag",
        SUMMARY,
        usage="toowl tag [SESSION] [KEY=VALUE]... [--name NAME] | -f KEY=VALUE... [--yes] KEY=VALUE... [--json]",
        description="""Note something of a session, for people and scripts; KEY= takes a note away. Without KEY=VALUE,
        print what is noted. Tags stay with the session until it is forgotten; toowl info and toowl ls --json show
        them.""",
        examples=(
            ("toowl tag build ci=main owner=eva", ""),
            ("toowl tag build owner=", "take that away"),
            ("toowl tag build", "what is noted of it"),
            ("toowl ls -f ci=main", "the sessions that have this tag"),
            ("toowl tag -f 'name=web-*' tier=front", "note it of all of these"),
        ),
    )
    made.add_argument(
        "words",
        metavar="[SESSION] [KEY=VALUE]",
        nargs="*",
        help="id, the beginning of an id, or name (inside a session: that one), and what to note",
    )
    made.add_argument("--name", metavar="NAME", help="and call it this, as toowl rename does")
    add_json(made, "print what is noted as an object; with KEY=VALUE each session, a line each")
    add_group(made, "note it of the sessions that fit")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_intermixed_args(argv)
    words = args.words
    named = bool(words) and "=" not in words[0]  # which no id or name has
    args.sessions = words[:named]
    changes: dict[str, str | None] = {}
    for word in words[named:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is no KEY=VALUE; {key}= would take that tag away")
        changes[key] = value or None
    if args.filter and not changes:
        raise UsageError(
            "what is to be noted of the sessions that fit? say KEY=VALUE; `toowl ls -f …` lists them"
        )
    if args.filter and args.name is not None:
        raise UsageError("--name is for one session: names are unique")
    with connect() as client:
        if args.name is not None:
            session = session_or_current(words[0] if named else None)
            renamed = client.request("rename", session=session, name=args.name.strip())
            notices(renamed)
            args.sessions = [renamed["id"]]
            if not changes:
                if args.json:
                    from toowl.commands._json import print_line

                    print_line(renamed)
                return 0
        if changes:
            sessions = meant(client, args, question="Note that of {count}?", suitable=lambda _: True)
            return each(
                sessions,
                lambda session: client.request("tag", session=session, tags=changes),
                as_json=args.json,
            )
        session = session_or_current(words[0] if named else None)
        tags = client.request("info", session=session).get("tags") or {}
    if args.json:
        print(json.dumps(tags))
        return 0
    for key, value in tags.items():
        print(safe(f"{key}={value}"))
    return 0
