"""A log as lines of text with their times, in one pass and bounded memory. Knows records, not files.

The output is cut into blocks that end where a piece ends (`toowld.log.plain`), so each can be looked at alone, or not
at all. What is left out is what `TextLines` leaves out: the alternate screen of programs that left it. Whether one
was left only the following output tells; it is skimmed for that, and read again if not, so that nothing has to be
held back however long such a program ran.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from toowld.log.format import OUTPUT, LogRecord
from toowld.log.plain import MOVED, OVERWRITTEN, PIECE_END, SPACED, Needle, plain, without_noise
from toowld.log.reader import GapMark
from toowld.log.text import TextLines

_Records = Iterator[LogRecord | GapMark]

#: Output that is looked at at once: enough that what is done per block does not count.
_BLOCK = 256 << 10

#: A piece that does not end for so long is broken. As in `text`.
_LONGEST = 1 << 20

#: No escape sequence that matters is longer.
_SEQUENCE = 256

#: To the alternate screen ("h"), back from it ("l"), and a full reset ("c"), which goes back too.
_SWITCH = re.compile(rb"\x1b(?:\[\?(?:[0-?]*;)?(?:47|1047|1049)(?:;[0-?]*)?[ -/]*([hl])|[ -/]*(c))")
_ENTER, _LEAVE = b"h", b"l"

#: Ends whatever line is begun, and makes none if none is.
_FINISH = b"\x1b[H"


class Line(NamedTuple):
    """One line. It has the time of the output that ended it, and the seq where that line's output begins."""

    wall_us: int
    seq: int
    text: str


class Block:
    """Some whole lines of output. `texts` may be asked for at any time, and in any order of blocks."""

    def __init__(
        self,
        data: bytes,
        seq: int,
        times: list[tuple[int, int]],
        text: TextLines,
        cols: int | None,
        *,
        last: bool = False,
    ) -> None:
        """``data`` ends where a piece does.

        Args:
            times: (seq, time) of each record in it.
            text: what is unfinished of the block before.
            last: what comes next has nothing to do with it.
        """
        self._data = data
        self._seq = seq
        self._times = times
        self._cols = cols
        self._ends: list[int] | None = None
        self._plain = plain(data.decode("utf-8", "replace")) if text.clean else None
        self._texts: list[tuple[int, str]] = []
        if self._plain is None:  # now, for what follows depends on how this one ends
            self._texts = [
                found for index in range(len(self._piece_ends())) for found in self._convert(index, text)
            ]
            if last:  # in the middle of a string, perhaps
                self._texts += [(len(self._piece_ends()) - 1, line) for line in text.finish()]

    @property
    def least(self) -> int:
        """There are at least so many lines in it."""
        return 0 if self._plain is None else self._data.count(b"\n")

    def texts(self, needle: Needle | None = None) -> Iterable[tuple[int, str]]:
        """The lines, each with a number for `line`; with ``needle``, only those that may hold it."""
        if self._plain is None:
            return self._texts
        pieces = self._plain.split("\n")
        pieces.pop()  # behind the last end
        wanted = range(len(pieces)) if needle is None else needle.candidates(self._plain, pieces)
        return self._some(pieces, wanted) if wanted else ()

    def _some(self, pieces: list[str], wanted: Iterable[int]) -> Iterator[tuple[int, str]]:
        text = TextLines(self._cols)
        for index in wanted:
            piece = pieces[index]
            if OVERWRITTEN in piece or SPACED in piece:
                yield from self._convert(index, text)
            elif not piece.endswith(MOVED):
                yield index, piece.rstrip(" ")
            elif len(piece) > 1:
                yield index, piece[:-1].rstrip(" ")

    def _convert(self, index: int, text: TextLines) -> Iterator[tuple[int, str]]:
        ends = self._piece_ends()
        data = self._data[ends[index - 1] if index else 0 : ends[index]]
        for line in text.feed(data if self._plain is None else without_noise(data)):
            yield index, line

    def _piece_ends(self) -> list[int]:
        if self._ends is None:
            self._ends = [found.end() for found in PIECE_END.finditer(self._data)]
        return self._ends

    def line(self, index: int, text: str) -> Line:
        """The line with that number and text."""
        ends = self._piece_ends()
        seq = self._seq + (ends[index - 1] if index else 0)
        last = self._seq + ends[index] - 1
        at = bisect_right(self._times, last, key=lambda entry: entry[0])
        return Line(self._times[max(at - 1, 0)][1], seq, text)


class Blocks:
    """Iterates over the blocks of a log."""

    def __init__(self, records_from: Callable[[int], Iterable[LogRecord | GapMark]], seq: int = 0) -> None:
        """``records_from`` gives the records from some seq on, as `LogReader.records` does; may be called again."""
        self._records_from = records_from
        self._records: _Records = iter(records_from(seq))
        self._cols: int | None = None
        self._text = TextLines()
        self._parts: list[bytes] = []
        self._held = 0
        self._seq = seq  # of what is held
        self._end = seq
        self._times: list[tuple[int, int]] = []
        self._skipped = 0

    def __iter__(self) -> Iterator[Block]:
        while True:
            records = self._records
            item = next(records, None)
            if item is None:
                yield from self._cut(all_of_it=True)
                if self._records is records:  # else something has to be read again
                    return
            elif isinstance(item, LogRecord) and item.type == OUTPUT and item.seq == self._end:
                if self._take(item):
                    yield from self._cut()
            elif isinstance(item, GapMark) or item.type == OUTPUT:
                if self._parts or not self._text.clean:
                    # First what came before; that may take records from behind this one, which then is no news.
                    self._records = chain((item,), records)
                    yield from self._cut(all_of_it=True)
                elif isinstance(item, GapMark):
                    self._begin(item.end)
                else:
                    self._begin(item.seq)
                    self._take(item)
            elif (size := item.size) is not None and size.cols != self._cols:
                skipped = self._skipped
                yield from self._cut()
                if self._skipped == skipped:
                    self._cols = size.cols
                    self._text.resize(size.cols)

    def _begin(self, seq: int, data: bytes = b"") -> None:
        """What comes now has nothing to do with what was before."""
        self._text = TextLines(self._cols)
        self._hold(seq, data)

    def _hold(self, seq: int, data: bytes) -> None:
        self._parts = [data] if data else []
        self._held = len(data)
        self._seq = seq
        self._end = seq + len(data)
        at = bisect_right(self._times, seq, key=lambda entry: entry[0])
        self._times = self._times[max(at - 1, 0) :]

    def _take(self, record: LogRecord) -> bool:
        """Hold the output that comes next. Whether it is time to `_cut`."""
        self._times.append((record.seq, record.wall_us))
        self._parts.append(record.payload)
        self._held += len(record.payload)
        self._end += len(record.payload)
        return self._held >= _BLOCK

    def _cut(self, *, all_of_it: bool = False) -> Iterator[Block]:
        """Give what is held as far as it is complete."""
        while self._parts or (all_of_it and not self._text.clean):
            data = b"".join(self._parts)
            switch = next((found for found in _SWITCH.finditer(data) if found[1] == _ENTER), None)
            if switch is None:
                yield from self._cut_plain(data, all_of_it)
                return
            seq = self._seq
            yield from self._block(data[: switch.start()], finish=True, last=True)
            self._skip(seq + switch.end(), data[switch.end() :])

    def _cut_plain(self, data: bytes, all_of_it: bool) -> Iterator[Block]:
        seq = self._seq
        end = len(data) if all_of_it else _last_end(data)
        finish = all_of_it
        if not end and len(data) >= _LONGEST:
            end, finish = _anywhere(data), True
        yield from self._block(data[:end], finish=finish, last=all_of_it)
        self._hold(seq + end, data[end:])
        if all_of_it:
            self._text = TextLines(self._cols)

    def _block(self, data: bytes, *, finish: bool, last: bool) -> Iterator[Block]:
        if data or (last and not self._text.clean):
            data = data + _FINISH if finish else data
            yield Block(data, self._seq, self._times, self._text, self._cols, last=last)

    def _skip(self, seq: int, data: bytes) -> None:
        """The alternate screen was entered before ``seq``, with which ``data`` begins: go on where it was left."""
        at, rest = seq, data
        self._skipped += 1
        while True:
            if found := _SWITCH.search(rest):
                if found[1] == _ENTER:
                    break  # again: the program before was killed on it, and what came then is worth having
                self._begin(at + found.end(), rest[found.end() :])
                return
            item = next(self._records, None)
            if item is None:
                break
            if isinstance(item, LogRecord) and item.type == OUTPUT:
                rest = rest[-_SEQUENCE:] + item.payload
                at = item.end - len(rest)
                self._times = [*self._times[-1:], (item.seq, item.wall_us)]
                self._end = item.end
            elif isinstance(item, LogRecord) and (size := item.size) is not None:
                self._cols = size.cols
        self._records = iter(self._records_from(seq))
        self._begin(seq)


def _last_end(data: bytes) -> int:
    """Where the last piece of ``data`` that is complete ends; 0 if none is."""
    end = data.rfind(b"\n") + 1
    back = 4 << 10
    while True:
        start = max(end, len(data) - back)
        last = 0
        for found in PIECE_END.finditer(data, start):
            last = found.end()
        if last or start == end:
            return max(last, end)
        back *= 8


def _anywhere(data: bytes) -> int:
    """Where to break ``data`` that has no end: not in a character or a sequence, best where a line begins anew."""
    end = data.rfind(b"\r")
    if end <= 0:
        end = len(data)
    escape = data.rfind(b"\x1b", end - _SEQUENCE, end)
    if escape > 0:
        return escape
    for back in range(1, 4):
        if data[end - back] >= 0xC0:  # where a character begins, complete or not
            return end - back
    return end


def lines(records_from: Callable[[int], Iterable[LogRecord | GapMark]], seq: int = 0) -> Iterator[Line]:
    """All lines from ``seq`` on."""
    for block in Blocks(records_from, seq):
        for index, text in block.texts():
            yield block.line(index, text)
