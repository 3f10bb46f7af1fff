"""``toowl switch``: another session on the terminals of this one."""

from __future__ import annotations

from toowl.commands._attaching import label
from toowl.commands._connect import connect, note
from toowl.commands._current import typed_last
from toowl.commands._options import Parser, command_parser, session_or_current
from toowld.errors import RefusedError, UsageError

SUMMARY = "go from a session to another, on the same terminal"


def parser() -> Parser:
    made = command_parser(
        "switch",
        SUMMARY,
        usage="toowl switch [SESSION] OTHER [--client ID|--all] [--json]",
        description="""Have terminals go from SESSION to OTHER: they are attached there, and then leave. Inside a
        session, without SESSION, that is the terminal that was typed at last; else it is all that are attached. If
        OTHER can't be attached, they stay, and say why. Both sessions run on. A terminal that only watches does so in
        OTHER too.""",
        examples=(
            ("toowl switch notes", "inside a session, on this terminal: to the one called notes"),
            ("toowl switch work notes --client 3", "one terminal only; `toowl clients` lists them"),
        ),
    )
    # Not two arguments: argparse would give a single word to SESSION.
    made.add_argument(
        "words",
        metavar="[SESSION] OTHER",
        nargs="+",
        help="id, the beginning of an id, or name (inside a session: that one), and of the session to go to",
    )
    which = made.add_mutually_exclusive_group()
    which.add_argument(
        "--client", metavar="ID", type=int, help="only this client; `toowl clients` lists them"
    )
    which.add_argument(
        "--all", action="store_true", help="inside a session: all of its terminals, not only this one"
    )
    made.add_argument("--json", action="store_true", help="print an object: asked (how many terminals), to")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if len(args.words) > 2:
        raise UsageError("switch takes a session and the one to go to")
    session = session_or_current(args.words[0] if len(args.words) == 2 else None)
    with connect() as client:
        number = args.client
        if number is None and not args.all and len(args.words) == 1:
            number = typed_last(client.request("info", session=session).get("client_list") or [])
        answer = client.request("switch", session=session, to=args.words[-1], client=number)
    if answer["unable"]:
        raise RefusedError(
            f"{answer['unable']} of the terminals can't switch, as their toowl is of an older version: "
            f"detach there, then `toowl attach {label(answer['to'])}`"
        )
    if args.json:
        from toowl.commands._json import print_line

        print_line({"asked": answer.get("asked", 0), "to": answer["to"]})
    elif answer.get("same"):
        note(f"session {label(answer['to'])} is the one to go from: nothing changes")
    elif not answer.get("asked"):
        note(f"nobody is attached to session {session}")
    return 0
