"""The writing side of a scrollback log: one `LogWriter` per running session, in the process that owns its PTY.

Owns the records: what is written, in which order, with which times, and when a new segment begins. The segment
files are `LogFolder`'s. Knows no sessions: no sockets, no clients, no timers of its own. It never raises for I/O
after construction or in it: a disk that takes nothing makes the log *degraded*, the output goes to a bounded
ring in memory, and `LogWriter.retry` brings it to disk later. The child is never blocked or killed for a disk.

Crash safety: a record is one ``writev`` into the page cache, so it survives this process; `LogWriter.sync` makes
it survive a power cut. A record that is only partly there at the end of the newest segment is cut off when
the log is continued.
"""

from __future__ import annotations

import errno
import os
import time

from toowld.log.cursor import Cursor, replay_start
from toowld.log.folder import LogFolder, Segment
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
from toowld.log.sync import Sync
from toowld.wire.messages import Size
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

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
        fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


class LogWriter:
    """Continues the log in ``folder``, or begins one.

    Attributes (to read only):
        end: seq of the next output byte.
        limit: of all segments together, in bytes.
        size: the terminal's size, as last told.
        degraded: output goes to memory because the disk takes none; ``error`` says why.
        dirty: something is on its way to the disk that `sync` would bring there.
        segments, ring: for `Cursor`.
    """

    def __init__(
        self,
        folder: str | Path,
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
        begin: bool = True,
    ) -> None:
        """Open the log for writing.

        Args:
            limit: of all segments together, in bytes; the oldest segment is dropped when it would be passed.
            segment_bytes: of one segment; a sixteenth of the limit unless given.
            seq: where to go on at least. Give what the session's record says: bytes that clients have seen
                and that a power cut took from the disk must not have their seqs used again.
            boot, wall, mono, writev: for tests.
            begin: touch the files; without it, `thaw` tells how they are.
        """
        self._folder = LogFolder(os.fspath(folder))
        self.set_limit(limit, segment_bytes)
        self._session_id = session_id
        self._boot = read_boot_id() if boot is None else boot
        self._wall = wall
        self._mono = mono
        self._writev = writev

        self.size = size
        self.end = seq
        self.degraded = False
        self.error: str | None = None
        self.dirty = False
        self.ring = Ring(RING_BYTES, size)

        self._fd = -1
        self._current = Segment("", 0, 0)
        self._index_at = 0
        self._resize_due = False
        self._reading: Cursor | None = None
        self._sync: Sync | None = None  # under way
        if not begin:
            return
        try:
            self._load()
            self._open(self.end, size, wall() // 1000, mono() // 1000)
        except OSError as error:
            self._degrade(error)

    # Over an upgrade of the code

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. No sync is under way; a running segment goes on, with its descriptor.

        Args:
            keep: gets each descriptor that is in there, and gives it back.
        """
        assert self._sync is None
        return {
            "folder": pack_text(self._folder.path),
            "session": self._session_id,
            "limit": self.limit,
            "segment_bytes": self._segment_bytes,
            "boot": self._boot,
            "rows": self.size.rows,
            "cols": self.size.cols,
            "end": self.end,
            "degraded": self.degraded,
            "error": self.error,
            "dirty": self.dirty,
            "resize_due": self._resize_due,
            "fd": keep(self._fd) if self._fd >= 0 else None,
            "files": self._folder.freeze(),
            "ring": self.ring.freeze(),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any], take: Callable[[int], int]) -> LogWriter:
        """The opposite of `freeze`; touches no file. ``take`` makes the descriptors ours."""
        writer = cls(
            unpack_text(state["folder"]),
            state["session"],
            limit=state["limit"],
            segment_bytes=state["segment_bytes"],
            size=Size(rows=state["rows"], cols=state["cols"]),
            seq=state["end"],
            boot=state["boot"],
            begin=False,
        )
        writer.degraded = state["degraded"]
        writer.error = state["error"]
        writer.dirty = state["dirty"]
        writer._resize_due = state["resize_due"]
        writer._folder.thaw(state["files"])
        writer.ring.thaw(state["ring"])
        if state["fd"] is not None:
            writer._fd, writer._current = take(state["fd"]), writer.segments[-1]
            writer._index_at = writer._current.size + _INDEX_STEP
        return writer

    def check(self) -> None:
        """Make sure that the files hold what we know of them, at their end. Nothing is known while degraded.

        Raises:
            ValueError, OSError: they don't, or can't be read.
        """
        end = None if self.degraded else self._folder.check_tail()
        if end is not None and end != self.end:
            raise ValueError(f"the log ends at {end}, not at {self.end}: {self._folder.path}")

    # What callers ask

    @property
    def segments(self) -> list[Segment]:
        """The files, oldest first."""
        return self._folder.segments

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
        return self._folder.bytes_used + self.ring.bytes_used

    def cursor(self, seq: int, *, safe: bool = False) -> Cursor:
        """Read the output from ``seq`` on, in order. ``safe``: begin where text can begin, as after a gap."""
        return Cursor(self, seq, safe=safe)

    def replay_start(self, back: int) -> int:
        """The seq from which on about ``back`` bytes of output are held."""
        return replay_start(self, back)

    def set_limit(self, limit: int, segment_bytes: int | None = None) -> None:
        """Hold more, or less: what is too much then goes when the next segment is begun."""
        self.limit = limit = max(limit, MIN_LIMIT)
        # At least four segments, or dropping one would drop most of what is held.
        self._segment_bytes = min(segment_bytes or max(limit // 16, 64 << 10), limit // 4)
        self._largest = min(MAX_PAYLOAD, self._segment_bytes // 2)
        self._folder.limit, self._folder.segment_bytes = limit, self._segment_bytes

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
            if self._folder.new_names:
                sync.take_folder(self._folder.path)
        except OSError as error:
            sync.close()
            self._degrade(error)
            return None
        for segment in sync.segments:
            segment.unsynced = False
        self._folder.new_names = False
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
        self._folder.new_names = self._folder.new_names or sync.new_names
        self.dirty = True

    def retry(self) -> bool:
        """While degraded, call about once a second: goes back to disk if that works. True if not degraded."""
        if not self.degraded:
            return True
        try:
            if not self._folder.loaded:
                self._load()
            self._folder.make()
            self._folder.forget_missing()
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
        first = self.ring.first
        self.end = max(self.end, self._folder.load(None if first is None else first.seq))

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
        self._fd, self._current = self._folder.open(seq)
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
            self._folder.discard(self._current)
            raise
        self._folder.add(self._current)
        self._resize_due = False

    def _degrade(self, error: OSError) -> None:
        self._close_fd()
        if not self.ring:
            self.ring.size = self.size
        self.degraded = True
        self.error = f"{error.strerror or error}: {error.filename or self._current.path or self._folder.path}"

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

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # NFS tells of a failed write here; `sync` would have told before
                self.error = str(error)
