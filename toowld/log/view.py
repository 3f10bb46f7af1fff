"""A log that nobody writes any more, to be looked at: what a `Cursor` needs, and nothing that changes a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from toowld.log.cursor import Cursor, replay_start
from toowld.log.folder import Segment
from toowld.log.format import LogRecord
from toowld.log.reader import LogReader
from toowld.log.ring import Ring
from toowld.log.segments import list_segments
from toowld.log.writer import RING_BYTES
from toowld.wire.messages import Size


class LogView:
    """The log of a session whose child has ended. Offers the reading half of `LogWriter`."""

    degraded = False
    limit = 0  # of what is still to be written
    error: str | None = None

    def __init__(
        self, folder: Path, size: Size, *, end: int = 0, unwritten: Iterable[LogRecord] = ()
    ) -> None:
        """Look at the log as it is now.

        Args:
            end: of the output, as far as is known elsewhere: what the log lacks before it is a gap.
            unwritten: what whoever wrote the log still has in memory; asked for before this is made.
        """
        self.segments = [
            Segment(path, seq, os.stat(path).st_size)  # noqa: PTH116 - as in the writer
            for seq, path in list_segments(os.fspath(folder))
        ]
        self.ring = Ring(2 * RING_BYTES, size)  # its writer's fits, however that is counted
        for record in unwritten:
            self.ring.add(record)
        self.start = self.segments[0].seq if self.segments else 0
        self.end = max(LogReader(folder).end, end)
        self.bytes_used = sum(segment.size for segment in self.segments)

    def cursor(self, seq: int, *, safe: bool = False) -> Cursor:
        """See `LogWriter.cursor`."""
        return Cursor(self, seq, safe=safe)

    def replay_start(self, back: int) -> int:
        """See `LogWriter.replay_start`."""
        return replay_start(self, back)

    def close(self) -> None:
        """Nothing is open."""
