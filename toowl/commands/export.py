"""``toowl export``: a session as an asciinema recording."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from toowl.commands._connect import note
from toowl.commands._history import history_of
from toowl.commands._options import FILE, Parser, add_session, command_parser, session_or_current
from toowl.commands._span import Span, add_span, span_of
from toowl.commands._target import atomic, check_target
from toowl.commands._text import size
from toowl.history import History
from toowld.log import OUTPUT, GapMark, LogRecord, write_cast

SUMMARY = "write a session as an asciinema recording"

#: What asciinema itself records of the environment. Nothing else: it may be secret.
_RECORDED_ENV = ("TERM", "SHELL")

#: Seconds between two looks of the progress.
_PROGRESS = 0.2


def parser() -> Parser:
    made = command_parser(
        "export",
        SUMMARY,
        usage="toowl export [SESSION] -o FILE.cast [--since WHEN] [--until WHEN] [--format 2|3] "
        "[--idle-limit S] [--force]",
        description="""Write all that a session printed, with its timing, as an asciicast that asciinema plays.
        Works for running and ended sessions, persistent or not, and without a daemon too. Where the
        log no longer holds the beginning, the recording says so. What was typed is only in it as far as
        it was shown. The file is readable for you alone, and either complete or not there. With --since
        the recording begins with the first output from then on, in a terminal of the size that it had.""",
        examples=(
            ("toowl export work -o work.cast && asciinema play work.cast", ""),
            (
                "toowl export work -o - --idle-limit 2 | gzip > work.cast.gz",
                "no pause longer than two seconds",
            ),
        ),
    )
    add_session(made, optional=True)
    made.add_argument(
        "-o", "--output", metavar=FILE, required=True, help="file to write; - for the standard output"
    )
    made.add_argument(
        "--format",
        type=int,
        choices=(2, 3),
        default=2,
        help="asciicast version (default: 2, which every asciinema plays)",
    )
    made.add_argument("--idle-limit", metavar="S", type=_seconds, help="shorten pauses to S seconds")
    add_span(made)
    made.add_argument("--force", action="store_true", help="replace FILE if it exists")
    return made


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    span = span_of(args)
    if args.output != "-":
        check_target(args.output, force=args.force)
    with history_of(session) as history:
        if args.output == "-":
            gaps = _write(history, sys.stdout.buffer, args, span)
            sys.stdout.buffer.flush()
        else:
            with atomic(args.output, force=args.force) as out:
                gaps = _write(history, out, args, span)
        if missing := _missing(gaps):
            note(f'session "{history.label}": {missing}; the recording says where')
    return 0


def _missing(gaps: list[GapMark]) -> str:
    """What of the output the recording lacks; empty if damage hit none."""
    count = sum(gap.size or 0 for gap in gaps)
    told = [f"{size(count)} of output are no longer held"] if count else []
    if any(gap.size is None for gap in gaps):
        told.append("some output was lost, nobody knows how much")
    return " and ".join(told)


def _write(history: History, out: BinaryIO, args: argparse.Namespace, span: Span) -> list[GapMark]:
    """Write the recording; what of the output was missing."""
    gaps: list[GapMark] = []
    with _progress(history.end) as progress:
        write_cast(
            _watched(span.cut(history.records()), gaps, progress),
            out,
            version=args.format,
            idle_limit=args.idle_limit,
            title=_plain(history.label),
            command=_command(history.record),
            env=_environment(history.record),
        )
    return gaps


def _watched(
    records: Iterator[LogRecord | GapMark], gaps: list[GapMark], progress: Callable[[int], None]
) -> Iterator[LogRecord | GapMark]:
    for record in records:
        if isinstance(record, GapMark):
            gaps.append(record)
        elif record.type == OUTPUT:
            progress(record.end)
        yield record


def _plain(text: str) -> str:
    """``text`` as JSON can hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _text(value: Any) -> str:
    """A text of the wire or of a record, which is bytes where it was not UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else _plain(str(value))


def _command(record: dict[str, Any]) -> str | None:
    """What was asked to be run; None for a shell, which the log names."""
    argv = record.get("argv")
    return shlex.join(_text(word) for word in argv) if isinstance(argv, list) and argv else None


def _environment(record: dict[str, Any]) -> dict[str, str]:
    env = record.get("env")
    if not isinstance(env, dict):
        return {}
    return {name: _text(env[name]) for name in _RECORDED_ENV if env.get(name)}


@contextmanager
def _progress(end: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far it is, if it takes long enough for anybody to wonder."""
    if not sys.stderr.isatty():
        yield lambda seq: None
        return
    begun = shown = time.monotonic()

    def show(seq: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown >= _PROGRESS:
            shown = now
            percent = min(99, 100 * seq // end) if end else 0
            print(f"\rexporting: {percent:2} % of {size(end)}", end="\x1b[K", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown != begun:
            print(end="\r\x1b[K", file=sys.stderr, flush=True)
