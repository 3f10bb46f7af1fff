"""Following a log's output in steps, each of which reads only what was written since the last one.

For whoever has to know, again and again, what somebody else has written meanwhile. Owns a place in the files and
nothing else: no file stays open. Where the output is not held, or the file is damaged, the trail is lost.
"""

from __future__ import annotations

import os

from toowld.log.format import OUTPUT, LogRecord
from toowld.log.segments import PIECE, SegmentScan, list_segments, open_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Trail:
    """A place in the output of a log.

    Attributes:
        seq: the next byte of output.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)
        self.seq = 0
        self._segment: tuple[int, str] | None = None
        self._place = (0, 0)  # offset in the segment, and seq, of a record that does not end before `seq`

    def seek(self, seq: int) -> None:
        """Go to ``seq``. Quickly, if it is not far behind where we are; else a segment is read for it.

        Raises:
            OSError: the log can't be read.
        """
        if self._segment is None or seq < self._place[1] or not self._reach(seq):
            self._begin(seq)
            self._reach(seq)
        self.seq = seq

    def _reach(self, seq: int) -> bool:
        try:
            for _ in self.read(seq):
                pass
        except FileNotFoundError:  # dropped meanwhile
            return False
        return self.seq >= seq

    def read(self, until: int) -> Iterator[bytes]:
        """The output from `seq` to ``until``, in pieces. Ends early where it is not held; `seq` tells.

        Raises:
            OSError: the log can't be read.
        """
        while self.seq < until and self._segment is not None:
            # Before reading: only a segment that has a successor is never appended to again.
            successor = next((found for found in list_segments(self._folder) if found > self._segment), None)
            fd = open_segment(self._segment[1])
            try:
                data = os.pread(fd, PIECE, self._place[0])
            finally:
                os.close(fd)
            before = self._place
            for record in self._records(data):
                if record is None or record.seq > self.seq:
                    return
                if record.type == OUTPUT and record.end > self.seq:
                    piece = record.payload[self.seq - record.seq :][: until - self.seq]
                    self.seq += len(piece)
                    yield piece
                if self.seq >= until:
                    return
            if self._place == before:
                if successor is None or successor[0] > self.seq:
                    return
                self._segment, self._place = successor, (0, successor[0])

    def _begin(self, seq: int) -> None:
        """Go to the segment that holds ``seq``, at its first byte."""
        before = [found for found in list_segments(self._folder) if found[0] <= seq]
        self._segment = before[-1] if before else None
        if self._segment is not None:
            self.seq = self._segment[0]
            self._place = (0, self.seq)

    def _records(self, data: bytes) -> Iterator[LogRecord | None]:
        """The records in ``data``, which was read at our place; the place moves on behind each that is done with."""
        scanner = SegmentScan(self._place[1], self._place[0])
        for record in scanner.feed(data, final=False):
            yield record
            if record is None or record.end > self.seq:
                return
            self._place = (scanner.offset, record.end)
