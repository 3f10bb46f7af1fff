"""``toowl restart``: start the program of a session afresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toowl.commands._attaching import label
from toowl.commands._confirm import confirm
from toowl.commands._connect import connect, notices
from toowl.commands._options import Parser, add_session, command_parser, persistence

if TYPE_CHECKING:
    from typing import Any

SUMMARY = "end what runs in a session and start it afresh"

#: As for `kill`: the old child gets the time to end.
_PATIENCE = 90.0


def parser() -> Parser:
    made = command_parser(
        "restart",
        SUMMARY,
        usage="toowl restart SESSION [--force] [--persistent|--standard] [--yes] [--json]",
        description="""Start the program of a session afresh, with the same id, name and scrollback. What runs
        in it is ended, so you are asked first. With --force that is so even if the session is unreachable.""",
        examples=(
            ("toowl restart work --persistent", "from now on it survives the end of the daemon"),
            ("toowl restart --force stuck", "it does not answer, and toowl reconnect does not help"),
        ),
    )
    add_session(made)
    made.add_argument("--force", action="store_true", help="SIGKILL at once, and also what refuses to end")
    persistence(made, "make it a persistent session", "make it a standard session")
    made.add_argument("-y", "--yes", action="store_true", help="do not ask")
    made.add_argument("--json", action="store_true", help="print the session as an object")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with connect() as client:
        if not args.yes:
            _confirm(client.request("info", session=args.session))
        answer = client.request(
            "restart",
            session=args.session,
            persistent=args.persistent,
            force=args.force,
            timeout=_PATIENCE,
        )
    notices(answer)
    if args.json:
        from toowl.commands._json import print_session

        print_session(answer)
    return 0


def _confirm(info: dict[str, Any]) -> None:
    """Ask, if something runs.

    Raises:
        RefusedError: no, or nobody to ask.
    """
    if info.get("state") in ("ended", "awaiting"):
        return
    name = label(info)
    confirm(
        f'Session "{name}" runs {info.get("command") or "a program"}. End it and start afresh?',
        unasked=f'session "{name}" is running, and a restart ends what runs in it: say --yes if that is meant',
        declined=f'session "{name}" was not restarted',
    )
