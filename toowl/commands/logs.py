"""``toowl logs``: what a session printed, with times, and what it prints from now on."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator

from toowl.commands._connect import note
from toowl.commands._history import history_of
from toowl.commands._options import Parser, add_session, command_parser
from toowl.commands._span import Span, add_span, shown_time, span_of
from toowl.commands._text import size
from toowl.history import History
from toowld import errors, wire
from toowld.client import Client
from toowld.log import OUTPUT, GapMark, LogRecord, TextLines
from toowld.log.lines import lines

SUMMARY = "print what a session printed, with times; -f follows it"

#: Patience with a session that is being started or ended just now, in seconds.
_ATTACH_TIMEOUT = 30.0


def parser() -> Parser:
    made = command_parser(
        "logs",
        SUMMARY,
        usage="toowl logs SESSION [-f] [--since WHEN] [--until WHEN] [--text|--raw|--json] [--timestamps]",
        description="""Print what a session printed, as text without colours and cursor movements. With -f go on
        until it ends; that shows as an attached client in `toowl ls`, but never touches the size of the
        session. A WHEN like 14:30 is the last time that a clock showed it. Works on ended sessions, and
        without a daemon too.""",
        examples=(
            ("toowl logs build --since 10m --timestamps", "the last ten minutes"),
            ("toowl logs build -f | grep --line-buffered error", "be told of errors as they come"),
        ),
    )
    add_session(made)
    made.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes, until the session ends"
    )
    add_span(made)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--text", action="store_true", help="lines of text (default)")
    form.add_argument("--raw", action="store_true", help="the bytes as they were")
    form.add_argument(
        "--json",
        action="store_true",
        help="an object for each line: time (unix seconds), line; --timestamps or not",
    )
    made.add_argument("--timestamps", action="store_true", help="begin each line with its time")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.raw and args.timestamps:
        raise errors.UsageError("--timestamps is about lines of text: leave --raw out")
    if args.follow and args.until:
        raise errors.UsageError("-f goes on until the session ends: leave --until out")
    line = _as_json if args.json else _timed if args.timestamps else _plain
    span = span_of(args)
    out = sys.stdout.buffer
    with history_of(args.session) as history:
        if args.follow:
            shown = _Raw() if args.raw else _Text(line)
            _follow(history, span, shown)
            return 0
        for piece in _raw(history, span) if args.raw else _text(history, span, line):
            out.write(piece)
    out.flush()
    return 0


def _raw(history: History, span: Span) -> Iterator[bytes]:
    for record in span.cut(history.records()):
        if isinstance(record, LogRecord) and record.type == OUTPUT:
            yield record.payload


_Line = Callable[[str, int], bytes]


def _text(history: History, span: Span, form: _Line) -> Iterator[bytes]:
    begin = span.first_line(history.records()) if span.since is not None else 0
    if begin is None:
        return
    for line in lines(lambda seq: span.end(history.records(seq)), begin):
        # What of it came before began in the middle of nothing.
        if span.since is None or line.wall_us >= span.since:
            yield form(line.text, line.wall_us)


def _plain(text: str, wall_us: int) -> bytes:
    return f"{text}\n".encode("utf-8", "replace")


def _timed(text: str, wall_us: int) -> bytes:
    return _plain(f"{shown_time(wall_us)}  {text}", wall_us)


def _as_json(text: str, wall_us: int) -> bytes:
    return json.dumps({"time": wall_us / 1e6, "line": text}).encode() + b"\n"


# -- following --------------------------------------------------------------------------------------------


class _Raw:
    """Writes output as it is."""

    def resize(self, cols: int) -> None:
        """Of no matter here."""

    def output(self, data: bytes, wall_us: int) -> None:
        _write(data)

    def finish(self) -> None:
        """Nothing is held back."""


class _Text:
    """Writes output as lines, each when it is complete."""

    def __init__(self, form: _Line) -> None:
        self._form = form
        self._lines = TextLines(keep_alternate=False)
        self._last = 0

    def resize(self, cols: int) -> None:
        self._lines.resize(cols)

    def output(self, data: bytes, wall_us: int) -> None:
        self._last = wall_us
        self._show(self._lines.feed(data))

    def finish(self) -> None:
        self._show(self._lines.finish())

    def _show(self, texts: list[str]) -> None:
        _write(b"".join(self._form(text, self._last) for text in texts))


def _write(data: bytes) -> None:
    if data:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()  # whoever reads it waits for it


def _follow(history: History, span: Span, shown: _Raw | _Text) -> None:
    """Show the past, then what comes, until the session ends."""
    seq = 0
    for item in span.cut(history.records()):
        if isinstance(item, GapMark):
            seq = max(seq, item.end)
        elif item.type == OUTPUT:
            shown.output(item.payload, item.wall_us)
            seq = item.end
        elif (size := item.size) is not None:
            shown.resize(size.cols)
    if span.since is not None and not seq:  # nothing of it is so young
        seq = history.end
    with history.watching() as client:
        if client is not None:
            _watch(client, history, seq, shown)
    shown.finish()


def _watch(client: Client, history: History, seq: int, shown: _Raw | _Text) -> None:
    label = history.label
    request = client.post("attach", {
        "session": history.info["id"], "client_id": uuid.uuid4().hex, "read_only": True, "from_seq": seq,
        "replay": True, "respawn": False,
    })  # fmt: skip
    patience: float | None = _ATTACH_TIMEOUT
    while True:
        try:
            message = client.receive(timeout=patience)
        except errors.DaemonUnreachable as error:
            raise errors.CustodianLost(f"lost the connection to session {label}: see `toowl ls`") from error
        match message:
            case wire.Attached():
                patience = None
            case wire.Output(start, data):
                if data := data[max(seq - start, 0) :]:
                    shown.output(data, time.time_ns() // 1000)
                    seq = max(seq, start) + len(data)
            case wire.Gap(start, end):
                note(f"{size(end - start)} of output are no longer held")
                seq = max(seq, end)
            case wire.Ping(token):
                client.socket.sendall(wire.encode(wire.Pong(token)))
            case wire.Ended():
                return
            case wire.Detached(reason):
                raise errors.RefusedError(
                    f"session {label}: following it was ended ({reason}): call it again"
                )
            case wire.Failure(number, code, text) if number in (request, 0):
                raise errors.from_wire(code, text)
