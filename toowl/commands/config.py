"""``toowl config``: what is set, where that comes from, and whether a file is right."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toowl.commands._connect import connect, note
from toowl.commands._options import Parser, command_parser
from toowl.commands._text import fold_home, safe, table
from toowld import paths
from toowld.errors import DaemonUnreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMMARY = "show what is set and why, or check a file of settings"


def parser() -> Parser:
    made = command_parser(
        "config",
        SUMMARY,
        usage="toowl config show|check|example [KEY|FILE] [--session SESSION] [--connection USER@HOST] [--json]",
        description="""Show what holds for each setting and where that comes from: the default, a line of the file, an
        environment variable, a connection's table, or the session. As the running daemon has it; without one, as it
        would be for one that is started from here. check says what is wrong with a file, each by its line. example
        prints a file with all settings, commented out. docs/configuration.md tells of each.""",
        examples=(
            ("toowl config show", ""),
            ("toowl config show defaults", "one table"),
            ("toowl config show daemon.tick", "one setting"),
            ("toowl config check", "is the file right? works without a daemon"),
            (
                "toowl config example > ~/.config/toowl/config.toml",
                "a file to begin with",
            ),
        ),
    )
    made.add_argument(
        "action",
        metavar="show|check|example",
        choices=("show", "check", "example"),
        help="what to do",
    )
    made.add_argument(
        "word",
        metavar="KEY|FILE",
        nargs="?",
        help="show: only this setting, or this table; check: the file (default: the daemon's)",
    )
    made.add_argument("--session", metavar="SESSION", help="show: what holds for this session")
    made.add_argument(
        "--connection", metavar="USER@HOST", help="show: what holds for sessions made over this connection"
    )
    made.add_argument("--json", action="store_true", help="show: as one JSON object")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_intermixed_args(argv)  # else no KEY could stand behind an option
    if args.action == "show":
        return show(args.word, session=args.session, connection=args.connection, as_json=args.json)
    if args.session or args.connection or args.json or (args.action == "example" and args.word):
        raise UsageError(f"that does not go with {args.action!r}: see `toowl config --help`")
    if args.action == "check":
        return _check(args.word)
    from toowld.settings.example import example

    print(example(), end="")
    return 0


def show(
    wanted: str | None = None,
    *,
    session: str | None = None,
    connection: str | None = None,
    as_json: bool = False,
) -> int:
    """Print what holds, all of it or what is ``wanted``: a key or a table."""
    found = _asked(session, connection)
    if wanted is not None:
        found = _chosen(found, wanted)
    if as_json:
        shown = {full: {"value": value, "origin": origin} for full, (value, origin) in found.items()}
        print(json.dumps(shown, indent=2))
        return 0
    from toowld.settings.values import written

    home = os.environ.get("HOME", "")
    rows = [
        # The origin first, as git does it: values may be long.
        [safe(fold_home(origin, home)), safe(f"{full} = {_hint(full) if value is None else written(value)}")]
        for full, (value, origin) in found.items()
    ]
    if rows:
        print("\n".join(table(rows, None)))
    return 0


def _hint(full: str) -> str:
    """What stands for a value that nobody gave."""
    from toowld.settings import schema

    key = schema.everything().get(full)
    return f"({key.hint})" if key is not None and key.hint else "(not set)"


def _asked(session: str | None, connection: str | None) -> Mapping[str, tuple[Any, str]]:
    """From the daemon; where none runs, as one would have it."""
    try:
        with connect() as client:
            answer = client.request("settings", session=session, connection=connection)
        return {full: (value, origin) for full, (value, origin) in answer["settings"].items()}
    except DaemonUnreachable:
        if session is not None:
            raise
    from toowld.settings.resolve import Settings

    note("no daemon runs: this is what one would have that is started from here")
    settings = Settings.load(paths.resolve().config)
    return {full: (one.value, one.origin) for full, one in settings.explain(connection=connection).items()}


def _chosen(found: Mapping[str, tuple[Any, str]], wanted: str) -> Mapping[str, tuple[Any, str]]:
    chosen = {full: one for full, one in found.items() if full == wanted or full.partition(".")[0] == wanted}
    if chosen:
        return chosen
    from toowld.settings import schema
    from toowld.settings.values import suggestion

    if wanted in schema.TABLES:  # one whose keys are free, and which has none
        return {}
    if (home := schema.MOVED.get(wanted)) is not None:
        return _chosen(found, home)
    hint = suggestion(wanted, [*found, *schema.TABLES])
    raise UsageError(f"no setting {wanted!r}{hint or ': `toowl config show` lists them'}")


def _check(given: str | None) -> int:
    from toowld.settings.file import File

    path = paths.resolve().config if given is None else Path(given)
    if not path.exists():
        if given is not None:
            raise UsageError(f"{given}: there is no such file")
        print(safe(f"{path}: not there, so all is as by default"))
        return 0
    problems = File.read(path).told()
    for problem in problems:
        print(safe(problem), file=sys.stderr)
    if not problems:
        print(safe(f"{path}: all right"))
    return 1 if problems else 0
