"""``toowl capture``: the scrollback of a session on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from toowl.commands._connect import note
from toowl.commands._history import History
from toowl.commands._options import Parser, add_session, command_parser, whole_number
from toowl.commands._text import size
from toowld.log import OUTPUT, GapMark, LogRecord, TextLines

SUMMARY = "print the scrollback of a session"

#: The last lines are looked for in this much of the end of the output, then in more and more of it.
_FIRST_LOOK = 64 << 10
_LOOK_FACTOR = 8


def parser() -> Parser:
    made = command_parser(
        "capture",
        SUMMARY,
        usage="toowl capture SESSION [--lines N] [--raw]",
        description="""Print the scrollback of a session as plain text, without colours and cursor movements. Works on
        ended sessions, and without a daemon too.""",
        examples=(
            ("toowl capture build --lines 20", "how it looks at the end"),
            ("toowl capture build --raw | less -R", "with its colours"),
        ),
    )
    add_session(made)
    made.add_argument("--lines", metavar="N", type=whole_number, help="only the last N lines")
    made.add_argument("--raw", action="store_true", help="the bytes as they were")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    out = sys.stdout.buffer
    with History(args.session) as history:
        form = _bytes if args.raw else _text
        if args.lines is None:
            pieces = form(_telling_gaps(history.records()))
        else:
            pieces = iter(_last_lines(history, args.lines, form))
        for piece in pieces:
            out.write(piece)
    out.flush()
    return 0


_Records = Iterable[LogRecord | GapMark]


def _telling_gaps(records: _Records) -> _Records:
    for record in records:
        if isinstance(record, GapMark) and record.size is None:
            note("some output is not there: lost in a power cut or the like, nobody knows how much")
        elif isinstance(record, GapMark) and record.size:
            note(f"{size(record.size)} of output are not there: {_REASONS.get(record.reason, record.reason)}")
        yield record


_REASONS = {
    "dropped": "older than the log holds",
    "missing": "never written",
    "damaged": "the log is damaged",
}


def _bytes(records: _Records) -> Iterator[bytes]:
    """The output as it was."""
    for record in records:
        if isinstance(record, LogRecord) and record.type == OUTPUT:
            yield record.payload


def _text(records: _Records) -> Iterator[bytes]:
    """The output as lines of text. The width matters where a shell redrew a long command line."""
    lines = TextLines()
    for record in records:
        if isinstance(record, GapMark):
            continue
        if record.type == OUTPUT:
            yield from map(_line, lines.feed(record.payload))
        elif (now := record.size) is not None:
            lines.resize(now.cols)
    yield from map(_line, lines.finish())


def _line(text: str) -> bytes:
    return text.encode("utf-8", "replace") + b"\n"


def _last_lines(history: History, count: int, form: Callable[[_Records], Iterator[bytes]]) -> list[bytes]:
    """The last lines, without reading a log of 64 MiB for the sake of ten of them."""
    look = _FIRST_LOOK
    while True:
        start = max(0, history.end - look)
        # Together again, because raw pieces end anywhere.
        lines = b"".join(form(history.records(start))).splitlines(keepends=True)
        # One more than asked for: the first one may begin in the middle.
        if start == 0 or len(lines) > count:
            return lines[-count:]
        look *= _LOOK_FACTOR
