"""The writing side of a scrollback log: one `LogWriter` per running session, in the process that owns its PTY.

Knows files, not sessions: no sockets, no clients, no timers of its own. It never raises for I/O after
construction or in it: a disk that takes nothing makes the log *degraded*, the output goes to a bounded
ring in memory, and `LogWriter.retry` brings it to disk later. The child is never blocked or killed for a disk.

Crash safety: a record is one ``writev`` into the page cache, so it survives this process; `LogWriter.sync` makes
it survive a power cut. A record that is only partly there at the end of the newest segment is cut off when
the log is continued.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from toowld.log.cursor import Cursor, replay_start
from toowld.log.format import (
    FORMAT,
    HEADER_BYTES,
    MARK,
    MAX_PAYLOAD,
    OUTPUT,
    RESIZE,
    LogRecord,
    header,
    pack_mark,
    pack_size,
)
from toowld.log.ring import Ring
from toowld.log.segments import PIECE, SegmentScan, list_segments, open_segment, segment_name
from toowld.wire.messages import Size

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_LIMIT = 64 << 20

#: Below this a log could not hold a screenful of a busy program.
MIN_LIMIT = 16 << 10

#: Memory of one degraded log: with 500 sessions on a full disk still only 2 GB, and some minutes of a build.
RING_BYTES = 4 << 20

#: A seq with its place in the file is remembered this often, so that a cursor need not scan from the start.
_INDEX_STEP = 128 << 10

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read_boot_id() -> str:
    """Names this boot of the machine: monotonic clocks compare only within one. Empty if it can't be told."""
    try:
        with open(_BOOT_ID) as file:
            return file.read().strip()
    except OSError:
        return ""


class Segment:
    """One segment file, as the writer knows it. ``size``: bytes of whole records in it."""

    __slots__ = ("index", "path", "seq", "size", "unsynced")

    def __init__(self, path: str, seq: int, size: int) -> None:
        self.path = path
        self.seq = seq
        self.size = size
        self.index: list[tuple[int, int]] = [(seq, 0)]
        self.unsynced = False


class Sync:
    """What is to be brought to the disk platter. `run` may be called from any thread: it shares nothing."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.new_names = False
        self.error: OSError | None = None
        self._fds: list[tuple[int, Callable[[int], None]]] = []

    def take(self, segment: Segment, fd: int) -> None:
        """Add a segment; ``fd`` if it is open for writing, else -1.

        Raises:
            OSError: it can't be opened, or was deleted under its writer.
        """
        if fd >= 0:
            if os.fstat(fd).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "the log was deleted", segment.path)
            self._fds.append((os.dup(fd), os.fdatasync))
        else:
            with suppress(FileNotFoundError):  # dropped in the meantime
                self._fds.append((open_segment(segment.path), os.fdatasync))
        self.segments.append(segment)

    def take_folder(self, folder: str) -> None:
        """Add the names of new segments.

        Raises:
            OSError: the folder can't be opened.
        """
        # Not fdatasync: ext4 may leave out new names, which are no "data" of a folder.
        self._fds.append((os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), os.fsync))
        self.new_names = True

    def run(self) -> None:
        """Wait for the disk. Never raises; `error` says what went wrong."""
        try:
            for fd, bring in self._fds:
                bring(fd)
        except OSError as error:
            self.error = error
        finally:
            self.close()

    def close(self) -> None:
        """Let go."""
        while self._fds:
            try:
                os.close(self._fds.pop()[0])
            except OSError as error:  # NFS tells of a failed write here, too
                self.error = self.error or error


class LogWriter:
    """Continues the log in ``folder``, or begins one.

    Attributes (to read only):
        end: seq of the next output byte.
        size: the terminal's size, as last told.
        degraded: output goes to memory because the disk takes none; ``error`` says why.
        dirty: something is on its way to the disk that `sync` would bring there.
        segments, ring: for `Cursor`.
    """

    def __init__(
        self,
        folder: Path,
        session_id: str,
        *,
        limit: int = DEFAULT_LIMIT,
        segment_bytes: int | None = None,
        size: Size,
        seq: int = 0,
        boot: str | None = None,
        wall: Callable[[], int] = time.time_ns,
        mono: Callable[[], int] = time.monotonic_ns,
        writev: Callable[[int, Sequence[Any]], int] = os.writev,
    ) -> None:
        """Open the log for writing.

        Args:
            limit: of all segments together, in bytes; the oldest segment is dropped when it would be passed.
            segment_bytes: of one segment; a sixteenth of the limit unless given.
            seq: where to go on at least. Give what the session's record says: bytes that clients have seen
                and that a power cut took from the disk must not have their seqs used again.
            boot, wall, mono, writev: for tests.
        """
        self._folder = os.fspath(folder)
        self._session_id = session_id
        self._limit = max(limit, MIN_LIMIT)
        # At least four segments, or dropping one would drop most of what is held.
        self._segment_bytes = min(segment_bytes or max(limit // 16, 64 << 10), self._limit // 4)
        self._largest = min(MAX_PAYLOAD, self._segment_bytes // 2)
        self._boot = read_boot_id() if boot is None else boot
        self._wall = wall
        self._mono = mono
        self._writev = writev

        self.size = size
        self.end = seq
        self.degraded = False
        self.error: str | None = None
        self.dirty = False
        self.segments: list[Segment] = []
        self.ring = Ring(RING_BYTES, size)

        self._fd = -1
        self._current = Segment("", 0, 0)
        self._disk_bytes = 0
        self._index_at = 0
        self._new_names = False
        self._resize_due = False
        self._reading: Cursor | None = None
        self._sync: Sync | None = None  # under way
        self._loaded = False
        try:
            self._load()
            self._open(self.end, size, wall() // 1000, mono() // 1000)
        except OSError as error:
            self._degrade(error)

    # What callers ask

    @property
    def start(self) -> int:
        """The oldest seq that is held."""
        if self.segments:
            return self.segments[0].seq
        first = self.ring.first
        return self.end if first is None else first.seq

    @property
    def bytes_used(self) -> int:
        """Bytes on disk, and in memory while degraded."""
        return self._disk_bytes + self.ring.bytes_used

    def cursor(self, seq: int, *, safe: bool = False) -> Cursor:
        """Read the output from ``seq`` on, in order. ``safe``: begin where text can begin, as after a gap."""
        return Cursor(self, seq, safe=safe)

    def replay_start(self, back: int) -> int:
        """The seq from which on about ``back`` bytes of output are held."""
        return replay_start(self, back)

    def read(self, seq: int, limit: int) -> tuple[int, bytes]:
        """Output from the first held byte at or after ``seq``, with its seq. Empty at the end.

        Cheap for one sequential reader; several want a `cursor` each.
        """
        reading = self._reading
        if reading is None or reading.seq != seq:
            reading = self._reading = Cursor(self, seq)
        data = reading.read(limit)
        return reading.seq - len(data), data

    # What is told

    def append(self, data: bytes) -> None:
        """Add output. One ``writev``, nothing copied; to memory while degraded. Never raises for I/O."""
        length = len(data)
        if length > self._largest:
            for at in range(0, length, self._largest):
                self.append(data[at : at + self._largest])
            return
        if length == 0:
            return
        wall_us = self._wall() // 1000
        mono_us = self._mono() // 1000
        if self._fd >= 0:
            try:
                if self._current.size + HEADER_BYTES + length > self._segment_bytes:
                    self._roll(self.end, self.size, wall_us, mono_us)
                if self._resize_due:
                    self._put(RESIZE, self.end, wall_us, mono_us, pack_size(self.size))
                    self._resize_due = False
                self._put(OUTPUT, self.end, wall_us, mono_us, data)
                self.end += length
                return
            except OSError as error:
                self._degrade(error)
        self._keep(LogRecord(OUTPUT, self.end, wall_us, mono_us, bytes(data)))
        self.end += length

    def resize(self, size: Size) -> None:
        """The terminal has this size from here on."""
        if size == self.size:
            return
        self.size = size
        if self._current.size > self._segment_bytes and self._current.seq == self.end:
            # A client that only resizes must not fill the disk: a segment without output can't be rolled.
            self._resize_due = True
            return
        self._add(RESIZE, pack_size(size))

    def mark(self, kind: str, **fields: Any) -> None:
        """Something happened: "start", "respawn", "exit", … with what CBOR can carry."""
        self._add(MARK, pack_mark(kind, fields))

    def sync(self) -> bool:
        """Bring all to the disk platter (blocks for as long as the disk needs). False if it can't be."""
        if self._sync is not None:  # under way elsewhere, but not known to be done
            self._take_back(self._sync)
        if not self.dirty:
            return not self.degraded
        sync = self.begin_sync()
        if sync is not None:
            sync.run()
            self.end_sync(sync)
        return not self.degraded

    def begin_sync(self) -> Sync | None:
        """Prepare a sync that another thread runs; afterwards, call `end_sync`. None if there is nothing to do.

        At most one is under way. What is written meanwhile is for the next one.
        """
        if not self.dirty or self._sync is not None:
            return None
        sync = Sync()
        try:
            for segment in self.segments:
                if segment.unsynced:
                    sync.take(segment, self._fd if segment is self._current else -1)
            if self._new_names:
                sync.take_folder(self._folder)
        except OSError as error:
            sync.close()
            self._degrade(error)
            return None
        for segment in sync.segments:
            segment.unsynced = False
        self._new_names = False
        self.dirty = False
        self._sync = sync
        return sync

    def end_sync(self, sync: Sync) -> None:
        """The sync has run. Harmless where `sync` or `close` has overtaken it."""
        if sync is not self._sync:
            return
        self._sync = None
        if sync.error is not None:
            self._take_back(sync)
            self._degrade(sync.error)

    def _take_back(self, sync: Sync) -> None:
        """Count what a sync was to bring to the disk as not there."""
        self._sync = None
        for segment in sync.segments:
            segment.unsynced = True
        self._new_names = self._new_names or sync.new_names
        self.dirty = True

    def retry(self) -> bool:
        """While degraded, call about once a second: goes back to disk if that works. True if not degraded."""
        if not self.degraded:
            return True
        try:
            if not self._loaded:
                self._load()
            os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103
            self._forget_missing()
            self._write_ring()
        except OSError as error:
            self._degrade(error)
            return False
        self.degraded = False
        self.error = None
        return True

    def close(self) -> None:
        """Sync and let go. What is only in memory gets a last chance.

        Should something be told nevertheless, the log is degraded, and `retry` opens it again.
        """
        self.retry()
        self.sync()
        self._close_fd()

    # Inside

    def _load(self) -> None:
        """Find the segments of earlier runs, and where they end."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - pathlib costs imports and time
        segments = [Segment(path, seq, os.stat(path).st_size) for seq, path in list_segments(self._folder)]  # noqa: PTH116
        if segments:
            end = _cut_torn_tail(segments[-1])
            first = self.ring.first
            if first is not None and end > first.seq:
                # The folder could not be read before, and holds more than we thought. Destroy nothing.
                raise FileExistsError(errno.EEXIST, "holds output beyond this session's", self._folder)
            self.end = max(self.end, end)
        self.segments = segments
        self._disk_bytes = sum(segment.size for segment in segments)
        self._loaded = True

    def _add(self, record_type: int, payload: bytes) -> None:
        wall_us = self._wall() // 1000
        mono_us = self._mono() // 1000
        if self._fd >= 0:
            try:
                self._put(record_type, self.end, wall_us, mono_us, payload)
                return
            except OSError as error:
                self._degrade(error)
        self._keep(LogRecord(record_type, self.end, wall_us, mono_us, payload))

    def _keep(self, record: LogRecord) -> None:
        """Keep a record in memory."""
        if not self.degraded:
            self._degrade(OSError(errno.EBADF, "the log is closed"))
        self.ring.add(record)

    def _put(self, record_type: int, seq: int, wall_us: int, mono_us: int, payload: bytes) -> None:
        """Write one record to the current segment, whole or not at all.

        Raises:
            OSError: it is not there.
        """
        head = header(record_type, seq, wall_us, mono_us, payload)
        total = HEADER_BYTES + len(payload)
        current = self._current
        written = self._writev(self._fd, (head, payload))
        if written != total:
            self._finish(head + payload, written)
        self.dirty = current.unsynced = True
        if current.size >= self._index_at:
            current.index.append((seq, current.size))
            self._index_at = current.size + _INDEX_STEP
        current.size += total
        self._disk_bytes += total

    def _finish(self, record: bytes, written: int) -> None:
        """Less than a record went out (a nearly full disk, a file size limit): add the rest, or take it back."""
        try:
            while written < len(record):
                more = self._writev(self._fd, (memoryview(record)[written:],))
                if more == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._current.path)
                written += more
        except OSError:
            # Should this fail too, a torn record stays at the end of a segment that is never written again.
            os.ftruncate(self._fd, self._current.size)
            raise

    def _roll(self, seq: int, size: Size, wall_us: int, mono_us: int) -> None:
        """Go on in a new segment. Not if this one has no output yet: the two would have the same name."""
        if self._current.seq != seq:
            self._close_fd()
            self._open(seq, size, wall_us, mono_us)

    def _open(self, seq: int, size: Size, wall_us: int, mono_us: int) -> None:
        """Open the segment that begins at ``seq``, and write its first mark."""
        known = self.segments[-1] if self.segments and self.segments[-1].seq == seq else None
        if known is None:
            self._make_room()
        path = f"{self._folder}/{segment_name(seq)}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        found = os.fstat(self._fd).st_size
        if known is None:
            if found:  # nothing of ours: at best what a failed attempt left
                os.ftruncate(self._fd, 0)
            self._current = Segment(path, seq, 0)
        else:
            self._current = known
            self._take_as_found(known, found)
        self._index_at = self._current.size + _INDEX_STEP
        first = {
            "session": self._session_id,
            "rows": size.rows,
            "cols": size.cols,
            "boot": self._boot,
            "format": FORMAT,
        }
        try:
            self._put(MARK, seq, wall_us, mono_us, pack_mark("segment", first))
        except OSError:
            if known is None:
                os.unlink(path)  # noqa: PTH108
            raise
        if known is None:
            self.segments.append(self._current)
            self._new_names = True
        self._resize_due = False

    def _take_as_found(self, segment: Segment, found: int) -> None:
        """Make sure that a segment that is opened again ends with a whole record."""
        if found > segment.size:
            os.ftruncate(self._fd, segment.size)
        elif found < segment.size:  # someone else cut it; readers see the damage
            self._disk_bytes -= segment.size - found
            segment.size = found
            segment.index = [(segment.seq, 0)]

    def _make_room(self) -> None:
        """Drop the oldest segments until a whole new one fits below the limit."""
        while self.segments and self._disk_bytes + self._segment_bytes > self._limit:
            oldest = self.segments[0]
            with suppress(FileNotFoundError):  # someone else was faster
                os.unlink(oldest.path)  # noqa: PTH108
            del self.segments[0]
            self._disk_bytes -= oldest.size

    def _degrade(self, error: OSError) -> None:
        self._close_fd()
        if not self.ring:
            self.ring.size = self.size
        self.degraded = True
        self.error = f"{error.strerror or error}: {error.filename or self._current.path or self._folder}"

    def _write_ring(self) -> None:
        """Open a new segment and move what memory holds to it. What has been moved stays moved.

        Raises:
            OSError: some is still in memory.
        """
        ring = self.ring
        first = ring.first
        if first is None:
            self._open(self.end, self.size, self._wall() // 1000, self._mono() // 1000)
            return
        # The mark gets the time of what follows it, so that times in a log only grow.
        self._open(first.seq, ring.size, first.wall_us, first.mono_us)
        while (record := ring.first) is not None:
            if self._current.size + HEADER_BYTES + len(record.payload) > self._segment_bytes:
                self._roll(record.seq, ring.size, record.wall_us, record.mono_us)
            self._put(record.type, record.seq, record.wall_us, record.mono_us, record.payload)
            ring.pop()

    def _forget_missing(self) -> None:
        """Someone deleted segments under us: what is gone is not held."""
        self.segments = [segment for segment in self.segments if os.path.exists(segment.path)]  # noqa: PTH110
        self._disk_bytes = sum(segment.size for segment in self.segments)

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # NFS tells of a failed write here; `sync` would have told before
                self.error = str(error)


def _cut_torn_tail(segment: Segment) -> int:
    """Cut what is no whole record off the end. Returns the end of the segment's output."""
    scanner = SegmentScan(segment.seq)
    good = 0
    fd = open_segment(segment.path)
    try:
        while True:
            data = os.pread(fd, PIECE, scanner.offset)
            final = len(data) < PIECE
            for record in scanner.feed(data, final=final):
                if record is not None:
                    good = scanner.offset
            if final:
                break
    finally:
        os.close(fd)
    if good != segment.size:
        os.truncate(segment.path, good)
        segment.size = good
    return scanner.seq
