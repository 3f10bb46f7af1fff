"""The files of one log, as their one writer sees them: found, repaired, opened, dropped when there are too many.

Knows how long each segment is and where it begins, not what is written to it: records, times and what to do about a
disk that takes nothing are `LogWriter`'s. All of it may raise OSError.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from toowld.log.segments import PIECE, SegmentScan, list_segments, open_segment, segment_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Segment:
    """One segment file, as the writer knows it. ``size``: bytes of whole records in it."""

    __slots__ = ("index", "path", "seq", "size", "unsynced")

    def __init__(self, path: str, seq: int, size: int) -> None:
        self.path = path
        self.seq = seq
        self.size = size
        self.index: list[tuple[int, int]] = [(seq, 0)]
        self.unsynced = False


class LogFolder:
    """The segments in one folder.

    Attributes:
        segments: oldest first.
        new_names: there are segments whose names may not be on the disk yet.
        loaded: what earlier runs left is known.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.segments: list[Segment] = []
        self.new_names = False
        self.loaded = False
        self.limit = self.segment_bytes = 0  # the writer's to say

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {
            "segments": [[segment.seq, segment.size, segment.unsynced] for segment in self.segments],
            "new_names": self.new_names,
            "loaded": self.loaded,
        }

    def thaw(self, state: Mapping[str, Any]) -> None:
        """Know what another one knew."""
        for seq, size, unsynced in state["segments"]:
            segment = Segment(self._path_of(seq), seq, size)
            segment.unsynced = unsynced
            self.segments.append(segment)
        self.new_names = state["new_names"]
        self.loaded = state["loaded"]

    def check_tail(self) -> int | None:
        """Read the newest segment as whoever begins anew does. Returns the end of its output; None without one.

        Raises:
            ValueError: it does not hold what it is known to hold.
        """
        if not self.segments:
            return None
        newest = self.segments[-1]
        try:
            good, end = _whole_records(newest)
        except FileNotFoundError:  # somebody deleted it; who writes finds out, and knows what to do
            return None
        if good != newest.size:
            raise ValueError(f"the log can be read up to byte {good} of {newest.size}: {newest.path}")
        return end

    def _path_of(self, seq: int) -> str:
        return f"{self.path}/{segment_name(seq)}"

    @property
    def bytes_used(self) -> int:
        """Bytes of all segments. Added up when asked for, so that nothing need be counted with each record."""
        return sum(segment.size for segment in self.segments)

    def make(self) -> None:
        """Make sure that the folder is there."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)  # noqa: PTH103 - pathlib costs imports and time

    def load(self, held_from: int | None) -> int:
        """Find the segments of earlier runs. Returns where their output ends, 0 if there are none.

        Args:
            held_from: the first seq that is in memory already, waiting for this folder.

        Raises:
            FileExistsError: the output goes on beyond ``held_from``.
        """
        self.make()
        segments = [Segment(path, seq, os.stat(path).st_size) for seq, path in list_segments(self.path)]  # noqa: PTH116
        end = 0
        if segments:
            end = _cut_torn_tail(segments[-1])
            if held_from is not None and end > held_from:
                # The folder could not be read before, and holds more than we thought. Destroy nothing.
                raise FileExistsError(errno.EEXIST, "holds output beyond this session's", self.path)
        self.segments = segments
        self.loaded = True
        return end

    def open(self, seq: int) -> tuple[int, Segment]:
        """Open the segment that begins at ``seq`` for appending, behind its last whole record.

        Where it is a new one, room is made for it first. Write its first record, then call `add`, or `discard` if it
        could not be written. The caller closes the fd.
        """
        known = self.segments[-1] if self.segments and self.segments[-1].seq == seq else None
        if known is None:
            self._make_room()
        segment = known or Segment(self._path_of(seq), seq, 0)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(segment.path, flags, 0o600)
        try:
            found = os.fstat(fd).st_size
            # More than we know of is what a failed attempt left, or a torn record.
            if found > segment.size:
                os.ftruncate(fd, segment.size)
        except OSError:
            os.close(fd)
            raise
        if found < segment.size:  # someone else cut it; readers see the damage
            segment.size = found
            segment.index = [(segment.seq, 0)]
        return fd, segment

    def add(self, segment: Segment) -> None:
        """Count a segment that `open` gave, if it is a new one."""
        if not self._has(segment):
            self.segments.append(segment)
            self.new_names = True

    def discard(self, segment: Segment) -> None:
        """Delete a segment that `open` gave, if it is a new one: nothing is in it."""
        if not self._has(segment):
            os.unlink(segment.path)  # noqa: PTH108

    def _has(self, segment: Segment) -> bool:
        return bool(self.segments) and self.segments[-1] is segment

    def forget_missing(self) -> None:
        """Someone deleted segments under us: what is gone is not held."""
        self.segments = [segment for segment in self.segments if os.path.exists(segment.path)]  # noqa: PTH110

    def _make_room(self) -> None:
        """Drop the oldest segments until a whole new one fits below the limit."""
        used = self.bytes_used
        while self.segments and used + self.segment_bytes > self.limit:
            oldest = self.segments[0]
            with suppress(FileNotFoundError):  # someone else was faster
                os.unlink(oldest.path)  # noqa: PTH108
            del self.segments[0]
            used -= oldest.size


def _cut_torn_tail(segment: Segment) -> int:
    """Cut what is no whole record off the end. Returns the end of the segment's output."""
    good, end = _whole_records(segment)
    if good != segment.size:
        os.truncate(segment.path, good)
        segment.size = good
    return end


def _whole_records(segment: Segment) -> tuple[int, int]:
    """Where the last whole record ends of those that begin below ``size``, and the seq there."""
    scanner = SegmentScan(segment.seq)
    good = 0
    fd = open_segment(segment.path)
    try:
        while True:
            wanted = min(PIECE, segment.size - scanner.offset)
            data = os.pread(fd, wanted, scanner.offset)
            final = len(data) < PIECE
            for record in scanner.feed(data, final=final):
                if record is not None:
                    good = scanner.offset
            if final:
                return good, scanner.seq
    finally:
        os.close(fd)
