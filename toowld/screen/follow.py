"""A model brought to the end of a log: from the newest snapshot on, or from what the log still holds.

This is all that is needed to know what a session shows, for whoever wants it: the daemon's helper, a client without a
daemon, ``toowl capture`` on a session that has ended. Reads files, writes none but snapshots. Takes its time (0.1 s
for 10 MB of output), so it has no place in an event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from toowld.classes import define
from toowld.errors import ScreenError
from toowld.log.format import OUTPUT, LogRecord
from toowld.log.reader import GapMark, LogReader
from toowld.log.safe import SafeStart
from toowld.screen import snapshots
from toowld.screen.model import Model
from toowld.screen.snapshots import Snapshot
from toowld.wire.messages import Size

#: Where nothing is known.
_USUAL = Size(rows=24, cols=80)
#: What ends any sequence whose rest will never come; strings end at ST in those models that let them run on.
_ABORT = b"\x18\x1b\\"


@define
class Followed:
    """A model, and the seq up to which it has seen the output. ``snapshot``: where it began, from the disk."""

    model: Model
    seq: int
    size: Size
    snapshot: int | None


def follow(folder: Path, *, limit: int | None = None, until: int | None = None) -> Followed:
    """The screen at the end of a session's log.

    Args:
        folder: of the session: its log, and perhaps a snapshot.
        limit: stop after so many bytes of output.
        until: stop at this seq, unless there is a snapshot from behind it.

    Raises:
        ScreenUnavailable: there is no terminal emulator here.
        PermissionError: the log is not ours to read.
    """
    reader = LogReader(folder)
    followed = _begin(folder, reader)
    return _play(followed, reader.records(followed.seq), limit, until)


def play(records: Iterable[LogRecord | GapMark]) -> Followed:
    """The screen that a log leads to, from its beginning: where its files are not to be had.

    Raises:
        ScreenUnavailable: there is no terminal emulator here.
    """
    return _play(Followed(Model(_USUAL), 0, _USUAL, None), records)


def _play(
    followed: Followed,
    records: Iterable[LogRecord | GapMark],
    limit: int | None = None,
    until: int | None = None,
) -> Followed:
    feed = _Feed(followed)
    for item in records:
        if until is not None and followed.seq >= until:
            break
        if isinstance(item, GapMark):
            feed.gap(item)
        elif item.type == OUTPUT:
            end = item.end if until is None else min(item.end, until)
            feed.output(item.payload[: end - item.seq], end)
            if limit is not None and feed.fed >= limit and feed.settled:
                break
        elif (size := item.size) is not None:
            feed.resize(size)
    feed.finish()
    return followed


def store(folder: Path, followed: Followed) -> bool:
    """Leave a snapshot for the next time; whether that worked.

    Raises:
        OSError: the disk takes none.
    """
    try:
        data = followed.model.snapshot()
    except ScreenError:  # in the middle of a picture: another time
        return False
    snapshots.save(folder, Snapshot(followed.seq, followed.size, data))
    return True


def _begin(folder: Path, reader: LogReader) -> Followed:
    found = snapshots.load(folder)
    # What the log has lost (a power cut) was perhaps never seen by anybody else; and its numbers may come again.
    if found is not None and found.seq <= reader.end:
        with contextlib.suppress(ScreenError):  # damaged in a way that the CRC knows nothing of: our own bug
            return Followed(Model.restore(found.data), found.seq, found.size, found.seq)
    return Followed(Model(_USUAL), 0, _USUAL, None)


class _Feed:
    """What the log has, in the form that a terminal gets it."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._size: Size | None = None  # from here on; a log tells sizes again that are known
        self._start: SafeStart | None = None  # after a gap: until it is clear where output begins
        self.fed = 0

    @property
    def settled(self) -> bool:
        """Whether all that was read is in the model."""
        return self._start is None

    def output(self, data: bytes, end: int) -> None:
        self._followed.seq = end
        self.fed += len(data)
        self._resize()
        if self._start is not None:
            self._start.feed(data)
            if not self._start.decided:
                return
            data = self._after_gap()
        self._followed.model.feed(data)

    def gap(self, mark: GapMark) -> None:
        self._followed.seq = max(self._followed.seq, mark.end)
        if mark.size == 0:  # damage that hit no output
            return
        self._followed.model.feed(_ABORT)
        self._start = SafeStart()

    def resize(self, size: Size) -> None:
        self._size = size

    def finish(self) -> None:
        """No more for now."""
        self._resize()
        if self._start is not None:
            self._followed.model.feed(self._after_gap())

    def _resize(self) -> None:
        if self._size is not None and self._size != self._followed.size:
            self._followed.model.resize(self._size)
            self._followed.size = self._size
        self._size = None

    def _after_gap(self) -> bytes:
        assert self._start is not None
        data = bytes(self._start.data[self._start.skip() :])
        self._start = None
        return data
