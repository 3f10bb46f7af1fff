"""``toowl ls``: all sessions, the one used last first.

The command that is typed most, so it imports as little as it can: no argparse unless something other than its
flags is asked for, and neither the wire nor json unless needed (see `_quick`).
"""

from __future__ import annotations

import os
import sys
import time

from toowl.commands import _quick, _text
from toowld import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

SUMMARY = "list the sessions"

_HEADER = ("ID", "NAME", "STATUS", "CLIENTS", "ACTIVE", "CWD", "COMMAND")
_NAME, _CWD, _COMMAND = 1, 5, 6

#: What the table is made of; with hundreds of sessions, the rest would take longer than all else.
_COLUMNS = (
    "id", "name", "persistent", "display", "glyph", "degraded", "custodian_version", "clients", "last_active_at",
    "cwd", "command",
)  # fmt: skip


def parser() -> ArgumentParser:
    from toowl.commands._filter import SORTS, add_filter
    from toowl.commands._options import SUPPRESS, command_parser

    made = command_parser(
        "ls",
        SUMMARY,
        usage="toowl ls [-f KEY=VALUE]... [--sort active|created|name|state] [--watch] [--json]",
        description="""List all sessions, the one used last first. STATUS begins with P for a persistent session (it
        survives the end of its daemon) and with - for a standard one; on a terminal a sign for the state follows. It
        ends with the version of its keeper where that is another than this. What a state means, toowl info tells.
        ACTIVE is the time since the last input, attach or detach. On a terminal, CWD and COMMAND are shortened to
        fit.""",
        examples=(
            ("toowl ls", "what is there"),
            (
                "toowl ls -f state=detached -f 'name=web-*'",
                "those that nobody is attached to, by the beginning of a name",
            ),
            ("toowl ls -f ci=main --sort created", "those with this tag, the newest first"),
            ("toowl ls --watch -f ci=*", "what becomes of them, as it happens"),
            ("toowl ls -f state=lost --json | jq -r '.[].id'", "the ids of all that a reboot ended"),
        ),
    )
    add_filter(made, "only the sessions that fit")
    made.add_argument(
        "--sort",
        choices=tuple(SORTS),
        default="active",
        help="by the last use (the default), by age, by name, or by state",
    )
    made.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="stay, and show the list anew whenever something happens to a session; q or Ctrl-C leaves. Where there "
        "is no terminal, print each list below the one before; with --json, in one line each",
    )
    made.add_argument(
        "--json", action="store_true", help="print a list of objects with everything that is known"
    )
    # For shell completion: names (or ids) that begin with WORD, a tab, and what they are.
    made.add_argument("--names", nargs="?", const="", metavar="WORD", help=SUPPRESS)
    return made


def run(argv: list[str]) -> int:
    if not argv:
        return _print_table(_sessions(_COLUMNS))
    if argv == ["--json"]:
        return _print_json(_sessions())
    if argv[0] == "--names" and len(argv) <= 2:
        return _print_names(argv[1] if len(argv) == 2 else "")
    return _run(parser().parse_args(argv))


def _run(args: Namespace) -> int:
    from toowl.commands import _filter

    filters = _filter.parse(args.filter)

    def choose(sessions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        found = _filter.chosen(sessions, filters)
        return found if args.sort == "active" else _filter.ordered(found, args.sort)  # so they come

    if args.watch:
        from toowl.commands import _watch

        choose(_sessions())  # a filter that can't be meant is told now
        filters = _filter.for_later(filters)
        return _watch.watch(
            choose, lambda sessions, width: _lines(sessions, width or None), as_json=args.json
        )
    found = choose(_sessions())
    return _print_json(found) if args.json else _print_table(found, bool(filters))


def _sessions(fields: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """All sessions; ``fields``: with no more than is needed. An older daemon tells all the same."""
    try:
        found = _quick.ask("list", {"fields": list(fields)} if fields else None).get("sessions")
        if isinstance(found, list):
            return found
    except _quick.Unusable:
        pass
    from toowl.commands._connect import connect

    with connect() as client:
        sessions: list[dict[str, Any]] = client.request("list")["sessions"]
    return sessions


def _print_json(sessions: Sequence[Mapping[str, Any]]) -> int:
    import json

    print(json.dumps(sessions, indent=2, default=as_text))
    return 0


def _print_table(sessions: Sequence[Mapping[str, Any]], filtered: bool = False) -> int:
    width = _terminal_width()
    print("\n".join(_lines(sessions, width)))  # at once: a terminal takes each line by itself otherwise
    if others := sum(is_of_another_version(session) for session in sessions) if width else 0:
        sys.stdout.flush()
        print(f"{others} kept by another version of toowl: `toowld upgrade --all`", file=sys.stderr)
    if not sessions:
        sys.stdout.flush()
        print("no session fits" if filtered else "no sessions yet: `toowl new` makes one", file=sys.stderr)
    return 0


def _lines(sessions: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    home, now, signs = os.environ.get("HOME", ""), time.time(), _takes_signs(width)
    rows = [_HEADER, *(_row(session, home, now, signs) for session in sessions)]
    return _text.table(rows, width, shrink=(_COMMAND, _CWD, _NAME, _COMMAND), keep_end=(_CWD,))


def as_text(value: bytes) -> str:
    """For json: text that is not UTF-8 comes as bytes (`toowld.wire.text`)."""
    return value.decode("utf-8", "surrogateescape")


def status(session: Mapping[str, Any]) -> str:
    """The STATUS column: ``P detached``, ``- attached``, …"""
    mark = "P" if session.get("persistent") else "-"
    degraded = ", degraded" if session.get("degraded") else ""
    return f"{mark} {_text.safe(str(session.get('display', '?')))}{degraded}"


def _status(session: Mapping[str, Any], signs: bool) -> str:
    """STATUS, with the custodian's version where that is not ours; ``signs``: and with the state's sign."""
    version = (
        f", toowl {_text.safe(str(session['custodian_version']))}" if is_of_another_version(session) else ""
    )
    text = f"{status(session)}{version}"
    if signs and (glyph := session.get("glyph")):  # which an older daemon does not tell
        return f"{text[0]} {_text.safe(str(glyph))}{text[1:]}"
    return text


def is_of_another_version(session: Mapping[str, Any]) -> bool:
    """Whether a session that runs is kept by a custodian of another toowl than this."""
    return session.get("custodian_version") not in (None, __version__)


def _takes_signs(width: int | None) -> bool:
    """Whether what is printed goes to a terminal that shows more than ASCII."""
    if width is None or os.environ.get("LC_ALL") in ("C", "POSIX") or os.environ.get("TERM") == "dumb":
        return False  # in the first case Python would write UTF-8 all the same (PEP 540)
    return sys.stdout.encoding.lower() == "utf-8"


def _row(session: Mapping[str, Any], home: str, now: float, signs: bool) -> tuple[str, ...]:
    active = session.get("last_active_at")
    return (
        _text.safe(str(session.get("id", "?"))),
        _text.safe(session.get("name") or "-"),
        _status(session, signs),
        str(session.get("clients", 0)),
        _text.age(now - active) if isinstance(active, int | float) else "-",
        _text.fold_home(_text.safe(session.get("cwd") or "-"), home),
        _text.safe(session.get("command") or "-"),
    )


def _terminal_width() -> int | None:
    """Cells per line; None where nobody looks and scripts want everything."""
    try:
        if not os.isatty(sys.stdout.fileno()):
            return None
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):  # closed or captured
        return None


def _print_names(word: str) -> int:
    """What could stand for a session, for the completion of shells: never starts a daemon, never complains."""
    try:
        found = _quick.ask("list").get("sessions", [])
    except _quick.Unusable:
        from toowl.offline import records
        from toowld import paths

        found = [{**record, "display": "the daemon is not running"} for record in records(paths.resolve())]
    for session in found:
        session_id, name = str(session.get("id", "")), session.get("name")
        about = f"{status(session)}, {_text.safe(session.get('command') or '')}".rstrip(", ")
        # A name that a terminal can't show safely is left to its id.
        if name and name.isprintable():
            if name.startswith(word):
                print(f"{name}\t{about}")
            if not word or not session_id.startswith(word):
                continue
        if session_id.startswith(word):
            print(f"{session_id}\t{about}")
    return 0
