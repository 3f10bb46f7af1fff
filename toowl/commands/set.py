"""``toowl set``: change what holds for one session."""

from __future__ import annotations

from toowl.commands._connect import connect, notices
from toowl.commands._options import Parser, command_parser, session_or_current
from toowld.errors import UsageError

SUMMARY = "set something for a session, as KEY=VALUE"


def parser() -> Parser:
    made = command_parser(
        "set",
        SUMMARY,
        usage="toowl set [SESSION] [KEY=VALUE]... [--json]",
        description="""Set something for one session, where the settings of the daemon say something else for all of
        them; KEY= takes it back. What it takes a fresh program for holds from the next start on, and you are told.
        Without KEY=VALUE, print what holds, and why. docs/configuration.md lists the keys, those of [defaults].""",
        examples=(
            ("toowl set work size=latest", ""),
            ("toowl set work persistent=true", "from its next start on: toowl restart work"),
            ("toowl set work size=", "as the settings say"),
            ("toowl set work", "what holds for it"),
        ),
    )
    made.add_argument(
        "words",
        metavar="[SESSION] [KEY=VALUE]",
        nargs="*",
        help="id, the beginning of an id, or name (inside a session: that one), and what to set",
    )
    made.add_argument("--json", action="store_true", help="print what holds as an object")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    words = args.words
    named = bool(words) and "=" not in words[0]  # which no id or name has
    session = session_or_current(words[0] if named else None)
    changes: dict[str, str | None] = {}
    for word in words[named:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is no KEY=VALUE; {key}= would take that setting back")
        changes[key] = value or None
    if not changes:
        from toowl.commands import config

        return config.show("defaults", session=session, as_json=args.json)
    with connect() as client:
        notices(client.request("set", session=session, settings=changes))
    return 0
