"""The files of a log: their names, finding them, reading one piece by piece. Knows nothing of who writes."""

from __future__ import annotations

import os

from toowld.log.format import MAX_RECORD, SEQ_LIMIT, LogRecord, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: How much of a segment is read at once. Over two records, so that every piece brings `scan` forward, whatever
#: the damage.
PIECE = 4 * MAX_RECORD

_SUFFIX = ".log"
_DIGITS = 20


def segment_name(seq: int) -> str:
    """The file name of the segment whose first output byte is ``seq``. Sorts like the seqs."""
    return f"{seq:0{_DIGITS}d}{_SUFFIX}"


def segment_seq(name: str) -> int | None:
    """The seq in a segment's file name; None for any other file."""
    digits = name[:_DIGITS]
    if len(name) != _DIGITS + len(_SUFFIX) or not name.endswith(_SUFFIX):
        return None
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= SEQ_LIMIT:
        return None
    return int(digits)


def list_segments(folder: str) -> list[tuple[int, str]]:
    """(seq, path) of the segments in ``folder``, oldest first. Symlinks and folders are none.

    Raises:
        OSError: the folder can't be read.
    """
    with os.scandir(folder) as entries:
        return sorted(
            (seq, entry.path)
            for entry in entries
            if (seq := segment_seq(entry.name)) is not None and entry.is_file(follow_symlinks=False)
        )


def open_segment(path: str) -> int:
    """Open a segment for reading; the caller closes the fd."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


class SegmentScan:
    """Where a reader is in one segment: give it the file's bytes from `offset` on, take the records."""

    __slots__ = ("_slack", "offset", "seq")

    def __init__(self, seq: int, offset: int = 0) -> None:
        self.offset = offset
        #: Seq of the next record.
        self.seq = seq
        self._slack = 0

    def feed(self, data: bytes, *, final: bool) -> Iterator[LogRecord | None]:
        """The records in ``data``, None for a damaged stretch. ``final``: the segment ends with ``data``."""
        base = self.offset
        for start, end, record in scan(data, seq=self.seq, slack=self._slack, final=final):
            self.offset = base + end
            if record is None:
                self._slack += end - start
            else:
                self.seq = record.end
                self._slack = 0
            yield record
