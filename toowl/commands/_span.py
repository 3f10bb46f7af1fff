"""A stretch of time of a log: the options ``--since`` and ``--until``, and what of the records lies in it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from toowl.when import FORMS, parse_when
from toowld.classes import frozen
from toowld.errors import UsageError
from toowld.log.format import MARK, OUTPUT, LogRecord, pack_mark
from toowld.log.reader import GapMark

if TYPE_CHECKING:
    import argparse

_Records = Iterable[LogRecord | GapMark]

#: The end of output that is in the middle of a character or an escape sequence.
_UNFINISHED = re.compile(rb"(?:\x1b(?:\[[0-?]*[ -/]*|[ -/]*)|[\xc2-\xf4][\x80-\xbf]{0,2})\Z")
_LONGEST = 256


@frozen
class Span:
    """From ``since`` to ``until``, in µs since the epoch; None: no limit on that side.

    It begins with the first record that is not older than ``since``, and ends before the next one that is younger
    than ``until``: one stretch of the log, whatever the clock did.
    """

    since: int | None = None
    until: int | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def cut(self, records: _Records) -> Iterator[LogRecord | GapMark]:
        """The records of the span, as of a log that begins there: first a mark with the terminal's size then."""
        if self.since is None:
            yield from self.end(records)
            return
        stream = iter(records)
        context: LogRecord | None = None
        size, gap, tail = None, None, b""
        for item in stream:
            if isinstance(item, GapMark):
                gap, tail = item, b""
                continue
            if item.type == OUTPUT and item.wall_us >= self.since:
                break
            size = item.size or size
            if item.type == OUTPUT:
                gap, tail = None, item.payload[-_LONGEST:]
            elif item.type == MARK and item.fields.get("kind") == "segment":
                context = item
        else:
            return
        if gap is not None:
            yield gap
        if size is not None:
            boot = context.fields.get("boot") if context is not None else None
            fields = {"rows": size.rows, "cols": size.cols, "boot": boot}
            yield LogRecord(MARK, item.seq, item.wall_us, item.mono_us, pack_mark("segment", fields))
        if begun := _UNFINISHED.search(tail):
            payload = begun.group() + item.payload
            item = LogRecord(OUTPUT, item.seq - len(begun.group()), item.wall_us, item.mono_us, payload)
        yield from self.end(_with(item, stream))

    def end(self, records: _Records) -> Iterator[LogRecord | GapMark]:
        """``records`` up to the first that is younger."""
        for item in records:
            if self.until is not None and isinstance(item, LogRecord) and item.wall_us > self.until:
                return
            yield item

    def first_line(self, records: _Records) -> int | None:
        """The seq where to begin to read in order to have the first line of the span; None if it is empty."""
        begin = 0
        for item in records:
            if isinstance(item, GapMark):
                begin = item.end
            elif item.type == OUTPUT:
                if self.since is None or item.wall_us >= self.since:
                    return begin
                if (newline := item.payload.rfind(b"\n")) >= 0:
                    begin = item.seq + newline + 1
        return None


def _with(first: LogRecord, rest: Iterator[LogRecord | GapMark]) -> Iterator[LogRecord | GapMark]:
    yield first
    yield from rest


def add_span(parser: argparse.ArgumentParser) -> None:
    """The options ``--since`` and ``--until``."""
    parser.add_argument("--since", metavar="WHEN", help=f"from that time on: {FORMS}")
    parser.add_argument("--until", metavar="WHEN", help="up to that time, in the same forms")


def span_of(args: argparse.Namespace) -> Span:
    """The span that was asked for.

    Raises:
        UsageError: one of the options is no time, or they are in the wrong order.
    """
    now = time.time()
    times = []
    for option in ("since", "until"):
        given = getattr(args, option)
        try:
            times.append(None if given is None else round(parse_when(given, now) * 1_000_000))
        except UsageError as error:
            raise UsageError(f"--{option}: {error}") from None
    since, until = times
    if since is not None and until is not None and since > until:
        raise UsageError("--since is later than --until, so nothing can be between them: swap them")
    return Span(since, until)


def shown_time(wall_us: int) -> str:
    """Local time, for people."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_us // 1_000_000))
    except (ValueError, OverflowError, OSError):  # a clock that was far off
        return f"@{wall_us // 1_000_000}"
