"""Reading a log from outside: of a running, ended or damaged session, without the process that writes it.

Read-only, and never in the writer's way. What it meets on the way: a writer that appends and drops segments,
a torn tail, flipped bits, missing segments, files that are none of its business.
"""

from __future__ import annotations

import os

from toowld.classes import frozen
from toowld.log.format import FOLDER_EVERY, MARK, OUTPUT, RESIZE, LogRecord, is_torn
from toowld.log.segments import PIECE, SegmentScan, list_segments, open_segment
from toowld.wire.seq import gap_bytes
from toowld.wire.text import unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any


@frozen
class GapMark:
    """Stands where output in ``[start, end)`` is not held.

    ``reason``: "dropped" (older than the log holds), "missing" (was never written, or its segment is gone) or
    "damaged". Damage may have hit no output (``start == end``), and at the very end of a log nobody
    knows how much.
    """

    start: int
    end: int
    reason: str

    @property
    def size(self) -> int | None:
        """How many bytes of output are missing; None if nobody knows."""
        return gap_bytes(self.start, self.end)


@frozen
class LogEnding:
    """How a log ends.

    ``exit``: the mark of how the child ended; None if it has not, or was started again. ``folder``: where the child
    was when that was last noted, at ``folder_at`` (seconds since the epoch); None if no note is near the end.
    """

    end: int = 0
    exit: dict[str, Any] | None = None
    folder: str | None = None
    folder_at: float = 0.0


class LogReader:
    """The log in ``folder``. Looks anew at every call, so it may be kept.

    Raises:
        PermissionError: (any method) the log is not ours to read. A folder that is missing is an empty log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)

    @property
    def start(self) -> int:
        """The oldest seq that is held."""
        segments = self._segments()
        return segments[0][0] if segments else 0

    @property
    def end(self) -> int:
        """Where the output ends for now."""
        for seq, path in reversed(self._segments()):
            end = seq
            for record in self._segment(seq, path):
                if record is not None:
                    end = record.end
            return end
        return 0

    @property
    def bytes_used(self) -> int:
        """What the log takes on the disk."""
        return sum(_size(path) for _, path in self._segments())

    def rate(self, now: float) -> float | None:
        """By how many bytes a second the log grew of late, over its newest segment or two; or None.

        Args:
            now: seconds since the epoch.
        """
        newest = self._segments()[-2:]
        begun = next(
            (record for seq, path in newest[:1] for record in self._segment(seq, path) if record), None
        )
        if begun is None or begun.wall_us / 1e6 >= now:
            return None
        return sum(_size(path) for _, path in newest) / (now - begun.wall_us / 1e6)

    def records(self, from_seq: int = 0) -> Iterator[LogRecord | GapMark]:
        """All records from ``from_seq`` on, up to the end as it is then; a `GapMark` where output is not held.

        An OUTPUT that ``from_seq`` falls into is cut. Before it come the mark of its segment and the last
        RESIZE, so that size and boot are known.
        """
        expected = from_seq
        context: list[LogRecord] = []
        anything = False
        todo = self._segments()
        todo = [*(found for found in todo if found[0] <= from_seq)][-1:] or todo[:1]
        while todo:
            last, path = todo.pop()
            if last > expected:
                yield GapMark(expected, last, "missing" if anything else "dropped")
                expected = last
            damaged = False
            for record in self._segment(last, path, todo):
                anything = True
                if record is None:
                    damaged = True
                    continue
                if record.seq == expected and record.payload and not (damaged or context):
                    if record.type == OUTPUT:  # as it should be, and there may be millions
                        expected += len(record.payload)
                    yield record
                    continue
                if record.seq < from_seq and record.end <= from_seq:
                    context = _with(context, record)
                    damaged = False
                    continue
                if damaged:
                    yield GapMark(expected, max(expected, record.seq), "damaged")
                    damaged = False
                yield from context
                context = []
                expected, record = _cut(record, expected)
                if record.payload or record.type != OUTPUT:
                    yield record
            if damaged:
                end = max(expected, todo[0][0]) if todo else expected
                yield GapMark(expected, end, "damaged")
                expected = end
        yield from context

    def output(self, from_seq: int = 0) -> Iterator[bytes]:
        """The output from ``from_seq`` on, as far as it is held."""
        for record in self.records(from_seq):
            if isinstance(record, LogRecord) and record.type == OUTPUT:
                yield record.payload

    def tail(self, nbytes: int) -> bytes:
        """The last ``nbytes`` of the output, or all that is held."""
        found = b""
        for seq, path in reversed(self._segments()):
            if len(found) >= nbytes:
                break
            output = [r.payload for r in self._segment(seq, path) if r is not None and r.type == OUTPUT]
            found = b"".join(output) + found
        return found[-nbytes:] if nbytes > 0 else b""

    def last_exit(self) -> dict[str, Any] | None:
        """The mark of how the child ended; None if it has not, or was started again."""
        return self.ending().exit

    def ending(self) -> LogEnding:
        """What the newest part of the log tells, without reading more of it than that takes."""
        end: int | None = None
        fate: dict[str, Any] | None = None
        settled = False  # output is always of a child that has not ended yet
        where: tuple[str, float] | None = None
        for seq, path in reversed(self._segments()):
            last, printed = seq, False
            here: tuple[str, float] | None = None
            latest: dict[str, Any] | None = None
            for record in self._segment(seq, path):
                if record is None:
                    continue
                last = record.end
                if record.type == OUTPUT:
                    printed = True
                    continue
                fields = record.fields
                kind = fields.get("kind")
                if kind in ("start", "respawn", "exit"):
                    latest = fields
                if kind in ("start", "respawn", "folder") and type(fields.get("cwd")) in (str, bytes):
                    here = (unpack_text(fields["cwd"]), record.wall_us / 1e6)
            end = last if end is None else end
            where = where or here
            if not settled and latest is not None:
                fate = latest if latest["kind"] == "exit" else None
            settled = settled or printed or latest is not None
            if settled and (where is not None or end - seq > 2 * FOLDER_EVERY):
                break
        folder, folder_at = where or (None, 0.0)
        return LogEnding(end or 0, fate, folder, folder_at)

    def _segments(self) -> list[tuple[int, str]]:
        try:
            return list_segments(self._folder)
        except FileNotFoundError:
            return []

    def _next(self, last: int) -> list[tuple[int, str]]:
        """The segment after the one that begins at ``last``, if there is one."""
        return [found for found in self._segments() if found[0] > last][:1]

    def _segment(
        self, seq: int, path: str, following: list[tuple[int, str]] | None = None
    ) -> Iterator[LogRecord | None]:
        """The records of one segment; None for a damaged stretch. A torn tail of the newest one is none.

        ``following`` gets the segment that comes next, where this one is known to be complete.
        """
        following = [] if following is None else following
        try:
            fd = open_segment(path)
        except PermissionError:
            raise
        except OSError:  # dropped just now, or unreadable: the seq of what follows tells
            following += self._next(seq)
            return
        try:
            yield from self._read(fd, seq, following)
        finally:
            os.close(fd)

    def _read(self, fd: int, seq: int, following: list[tuple[int, str]]) -> Iterator[LogRecord | None]:
        scanner = SegmentScan(seq)
        damage_at: int | None = None
        settled = False
        while True:
            # Before reading: only a segment that has a successor is never appended to again. A caller may take
            # its time between two records, and the writer goes on meanwhile.
            successor = self._next(seq)
            begin = before = scanner.offset
            try:
                data = os.pread(fd, PIECE, begin)
            except OSError:  # a bad sector: what is behind it can't be had either
                following += successor
                yield None
                return
            at_end = len(data) < PIECE
            final = at_end and (settled or bool(successor))
            for record in scanner.feed(data, final=final):
                if record is None:
                    damage_at = before if damage_at is None else damage_at
                else:
                    if damage_at is not None:
                        yield None
                        damage_at = None
                    yield record
                before = scanner.offset
            if final:
                following += successor
                if damage_at is not None and (successor or not is_torn(data[max(damage_at - begin, 0) :])):
                    yield None
                return
            settled = at_end and scanner.offset == begin


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:  # just dropped
        return 0


def _with(context: list[LogRecord], record: LogRecord) -> list[LogRecord]:
    if record.type == RESIZE:
        return [*(kept for kept in context if kept.type != RESIZE), record]
    if record.type == MARK and record.fields.get("kind") == "segment":
        return [record]
    return context


def _cut(record: LogRecord, expected: int) -> tuple[int, LogRecord]:
    """Cut what lies before ``expected`` off an OUTPUT. Returns the next expected seq too."""
    if record.type == OUTPUT and record.seq < expected:
        rest = record.payload[expected - record.seq :]
        record = LogRecord(OUTPUT, expected, record.wall_us, record.mono_us, rest)
    return max(expected, record.end), record
