"""One action on several sessions, named or found by what is known of them: all are tried, each failure is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from toowl.commands._connect import note
from toowl.commands._current import current_session
from toowl.commands._options import session_or_current
from toowld.errors import DaemonUnreachable, SessionNotFound, ToowlError, UsageError

if TYPE_CHECKING:
    import argparse

    from toowld.client import Client


def each(
    sessions: Iterable[str], action: Callable[[str], Mapping[str, Any] | None], *, as_json: bool = False
) -> int:
    """Do ``action`` for every session; the exit status is that of the first failure, 0 without one.

    Args:
        as_json: print what ``action`` returned, an object in a line for each session, and failures as such, too.

    Raises:
        DaemonUnreachable: the daemon went away; trying the others is of no use.
    """
    status = 0
    for session in dict.fromkeys(sessions):  # each once, in order
        try:
            answer = action(session)
        except DaemonUnreachable:
            raise
        except ToowlError as error:
            tell(error, session, as_json=as_json)
            status = status or error.exit_status
        else:
            if as_json and answer is not None:
                from toowl.commands._json import print_line

                print_line(answer)
    return status


def tell(error: ToowlError, session: str, *, as_json: bool) -> None:
    """Say what failed with one of several sessions: the others go on."""
    if not as_json:
        note(str(error))
        return
    from toowl.commands._json import error_line

    print(error_line(error.code, str(error), error.exit_status, session=session), file=sys.stderr, flush=True)


def add_json(
    parser: argparse.ArgumentParser, what: str = "print each session as an object, a line each"
) -> None:
    """The option ``--json`` of such a command."""
    parser.add_argument("--json", action="store_true", help=what)


def add_group(parser: argparse.ArgumentParser, what: str) -> None:
    """The options ``-f`` and ``--yes``."""
    from toowl.commands._filter import add_filter

    add_filter(parser, what)
    parser.add_argument("-y", "--yes", action="store_true", help="with -f: do not ask")


def meant(
    client: Client,
    args: argparse.Namespace,
    *,
    question: str,
    suitable: Callable[[dict[str, Any]], object],
    optional: bool = True,
) -> list[str]:
    """The sessions that ``args`` (of `add_group`, and SESSION...) name; those found by a filter are confirmed first.

    Args:
        question: to ask about these; in it {count} stands for how many they are.
        suitable: whether that can be done with a session at all: others are not found.
        optional: without a name, the session that we are in is meant.

    Raises:
        SessionNotFound: no session fits. RefusedError: not confirmed. UsageError: see its text.
    """
    if not args.filter:
        if not args.sessions and not optional:
            raise UsageError("which session? give its id or name, or -f KEY=VALUE: see `toowl ls`")
        return args.sessions or [session_or_current(None)]
    if args.sessions:
        raise UsageError("sessions are named, or found by -f, not both")
    from toowl.commands import _filter

    filters = _filter.parse(args.filter)
    listed = client.request("list")["sessions"]
    fitting = _filter.chosen(listed, filters)
    found = [session for session in fitting if suitable(dict(session))]
    if not found:
        others = f" ({len(fitting)} fit, and nothing is to be done with them)" if fitting else ""
        raise SessionNotFound(f"no session fits {' '.join(args.filter)}{others}: see `toowl ls -f …`")
    if not args.yes:
        _confirm(found, question.format(count=_count(len(found))))
    # That in which we are comes last: we may end with it.
    return sorted((str(session["id"]) for session in found), key=lambda one: one == current_session())


def _count(number: int) -> str:
    return "this session" if number == 1 else f"these {number} sessions"


def _confirm(sessions: Iterable[Any], question: str) -> None:
    from toowl.commands._confirm import confirm
    from toowl.commands._text import safe, table
    from toowl.commands.ls import status

    if sys.stdin.isatty():
        rows = [
            (
                safe(str(session.get("id"))),
                safe(session.get("name") or "-"),
                status(session),
                safe(session.get("command") or "-"),
            )
            for session in sessions
        ]
        for line in table(rows, None):
            print(line, file=sys.stderr)
    confirm(
        question,
        unasked="nobody can confirm it, as standard input is no terminal: say --yes if all that fit are meant",
        declined="nothing was done",
    )
