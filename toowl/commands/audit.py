"""``toowl audit``: who did what to which session, from the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from toowl.commands._connect import note
from toowl.commands._options import Parser, command_parser
from toowl.commands._span import add_span, shown_time, span_of
from toowl.commands._text import safe
from toowld import paths
from toowld.errors import SessionNotFound

SUMMARY = "tell who did what to which session, when and from where"

#: What stands in each entry, and is shown in a place of its own.
_COMMON = ("at", "event", "request", "session", "name", "by")


def parser() -> Parser:
    made = command_parser(
        "audit",
        SUMMARY,
        usage="toowl audit [SESSION] [--since WHEN] [--until WHEN] [--json]",
        description="""Print the audit log, oldest first: what was asked of the daemon (with the uid, the process and
        the terminal that asked, and the host that it came from, if over ssh), and what happened. Never what was
        typed, printed or run. It works without a daemon, and for sessions that are forgotten. How much is kept, and
        whether anything is, the settings below [audit] say.""",
        examples=(
            ("toowl audit work", "also what was before a rename"),
            ("toowl audit --since 2h --json | jq 'select(.request == \"kill\").by'", "who ended what"),
        ),
    )
    made.add_argument(
        "session",
        metavar="SESSION",
        nargs="?",
        help="only this one: id, the beginning of an id, or a name that it had",
    )
    add_span(made)
    made.add_argument(
        "--json", action="store_true", help="print the objects as they stand there, a line each"
    )
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    span = span_of(args)
    path = paths.resolve().audit
    entries = [entry for entry in _entries(path) if _lies_in(_time_of(entry), span.since, span.until)]
    if args.session is not None:
        wanted = _ids(args.session, _entries(path))
        if not wanted:
            raise SessionNotFound(
                f'the audit log says nothing of session "{args.session}": `toowl audit` shows all'
            )
        entries = [entry for entry in entries if entry.get("session") in wanted]
    for entry in entries:
        print(json.dumps(entry) if args.json else _line(entry))
    if not entries:
        note("nothing is noted; `toowl config show audit` tells whether anything is")
    return 0


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """All that is kept, oldest first; what can't be read of it is left out."""
    older = (other for other in path.parent.glob(f"{path.name}.*") if other.suffix[1:].isdecimal())
    for file in [*sorted(older, key=lambda other: -int(other.suffix[1:])), path]:
        with suppress(FileNotFoundError):  # a new one is begun just now, or nothing was ever noted
            for line in file.read_text(errors="replace").splitlines():
                with suppress(ValueError):
                    if isinstance(entry := json.loads(line), dict):
                        yield entry


def _ids(session: str, entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """The sessions that are meant: that have had the name, else by their id."""
    named, begun = set(), set()
    for entry in entries:
        if (found := entry.get("session")) is not None:
            if session in (entry.get("name"), entry.get("before")):
                named.add(found)
            if str(found).startswith(session):
                begun.add(found)
    return named or begun


def _time_of(entry: Mapping[str, Any]) -> int | None:
    """µs since the epoch."""
    try:
        return round(datetime.fromisoformat(entry["at"]).timestamp() * 1_000_000)
    except (KeyError, TypeError, ValueError):
        return None


def _lies_in(moment: int | None, since: int | None, until: int | None) -> bool:
    if moment is None:
        return since is None and until is None
    return (since is None or moment >= since) and (until is None or moment <= until)


def _line(entry: Mapping[str, Any]) -> str:
    """One entry, for people."""
    moment = _time_of(entry)
    words = [
        "-" if moment is None else shown_time(moment),
        str(entry.get("name") or entry.get("session") or "-"),
        f"{entry['request']} asked" if "request" in entry else str(entry.get("event")),
        *_details({key: value for key, value in entry.items() if key not in _COMMON}),
    ]
    if isinstance(by := entry.get("by"), dict):
        words.append("by " + " ".join(_details(by)))
    return safe("  ".join(words))


def _details(values: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"{key}={value if isinstance(value, str) and ' ' not in value else json.dumps(value)}"
        for key, value in values.items()
        if value is not None
    ]
