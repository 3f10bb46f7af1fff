"""``toowl rename``: give a session another name."""

from __future__ import annotations

from toowl.commands._connect import connect, notices
from toowl.commands._options import Parser, command_parser, session_or_current
from toowld.errors import UsageError

SUMMARY = "give a session another name"


def parser() -> Parser:
    made = command_parser(
        "rename",
        SUMMARY,
        usage="toowl rename [SESSION] NAME [--json]",
        description="""Give a session another name. Names are unique: one that is taken gets a suffix, and you are
        told. An empty NAME takes the name away.""",
        examples=(("toowl rename 2f3 work", ""), ("toowl rename work", "inside a session: call it work")),
    )
    # Not two arguments: argparse would give a single word to SESSION.
    made.add_argument(
        "words",
        metavar="[SESSION] NAME",
        nargs="+",
        help="id, the beginning of an id, or name (inside a session: that one), and the new name",
    )
    made.add_argument(
        "--json", action="store_true", help="print the session as an object, with the name that it got"
    )
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    words = args.words
    if len(words) > 2:
        raise UsageError("rename takes a session and a name, which has no blanks")
    session = session_or_current(words[0] if len(words) == 2 else None)
    with connect() as client:
        renamed = client.request("rename", session=session, name=words[-1].strip())
    notices(renamed)
    if args.json:
        from toowl.commands._json import print_session

        print_session(renamed)
    return 0
