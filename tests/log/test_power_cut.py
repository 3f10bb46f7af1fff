"""The power goes at any moment: what was synced is there, nothing is invented, no number is used twice.

`Platter` watches what a writer does to its folder, and knows what a disk must have of it: file data since the file's
last sync, and names since the folder's last sync, may be there or not, in any combination.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toowld.log.folder
import toowld.log.sync
import toowld.log.writer
from toowld.log import OUTPUT, GapMark, LogReader, LogRecord, LogWriter
from toowld.wire import SEQ_LEAP, Size, seq_after_loss

SIZE = Size(rows=24, cols=80)
LIMIT = 64 << 10
PAGE = 4096


class Platter:
    """Stands in for the writer's ``os``: everything happens as always, and syncs are noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[int, bytes] = {}  # by inode: content at its last sync
        self.names: dict[str, int] = {}  # name → inode, at the folder's last sync
        self.held: list[int] = []  # no inode number is used twice while a descriptor is open on it
        self.seen: dict[str, set[int]] = {}  # which inodes a name ever had

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            inode = os.fstat(fd).st_ino
            if inode not in self.seen.setdefault(Path(path).name, set()):
                self.seen[Path(path).name].add(inode)
                self.held.append(os.open(path, os.O_RDONLY))
        return fd

    def fdatasync(self, fd: int) -> None:
        about = os.fstat(fd)
        reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        self.files[about.st_ino] = os.pread(reading, about.st_size, 0)
        os.close(reading)

    def fsync(self, fd: int) -> None:
        self.names = {path.name: path.stat().st_ino for path in self.folder.iterdir()}

    def cut(self, target: Path, chance: random.Random) -> None:
        """What a machine that lost its power may find."""
        target.mkdir()
        now = {path.name: path.stat().st_ino for path in self.folder.iterdir()}
        contents = {os.fstat(fd).st_ino: os.pread(fd, 1 << 20, 0) for fd in self.held}
        for name in sorted(self.names | now | dict.fromkeys(self.seen, 0)):
            options = {self.names.get(name), now.get(name)}  # the folder's change got there, or not
            inode = chance.choice(sorted(options, key=str))
            if inode is None:
                continue
            target.joinpath(name).write_bytes(self._file(inode, contents.get(inode, b""), chance))

    def _file(self, inode: int, content: bytes, chance: random.Random) -> bytes:
        synced = self.files.get(inode, b"")
        length = chance.choice((len(synced), len(content), chance.randint(0, max(len(content), 1))))
        length = max(min(length, len(content)), len(synced))
        data = bytearray(content[:length].ljust(length, b"\0"))
        if chance.random() < 0.5:  # pages reach the disk in any order; those that did not are zeroes
            for page in range(len(synced) // PAGE, -(-length // PAGE)):
                if chance.random() < 0.3:
                    begin = max(page * PAGE, len(synced))
                    end = max(min(page * PAGE + PAGE, length), begin)
                    data[begin:end] = bytes(end - begin)
        return bytes(data)

    def release(self) -> None:
        for fd in self.held:
            os.close(fd)


def truth(seq: int, length: int) -> bytes:
    """The bytes from ``seq`` on: each life and each place has its own."""
    first = seq // 8
    cells = b"".join(
        b"%07x\n" % (number * 2654435761 % (1 << 28)) for number in range(first, first + length // 8 + 2)
    )
    return cells[seq - first * 8 :][:length]


def check(folder: Path, floor: int, synced: tuple[int, int]) -> None:
    """Nothing raises, nothing is wrong; what was synced and not dropped since is there."""
    got: list[tuple[int, int]] = []
    expected = 0
    for item in LogReader(folder).records():
        if isinstance(item, GapMark):
            assert item.start == expected <= item.end
            expected = item.end
        elif isinstance(item, LogRecord) and item.type == OUTPUT:
            assert item.seq == expected
            assert item.payload == truth(item.seq, len(item.payload))
            got.append((item.seq, item.end))
            expected = item.end
    start, end = synced
    for begin, stop in got:
        if begin <= start < stop:
            start = stop
    assert start >= end, f"lost what was synced: from {start} to {end}, have {got}"
    log = LogWriter(folder, "s", size=SIZE, limit=LIMIT, seq=floor)
    assert log.end >= floor
    log.append(b"\x1b[mnew life\n")
    cursor = log.cursor(0)
    at = log.end - 12
    while data := cursor.read(5000):
        begin = cursor.seq - len(data)
        for offset, byte in enumerate(data):
            seq = begin + offset
            assert byte == (truth(seq, 1)[0] if seq < at else b"\x1b[mnew life\n"[seq - at])
    log.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "sync", "aside", "mark", "full", "room"]),
        st.integers(1, 9000),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 1 << 32), first=st.sampled_from([0, SEQ_LEAP]))
def test_any_power_cut(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], seed: int, first: int
) -> None:
    root = tmp_path_factory.mktemp("power")
    folder = root / "log"
    folder.mkdir()
    platter = Platter(folder)
    full = False

    def writev(fd: int, buffers: Sequence[Any]) -> int:
        if full:
            raise OSError(28, os.strerror(28))
        return os.writev(fd, buffers)

    with pytest.MonkeyPatch.context() as patch:
        for module in (toowld.log.writer, toowld.log.folder, toowld.log.sync):
            patch.setattr(module, "os", platter)
        log = LogWriter(folder, "s", size=SIZE, limit=LIMIT, segment_bytes=16 << 10, seq=first, writev=writev)
        synced = first
        pending: tuple[Any, int] | None = None
        for what, number in steps:
            if what == "append":
                log.append(truth(log.end, number))
            elif what == "mark":
                log.mark("any", number=number)
            elif what == "sync":
                if pending is not None:  # overtaken
                    pending[0].close()
                    pending = None
                if log.sync():
                    synced = log.end
            elif what == "aside":  # begins now, and ends at the next of these
                if pending is not None:
                    sync, end = pending
                    sync.run()
                    log.end_sync(sync)
                    synced, pending = max(synced, end), None
                elif not log.degraded and (begun := log.begin_sync()) is not None:
                    pending = (begun, log.end)
            elif what == "full":
                full = True
            elif what == "room":
                full = False
                log.retry()
        start, end = log.start, log.end
        if pending is not None:
            pending[0].close()
    chance = random.Random(seed)
    for number in range(3):
        target = root / f"cut{number}"
        platter.cut(target, chance)
        check(target, seq_after_loss(first), (max(start, first), max(synced, start, first)))
    assert end < seq_after_loss(first)
    platter.release()


def test_the_seq_after_a_loss_is_beyond_all_that_was_seen() -> None:
    for end in (0, 1, 4711, SEQ_LEAP - 1, SEQ_LEAP, SEQ_LEAP + 1, 7 * SEQ_LEAP // 2):
        after = seq_after_loss(end)
        assert after % SEQ_LEAP == 0 and SEQ_LEAP // 2 <= after - end <= 2 * SEQ_LEAP
    assert seq_after_loss(0) == SEQ_LEAP


def test_replay_over_a_loss(tmp_path: Path) -> None:
    """What is shown of the scrollback is counted in bytes that are there."""
    log = LogWriter(tmp_path, "s", size=SIZE)
    log.append(b"before\n" * 1000)
    log.close()
    log = LogWriter(tmp_path, "s", size=SIZE, seq=seq_after_loss(7000))
    log.append(b"\x1b[mafter\n")
    assert log.replay_start(1 << 20) == 0
    assert log.replay_start(9) == SEQ_LEAP and log.replay_start(9 + 70) == 6930
    assert log.read(7000, 100) == (SEQ_LEAP, b"\x1b[mafter\n")
    assert log.read(7100, 100) == (SEQ_LEAP, b"\x1b[mafter\n")  # seen, and lost since
    reader = LogReader(tmp_path)
    (gap,) = [item for item in reader.records() if isinstance(item, GapMark)]
    assert gap == GapMark(7000, SEQ_LEAP, "missing") and gap.size is None
    assert reader.tail(16) == b"before\n\x1b[mafter\n"
    log.close()
