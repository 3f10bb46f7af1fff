"""``toowl capture``: what a session shows, or printed, on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from toowl.commands._connect import note
from toowl.commands._history import history_of
from toowl.commands._options import Parser, add_session, command_parser, whole_number
from toowl.commands._text import size
from toowl.history import History
from toowld.errors import UsageError
from toowld.log import OUTPUT, GapMark, LogRecord, TextLines

SUMMARY = "print what a session shows, or its scrollback"

#: The last lines are looked for in this much of the end of the output, then in more and more of it.
_FIRST_LOOK = 64 << 10
_LOOK_FACTOR = 8


def parser() -> Parser:
    made = command_parser(
        "capture",
        SUMMARY,
        usage="toowl capture SESSION [--screen|--scrollback] [--lines N] [--format text|ansi|html|svg|json] [--raw]",
        description="""Print what a session shows: its screen, as a terminal would have it now. With --scrollback, or
        --lines alone, all that it printed: as text that is the whole log, without cursor movements; in the other
        formats it is what a terminal would have scrolled back, at most 10000 lines. Works on ended sessions, without
        attaching, and without a daemon too.""",
        examples=(
            ("toowl capture work", "the screen, as text"),
            ("toowl capture work --format ansi", "with its colours"),
            ("toowl capture build --lines 20", "the last lines that it printed"),
            ("toowl capture build --raw | less -R", "the bytes as they were"),
        ),
    )
    add_session(made)
    part = made.add_mutually_exclusive_group()
    part.add_argument("--screen", action="store_true", help="the screen (default, without --lines)")
    part.add_argument("--scrollback", action="store_true", help="all that is held of what it printed")
    made.add_argument("--lines", metavar="N", type=whole_number, help="only the last N lines")
    made.add_argument("--format", choices=("text", "ansi", "html", "svg", "json"), help="text is the default")
    made.add_argument("--raw", action="store_true", help="the bytes as they were printed")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.raw and (args.screen or args.format):
        raise UsageError("--raw is what was printed: leave --screen and --format out")
    scrollback = args.scrollback or args.raw or (args.lines is not None and not args.screen)
    form = args.format or "text"
    out = sys.stdout.buffer
    with history_of(args.session) as history:
        if scrollback and form == "text":
            for piece in _printed(history, args.lines, _bytes if args.raw else _text):
                out.write(piece)
        else:
            from toowl.commands._shot import shot

            out.write(shot(history, form, scrollback=scrollback, last=args.lines))
    out.flush()
    return 0


def _printed(
    history: History, lines: int | None, form: Callable[[_Records], Iterator[bytes]]
) -> Iterator[bytes]:
    if lines is None:
        return form(_telling_gaps(history.records()))
    return iter(_last_lines(history, lines, form))


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
