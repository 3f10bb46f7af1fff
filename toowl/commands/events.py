"""``toowl events``: what happens to sessions, as it happens."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from toowl.api import plans
from toowl.api.plans import Events, Give, Plan
from toowl.api.values import Happened
from toowl.commands import _filter
from toowl.commands._following import driver
from toowl.commands._options import Parser, command_parser, seconds
from toowl.commands._text import safe
from toowl.commands.ls import as_text
from toowld.errors import DaemonUnreachable, SessionNotFound, UsageError
from toowld.settings.schema import Hooks

#: All events (docs/protocol.md).
NAMES = (*Hooks.FREE.names, "missed")

SUMMARY = "tell what happens to sessions, as it happens"


def parser() -> Parser:
    made = command_parser(
        "events",
        SUMMARY,
        usage="toowl events [SESSION]... [-f KEY=VALUE]... [--json] [--only EVENT]... [--since [RUN:]N] [--idle S] "
        "[--input]",
        description="""Tell what happens to sessions, a line for each event, until Ctrl-C: created, started,
        restarted, attached, detached, resized, renamed, tagged, set, title, bell, cwd, command-started,
        command-ended, prompt, unreachable, reachable, upgraded, ended, removed. Each comes once and in order; where
        some could not be told, missed says how many. Goes on when the daemon was restarted.""",
        examples=(
            ("toowl events --json", "one object per line, as docs/protocol.md describes it"),
            ("toowl events build --only ended --only bell", ""),
            ("toowl events -f tag.job=17 --only ended", "also of sessions that get this tag later"),
            ("toowl events --since 1b2d99f0:117", "what came after that event, as far as it is kept"),
        ),
    )
    made.add_argument(
        "sessions", metavar="SESSION", nargs="*", help="only of these: id, the beginning of an id, or name"
    )
    _filter.add_filter(
        made, "only of sessions that fit before the event or after it, whenever they were made"
    )
    made.add_argument("--json", action="store_true", help="print objects")
    made.add_argument(
        "--only",
        metavar="EVENT",
        action="append",
        help="only events of this name; may be given more than once",
    )
    made.add_argument(
        "--since", metavar="[RUN:]N", help="begin with what came after event N; run and number are in --json"
    )
    made.add_argument(
        "--idle",
        metavar="S",
        type=seconds,
        help="tell, too, when a session has printed nothing for S seconds",
    )
    made.add_argument(
        "--input", action="store_true", help="tell, too, when a session waits for somebody to type"
    )
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    _check_names(args)
    run, since = _place(args.since)
    filters = _filter.parse(args.filter)
    if filters:
        events = Events(args.sessions or None, None, since, run, idle=args.idle, input=args.input)
        plan = _fitting(events, filters, args.only)
    else:
        plan = plans.events(args.sessions or None, args.only, since, run, idle=args.idle, input=args.input)
    with driver() as carried_out:
        for happened in carried_out.stream(plan):
            print(_as_json(happened) if args.json else _line(happened))
            sys.stdout.flush()  # whoever reads it waits for it
    return 0


def _check_names(args: argparse.Namespace) -> None:
    """Events that nobody will tell of are not waited for.

    Raises:
        UsageError: there is no such event, or it has to be asked for.
    """
    for name in args.only or ():
        if name not in NAMES:
            raise UsageError(f"there is no event {name!r}: {_filter.nearest(name, NAMES)}")
        if (name == "idle" and args.idle is None) or (name == "input" and not args.input):
            option = "--idle S" if name == "idle" else "--input"
            raise UsageError(f"--only {name} needs {option}, as that is told to those who ask for it")


def _fitting(events: Events, filters: Sequence[_filter.Filter], only: Sequence[str] | None) -> Plan[None]:
    """Give the events of sessions that fit. All are asked for: those left out may change what a session is."""
    yield from events.open()
    listed: list[Mapping[str, Any]] = (yield from events.line.ask("list"))["sessions"]
    _filter.chosen(listed, filters)  # a filter that can't be meant is told now
    filters = _filter.for_later(filters)
    fit = {session["id"] for session in _filter.chosen(listed, filters)}
    while True:
        happened = yield from events.next(None)
        if happened is None:  # never: there is no time limit
            return
        if happened.session is None:  # "missed"
            yield Give(happened)
            continue
        session = happened.session
        before = session in fit
        found = yield from _now(events, session)
        if found is not None and _filter.chosen([found], filters):
            fit.add(session)
        elif found is not None or happened.event == "removed":
            fit.discard(session)
        fits = before or session in fit
        if fits and (only is None or happened.event in only):
            yield Give(happened)


def _now(events: Events, session_id: str) -> Plan[Mapping[str, Any] | None]:
    """What is known of a session; None if it was forgotten."""
    while True:
        try:
            return (yield from events.line.ask("info", session=session_id))
        except SessionNotFound:
            return None
        except DaemonUnreachable:
            yield from events.again(None)


def _place(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    run, _, number = text.rpartition(":")
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"--since {text!r} is no event: say N or RUN:N, as `toowl events --json` shows them")
    return run or None, int(number)


def _as_json(happened: Happened) -> str:
    return json.dumps(
        {
            "event": happened.event,
            "run": happened.run,
            "number": happened.number,
            "at": happened.at,
            "session": happened.session,
            "name": happened.name,
            "version": happened.version,
            **happened.data,
        },
        default=as_text,
    )


def _line(happened: Happened) -> str:
    if happened.event == "missed":
        count = happened.data.get("count")
        return f"missed {'some' if count is None else count} events"
    moment = time.strftime("%H:%M:%S", time.localtime(happened.at))
    details = " ".join(f"{key}={_value(value)}" for key, value in happened.data.items() if value is not None)
    return safe(f"{moment}  {happened.name or happened.session}  {happened.event}  {details}".rstrip())


def _value(value: object) -> str:
    return (
        value if isinstance(value, str) and value and " " not in value else json.dumps(value, default=as_text)
    )
