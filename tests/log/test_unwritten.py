"""A degraded log, read from outside: its files, and what its writer has in memory, are one log."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import toowld.log.writer
from tests.log.test_degraded import Disk, open_log
from toowld.log import OUTPUT, RESIZE, GapMark, LogReader, LogRecord
from toowld.log.unwritten import with_unwritten
from toowld.wire import Size


def pages(log: toowld.log.writer.LogWriter, seq: int, limit: int) -> Iterator[LogRecord]:
    """What is in memory, page by page; output in it comes once."""
    following: int | None = seq
    while following is not None:
        before = following
        records, following = log.ring.page(before, limit)
        assert following is None or following > before, "leads nowhere"
        assert not records or records[0].type == RESIZE
        yield from records


@settings(max_examples=200)
@example(seed=3891632672, limit=1)  # nothing comes behind `seq`, and the size of before is in memory only
@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([1, 300, 1 << 20]))
def test_nothing_is_missed_and_nothing_told_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, limit: int
) -> None:
    """Whatever reaches the disk between the two readings. Memory lets go of the oldest, which is a gap."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("log")
    disk = Disk()
    told = b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toowld.log.writer, "RING_BYTES", 3000)
        log = open_log(folder, disk)
        for _ in range(chance.randint(1, 60)):
            data = chance.randbytes(chance.randint(1, 200))
            match chance.randint(0, 5):
                case 0:
                    disk.error = chance.choice([None, errno.ENOSPC])
                case 1:
                    log.retry()
                case 2:
                    log.resize(Size(rows=24, cols=chance.randint(80, 99)))
                case _:
                    log.append(data)
                    told += data
        size, degraded = log.size, log.degraded
        seq = chance.randint(0, len(told))
        memory = list(pages(log, seq, limit))
        assert degraded or not memory
        disk.error = chance.choice([None, errno.ENOSPC])
        if chance.random() < 0.5:
            log.retry()
        found = list(with_unwritten(LogReader(folder).records(seq), memory, seq))
        log.close()
    end = seq
    for item in found:
        if isinstance(item, GapMark):
            assert item.start == end
        elif item.type == OUTPUT:
            assert item.seq == end
            assert item.payload == told[item.seq : item.end]
        end = max(end, item.end)
    assert end == len(told)
    sizes = [item.size for item in found if isinstance(item, LogRecord) and item.size]
    assert not sizes or sizes[-1] == size


def test_a_page_begins_with_the_size_of_the_terminal(tmp_path: Path) -> None:
    disk = Disk()
    log = open_log(tmp_path, disk)
    disk.error = errno.ENOSPC
    log.append(b"one")
    log.resize(Size(rows=9, cols=99))
    log.append(b"two")
    first, following = log.ring.page(0, 1)
    assert [(item.type, item.seq) for item in first] == [(RESIZE, 0), (OUTPUT, 0)]
    assert first[0].size == Size(rows=24, cols=80)
    assert following == 3
    second, end = log.ring.page(following, 1)
    assert [(item.type, item.seq) for item in second] == [(RESIZE, 3), (RESIZE, 3), (OUTPUT, 3)]
    assert second[1].size == Size(rows=9, cols=99)
    assert end is None
    middle, _ = log.ring.page(4, 1)
    assert [item.size for item in middle if item.size] == [Size(rows=9, cols=99)]
    behind, end = log.ring.page(6, 1)
    assert [(item.type, item.seq, item.size) for item in behind] == [(RESIZE, 6, Size(rows=9, cols=99))]
    assert end is None
