"""A log that is followed in steps while it is written, on real files."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from toowld.log import LogWriter
from toowld.log.segments import list_segments
from toowld.log.trail import Trail
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)
SMALL = 64 << 10


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trail") as name:
        yield Path(name) / "log"


def opened(folder: Path, limit: int = 1 << 30, segment_bytes: int = SMALL) -> LogWriter:
    return LogWriter(folder, "2f3a9c1b", size=SIZE, limit=limit, segment_bytes=segment_bytes)


def read(trail: Trail, until: int) -> bytes:
    return b"".join(trail.read(until))


@pytest.mark.parametrize("seed", range(8))
def test_every_step_reads_what_was_written_since(folder: Path, seed: int) -> None:
    """Of any size, ending anywhere, over many segments, with records of other kinds in between."""
    chance = random.Random(seed)
    log = opened(folder)
    trail = Trail(folder)
    trail.seek(0)
    written = b""
    for _ in range(150):
        for _ in range(chance.randint(0, 4)):
            data = chance.randbytes(chance.choice([1, 10, 3000, 20_000]))
            log.append(data)
            written += data
        if chance.random() < 0.2:
            log.resize(Size(rows=chance.randint(1, 99), cols=80))
        match chance.choice(["read", "read", "read", "seek"]):
            case "read":
                start, until = trail.seq, chance.randint(trail.seq, len(written))
                assert read(trail, until) == written[start:until]
                assert trail.seq == until
            case "seek":
                trail.seek(chance.randint(0, len(written)))
    start = trail.seq
    assert read(trail, len(written)) == written[start:]
    log.close()


def test_no_more_than_there_is(folder: Path) -> None:
    log = opened(folder)
    log.append(b"0123456789")
    trail = Trail(folder)
    trail.seek(4)
    assert read(trail, 100) == b"456789"
    assert trail.seq == 10
    log.append(b"more")
    assert read(trail, 12) == b"mo"
    log.close()


def test_what_was_dropped_is_told_and_found_again_behind(folder: Path) -> None:
    log = opened(folder, limit=4 * SMALL)
    trail = Trail(folder)
    log.append(b"first")
    trail.seek(5)
    for _ in range(200):
        log.append(b"x" * 5000)
    with pytest.raises(FileNotFoundError):
        read(trail, log.end)
    trail.seek(log.end)
    log.append(b"found")
    assert read(trail, log.end) == b"found"
    log.close()


def test_a_leap_of_seq_is_where_it_ends(folder: Path) -> None:
    log = opened(folder)
    log.append(b"before")
    log.close()
    log = LogWriter(folder, "2f3a9c1b", size=SIZE, segment_bytes=SMALL, seq=1 << 40)
    log.append(b"behind")
    trail = Trail(folder)
    trail.seek(2)
    assert read(trail, log.end) == b"fore"
    trail.seek(1 << 40)
    assert read(trail, log.end) == b"behind"
    log.close()


def test_damage_is_where_it_ends(folder: Path) -> None:
    log = opened(folder)
    for _ in range(3):
        log.append(b"0123456789")
    log.close()
    ((_, path),) = list_segments(os.fspath(folder))
    data = bytearray(Path(path).read_bytes())
    data[data.rfind(b"0123456789", 0, -10)] ^= 1  # of the second one
    Path(path).write_bytes(data)
    trail = Trail(folder)
    trail.seek(3)
    assert read(trail, 30) == b"3456789"
    assert trail.seq == 10


def test_without_a_log(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trail(folder).seek(0)
    folder.mkdir()
    trail = Trail(folder)
    trail.seek(5)
    assert read(trail, 10) == b""
    assert trail.seq == 5


def test_a_step_reads_no_more_than_it_has_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of many keys took a fifth of a second, each time."""
    log = opened(folder, segment_bytes=4 << 20)
    for _ in range(3000):
        log.append(b"k")
    trail = Trail(folder)
    trail.seek(3000)
    log.append(b"last")
    count = 0
    original = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        nonlocal count
        data = original(fd, size, offset)
        count += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    assert read(trail, 3004) == b"last"
    assert count < 200
    log.close()
