"""Records in memory while the disk takes none: bounded, the oldest go first."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from toowld.log.format import HEADER_BYTES, OUTPUT, RESIZE, LogRecord, pack_size
from toowld.wire.messages import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: What a small record costs beside its payload: the objects, and their places in the list (measured: 180 bytes).
_OVERHEAD = 200

#: Front places that are let go at once: a list shifts all others each time.
_COMPACT_AT = 1024

_GONE = LogRecord(0, 0, 0, 0, b"")

_SEQ = attrgetter("seq")


class Ring:
    """Holds contiguous output and what happened in between. `size` is the terminal's at its first record."""

    __slots__ = ("_first", "_limit", "_records", "bytes_used", "size")

    def __init__(self, limit: int, size: Size) -> None:
        self._limit = limit
        self._records: list[LogRecord] = []
        self._first = 0
        self.bytes_used = 0
        self.size = size

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        records = self._records[self._first :]
        return {
            "records": [[item.type, item.seq, item.wall_us, item.mono_us, item.payload] for item in records],
            "rows": self.size.rows,
            "cols": self.size.cols,
        }

    def thaw(self, state: Mapping[str, Any]) -> None:
        """Hold what another one held."""
        self.size = Size(rows=state["rows"], cols=state["cols"])
        for fields in state["records"]:
            self.add(LogRecord(*fields))

    def __bool__(self) -> bool:
        return self._first < len(self._records)

    @property
    def first(self) -> LogRecord | None:
        """The oldest record."""
        return self._records[self._first] if self else None

    def add(self, record: LogRecord) -> None:
        """Keep one more; the oldest go when the limit is passed."""
        self._records.append(record)
        self.bytes_used += len(record.payload) + _OVERHEAD
        while self.bytes_used > self._limit and len(self._records) - self._first > 1:
            self.pop()

    def pop(self) -> None:
        """Let go of the oldest record."""
        record = self._records[self._first]
        self.bytes_used -= len(record.payload) + _OVERHEAD
        if record.type == RESIZE:
            self.size = record.size or self.size
        self._records[self._first] = _GONE  # frees the payload now, the place later
        self._first += 1
        if self._first >= _COMPACT_AT or self._first == len(self._records):
            del self._records[: self._first]
            self._first = 0

    def output_from(self, seq: int) -> LogRecord | None:
        """The first OUTPUT that ends after ``seq``; it may begin before it."""
        at = bisect_right(self._records, seq, lo=self._first, key=_SEQ)
        for place in range(max(at - 1, self._first), len(self._records)):
            record = self._records[place]
            if record.type == OUTPUT and record.end > seq:
                return record
        return None

    def page(self, seq: int, limit: int) -> tuple[list[LogRecord], int | None]:
        """The records from ``seq`` on, about ``limit`` bytes of them, and the seq of those behind; None at the end.

        First comes a RESIZE: the size that the terminal had there.
        """
        found: list[LogRecord] = []
        size = self.size
        held = 0
        for record in self._records[self._first :]:
            if record.end <= seq and record.seq < seq:
                size = record.size or size
                continue
            # What stands at `seq` itself does not count: it would come again and again, and lead nowhere.
            if record.seq > seq and held >= limit:
                return found, record.seq
            if not found:
                found.append(
                    LogRecord(RESIZE, max(record.seq, seq), record.wall_us, record.mono_us, pack_size(size))
                )
            found.append(record)
            held += len(record.payload) + HEADER_BYTES
        if self and not found:  # all of it is older, and may have changed the size
            last = self._records[-1]
            found.append(LogRecord(RESIZE, max(last.end, seq), last.wall_us, last.mono_us, pack_size(size)))
        return found, None
