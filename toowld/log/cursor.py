"""Reading a log that is being written, from inside the process that writes it: catches clients up.

No file stays open between two reads, so a cursor needs no closing, and holds no dropped segment on the disk.
"""

from __future__ import annotations

import os
from bisect import bisect_right

from toowld.log.format import OUTPUT
from toowld.log.safe import SafeStart
from toowld.log.segments import PIECE, SegmentScan, open_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from toowld.log.folder import Segment
    from toowld.log.ring import Ring
else:
    Protocol = object

#: Read at once, as long as that holds a whole record: what one client is sent before the next one's turn.
_PIECE = 128 << 10


class Readable(Protocol):
    """What a cursor needs of a log. It looks at them anew at every read."""

    ring: Ring
    end: int

    @property
    def segments(self) -> list[Segment]:
        """Oldest first."""


class Cursor:
    """Reads output in order, from any seq. Make one with `LogWriter.cursor`.

    `seq` is the next byte to read. What `read` returned began at ``cursor.seq - len(data)``; where that is more
    than `seq` was before, the output in between is not held: a gap, to be announced. After a gap, reading
    goes on where output can begin (`toowld.log.safe`).
    """

    __slots__ = ("_held", "_log", "_pending", "_pieces", "_safe_due", "seq")

    def __init__(self, log: Readable, seq: int, *, safe: bool = False) -> None:
        self._log = log
        self.seq = min(max(seq, 0), log.end)
        self._pieces = _pieces(log, self.seq)
        self._held: tuple[int, bytes] | None = None  # what comes after a gap
        self._pending = b""
        self._safe_due = safe

    def read(self, limit: int) -> bytes:
        """At most ``limit`` bytes; empty when all has been read (more may come). Ends before a gap."""
        parts: list[bytes] = []
        length = 0
        while length < limit:
            if not self._pending and not self._advance(may_jump=not parts):
                break
            part = self._pending[: limit - length]
            self._pending = self._pending[len(part) :]
            parts.append(part)
            length += len(part)
            self.seq += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _advance(self, *, may_jump: bool) -> bool:
        """Get the next piece into `_pending`. False at the end, or before a gap that may not be jumped now."""
        while True:
            found = self._take()
            if found is None:
                self._safe_due = False
                if may_jump:  # damage may hide the last bytes: all is read nevertheless
                    self.seq = max(self.seq, self._log.end)
                return False
            seq, data = found
            if seq > self.seq or self._safe_due:
                if not may_jump:
                    self._held = found
                    return False
                self.seq, data = self._find_safe(seq, data)
                if not data:
                    continue
            self._pending = data
            return True

    def _take(self) -> tuple[int, bytes] | None:
        held, self._held = self._held, None
        return held or next(self._pieces)

    def _find_safe(self, seq: int, data: bytes) -> tuple[int, bytes]:
        """Skip from ``seq`` to where output can begin. ``data`` is what was read from there."""
        self._safe_due = False
        start = SafeStart()
        start.feed(data)
        while not start.decided and (found := self._take()) is not None:
            if found[0] != seq + len(start.data):
                self._held = found  # the next gap: what is before it must do
                break
            start.feed(found[1])
        skip = start.skip()
        return seq + skip, bytes(memoryview(start.data)[skip:])


def replay_start(log: Readable, back: int) -> int:
    """The seq from which on about ``back`` bytes of output are held: what is not held does not count."""
    end = log.end
    first = log.ring.first
    starts: list[tuple[int, Segment | None]] = [(segment.seq, segment) for segment in log.segments]
    if first is not None:
        starts.append((first.seq, None))
    for seq, segment in reversed(starts):
        if segment is not None and seq + segment.size < end:  # so there is a gap behind it
            end = _end_of(segment)
        if end - back >= seq:
            return end - back
        back -= end - seq
        end = seq
    return end


def _end_of(segment: Segment) -> int:
    """Where the output of a segment ends, by reading it."""
    scanner = SegmentScan(segment.seq)
    while scanner.offset < segment.size:
        data, short = _read(segment, scanner.offset, PIECE)
        final = short or scanner.offset + len(data) >= segment.size
        for _ in scanner.feed(data, final=final):
            pass
        if final:
            break
    return scanner.seq


def _pieces(log: Readable, seq: int) -> Iterator[tuple[int, bytes] | None]:
    """(seq, bytes) of the output from ``seq`` on, in order; None whenever all has been read. Never ends."""
    segment: Segment | None = None
    scanner = SegmentScan(0)
    wanted = _PIECE
    while True:
        first = log.ring.first
        if seq >= log.end:
            yield None
        elif first is not None and seq >= first.seq:
            segment = None
            record = log.ring.output_from(seq)
            if record is None:
                seq = log.end
                continue
            piece = record.payload[max(seq - record.seq, 0) :]
            at = max(seq, record.seq)
            seq = at + len(piece)
            yield at, piece
        else:
            found = _find(log.segments, seq)
            if found is None:
                seq = log.end if first is None else first.seq
                continue
            if found is not segment:
                segment = found
                scanner = _scan_from(segment, seq)
            before = scanner.offset
            data, short = _read(segment, before, wanted)
            for record in scanner.feed(data, final=short or before + len(data) >= segment.size):
                if record is not None and record.type == OUTPUT and record.end > seq:
                    at = max(seq, record.seq)
                    seq = record.end
                    yield at, record.payload[at - record.seq :]
            wanted = _PIECE if scanner.offset > before else PIECE
            if short or scanner.offset >= segment.size:
                seq = max(seq, _after(log, segment))


def _find(segments: list[Segment], seq: int) -> Segment | None:
    """The segment that holds ``seq``, or else the first one."""
    at = bisect_right(segments, seq, key=lambda segment: segment.seq)
    return segments[max(at - 1, 0)] if segments else None


def _scan_from(segment: Segment, seq: int) -> SegmentScan:
    """Begin as close before ``seq`` as the index allows."""
    at = bisect_right(segment.index, seq, key=lambda entry: entry[0]) - 1
    return SegmentScan(*segment.index[max(at, 0)])


def _read(segment: Segment, offset: int, wanted: int) -> tuple[bytes, bool]:
    """The next piece of a segment's whole records, and whether less was there than should be."""
    wanted = min(wanted, segment.size - offset)
    if wanted <= 0:
        return b"", False
    try:
        fd = open_segment(segment.path)
    except OSError:
        return b"", True  # dropped or unreadable: a gap
    try:
        data = os.pread(fd, wanted, offset)
    except OSError:
        return b"", True
    finally:
        os.close(fd)
    return data, len(data) < wanted


def _after(log: Readable, segment: Segment) -> int:
    """Where the output goes on after all that ``segment`` holds."""
    segments = log.segments
    at = bisect_right(segments, segment.seq, key=lambda other: other.seq)
    if at < len(segments):
        return segments[at].seq
    first = log.ring.first
    return log.end if first is None else first.seq
