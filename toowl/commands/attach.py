"""``toowl attach``: put a session on this terminal.

The picture of the session is ordered before anything else is loaded: the daemon paints it meanwhile (see `_quick`).
"""

from __future__ import annotations

import os

from toowl.commands import _quick
from toowl.commands._current import current_session
from toowld.place import daemon_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from argparse import Namespace
    from typing import Any

    from toowl.commands._options import Parser
    from toowld.client import Client
    from toowld.errors import DaemonUnreachable

SUMMARY = "put a session on this terminal"


def parser() -> Parser:
    from toowl.commands._options import command_parser

    made = command_parser(
        "attach",
        SUMMARY,
        usage="toowl attach|a [SESSION] [--read-only|--take-lead] [-d] [--no-replay] [--no-respawn] [--create]",
        description="""Put a session on this terminal: as it looks now, with its scrollback, then what it
        prints. Ctrl-\\ then d detaches; Ctrl-\\ then ? lists the other keys. Several terminals can be attached
        to one session. When the program of the session ends, attach exits with its status (128+n for signal
        n). Attaching an ended session shows its scrollback and starts its program again below it; if the session
        was lost, as after a reboot, a shell at once, and any other command only after Enter. Without SESSION, the
        running one that was left last.""",
        examples=(
            ("toowl a", "back to the session that was left last"),
            ("toowl a work", "back to the session called work"),
            ("toowl a work -d", "and only here: wherever else it is on a terminal, that leaves"),
            ("toowl a work --take-lead", "in the size of this terminal, whatever the others have"),
            ("toowl attach 2f3 --read-only", "watch the session whose id begins with 2f3"),
            ("toowl attach work --create", "the same line the first time and ever after, for a login script"),
        ),
    )
    made.add_argument("session", metavar="SESSION", nargs="?", help="id, the beginning of an id, or name")
    group = made.add_mutually_exclusive_group()
    group.add_argument("--read-only", action="store_true", help="watch only: nothing that is typed goes in")
    group.add_argument(
        "--take-lead",
        action="store_true",
        help="this terminal decides how large the session is, and how fast it prints, until it leaves or another one "
        "takes the lead; the others see a part of it, or space around it",
    )
    made.add_argument(
        "-d",
        "--steal",
        action="store_true",
        help="have all other terminals leave the session, as in tmux and screen",
    )
    made.add_argument(
        "--no-replay", action="store_true", help="begin with what comes now, not with what is on the screen"
    )
    made.add_argument(
        "--no-respawn", action="store_true", help="only show an ended session, do not start it again"
    )
    made.add_argument("--create", action="store_true", help="make a session of that name if there is none")
    return made


def run(argv: list[str]) -> int:
    begun = _begin(argv)

    from toowl.commands import _attaching
    from toowl.commands._connect import connect
    from toowld.errors import DaemonUnreachable, UsageError

    args = parser().parse_args(argv) if begun is None else plain(argv[0])
    if args.create and args.session is None:
        raise UsageError("--create needs the name that the session is to have")
    _attaching.need_terminal("`toowl capture` and `toowl send` work without one")
    try:
        client = connect(autostart=True) if begun is None else _take_over(begun[0])
    except DaemonUnreachable as error:
        if args.session is None:
            raise
        client, session = _custodian_of(args.session, error)
    else:
        session = args.session
        if session is None:
            session = _left_last(client)
        elif args.create or current_session() is not None:
            session = _resolve(client, args)
    with client:
        return _attaching.put_on_terminal(
            client,
            session,
            read_only=args.read_only,
            replay=not args.no_replay,
            respawn=not args.no_respawn,
            lead=args.take_lead,
            steal=args.steal,
            begun=None if begun is None else begun[1],
        )


def plain(session: str) -> Namespace:
    """What the parser makes of ``session`` alone, without loading it."""
    from types import SimpleNamespace

    named: Any = SimpleNamespace(
        session=session,
        read_only=False,
        take_lead=False,
        steal=False,
        no_replay=False,
        no_respawn=False,
        create=False,
    )
    return named  # type: ignore[no-any-return]


def _begin(argv: list[str]) -> tuple[_socket.socket, dict[str, Any]] | None:
    """Order the picture where no more than a session is named: the connection, and what it was ordered with."""
    if len(argv) != 1 or argv[0].startswith("-") or current_session() is not None:
        return None
    try:
        size = os.get_terminal_size(1)
        if not (size.lines and size.columns):  # it does not know; we have to guess
            return None
        wanted = {
            "session": argv[0],
            "rows": size.lines,
            "cols": size.columns,
            "read_only": False,
            "decides": False,
        }
        return _quick.begin("screen", wanted), wanted
    except (OSError, _quick.Unusable):
        return None


def _take_over(stream: _socket.socket) -> Client:
    from toowld.client import Client

    try:
        return Client(stream, f"toowld at {daemon_socket()}", asked=1)
    except BaseException:
        stream.close()
        raise


def _left_last(client: Client) -> str:
    """The id of the session to go back to."""
    from toowl.commands import _attaching
    from toowld.errors import SessionNotFound

    found = _attaching.left_last(client)
    if found is None:
        raise SessionNotFound(
            "nobody has left a session that runs: `toowl ls` lists all, `toowl new` makes one"
        )
    return str(found["id"])


def _resolve(client: Client, args: Namespace) -> str:
    """The id of the session, made if that was asked for."""
    from toowl.commands import _attaching
    from toowld.errors import SessionNotFound

    try:
        info = client.request("info", session=args.session)
    except SessionNotFound:
        if not args.create:
            raise
        info = _attaching.create(client, name=args.session)
    _attaching.refuse_own(info["id"], _attaching.label(info))
    return str(info["id"])


def _custodian_of(session: str, daemon_error: DaemonUnreachable) -> tuple[Client, str]:
    """The keeper of a persistent session, asked directly: it needs no daemon.

    Raises:
        DaemonUnreachable: as before, if there is no such keeper.
    """
    from toowl.commands import _attaching
    from toowl.commands._connect import note
    from toowl.offline import resolve
    from toowld import paths
    from toowld.client import Client
    from toowld.errors import ToowlError

    where = paths.resolve()
    try:
        record = resolve(where, session)
        session_id: str = record["id"]
        client = Client.connect_path(where.custodian_socket(session_id))
    except ToowlError:
        raise daemon_error from None
    _attaching.refuse_own(session_id, _attaching.label(record))
    note("no daemon answers: attaching directly to the keeper of the session")
    return client, session_id
