"""What a log's files hold, and behind it what its writer still has in memory because the disk takes nothing.

The two are read one after the other, and the writer goes on meanwhile: get what is in memory first, then read the
files. What has reached them in between is told once.
"""

from __future__ import annotations

from toowld.log.format import OUTPUT, LogRecord
from toowld.log.reader import GapMark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def with_unwritten(
    held: Iterable[LogRecord | GapMark], unwritten: Iterable[LogRecord], seq: int
) -> Iterator[LogRecord | GapMark]:
    """``held``, which is read from ``seq`` on, and of ``unwritten`` what comes later."""
    last: LogRecord | GapMark | None = None
    for last in held:
        yield last
    end = seq if last is None else max(seq, last.end)
    for record in unwritten:
        if record.seq > end:  # memory is bounded too, and lets go of the oldest
            yield GapMark(end, record.seq, "missing")
            end = record.seq
        if record.end <= end and (record.type == OUTPUT or record.seq < end):
            continue
        if record.seq < end:
            payload = record.payload[end - record.seq :]
            record = LogRecord(OUTPUT, end, record.wall_us, record.mono_us, payload)
        yield record
        end = record.end
