"""Damaged logs: nothing raises, nothing is invented, every hole is announced."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toowld.log import OUTPUT, GapMark, LogReader, LogRecord, LogWriter, write_cast
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)
WRITTEN = b"".join(b"%09d\n" % number for number in range(4000))


def make_log(folder: Path) -> None:
    """40 kB in several segments and records of many lengths."""
    log = LogWriter(folder, "s", size=SIZE, limit=64 << 10, segment_bytes=12 << 10)
    at = 0
    for number in range(10**6):
        length = (number * 37) % 600 + 1
        log.append(WRITTEN[at : at + length])
        at += length
        if number % 20 == 0:
            log.resize(Size(rows=number % 40 + 1, cols=80))
        if at >= len(WRITTEN):
            break
    log.mark("exit", reason="exited", code=0, signal=None)
    log.close()
    assert len(list(folder.iterdir())) >= 4


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "log"
    make_log(folder)
    return folder


def check_reader(folder: Path) -> int:
    """What is read was written, in order, and holes are announced. Returns the number of bytes that are read."""
    expected = got = 0
    for item in LogReader(folder).records():
        if isinstance(item, GapMark):
            assert item.start == expected and item.end >= item.start
            expected = item.end
        elif isinstance(item, LogRecord) and item.type == OUTPUT:
            assert item.seq == expected
            assert item.payload == WRITTEN[item.seq : item.end]
            expected = item.end
            got += len(item.payload)
    return got


def check_writer(folder: Path) -> None:
    log = LogWriter(folder, "s", size=SIZE, limit=64 << 10, segment_bytes=12 << 10)
    assert not log.degraded
    end = log.end
    log.append(b"going on")
    cursor = log.cursor(0)
    while True:
        data = cursor.read(777)
        begin = cursor.seq - len(data)
        for at in range(len(data)):
            seq = begin + at
            assert data[at] == (WRITTEN[seq] if seq < end else b"going on"[seq - end])
        if not data:
            break
    assert cursor.seq == log.end == end + 8
    log.close()


def damage(segments: list[Path], kind: str, which: int, where: int, value: int) -> None:
    path = segments[which % len(segments)]
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
        return
    if not content:
        return
    where %= len(content)
    if kind == "flip":
        content[where] ^= value
    elif kind == "truncate":
        del content[where:]
    elif kind == "zero":
        content[where : where + value * 20] = bytes(len(content[where : where + value * 20]))
    elif kind == "insert":
        content[where:where] = bytes([value]) * 10
    elif kind == "cut":
        del content[where : where + value]
    path.write_bytes(content)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["flip", "flip", "truncate", "zero", "insert", "cut", "delete"]),
            st.integers(0, 20), st.integers(0, 1 << 16), st.integers(1, 255),
        ),
        max_size=4,
    )
)  # fmt: skip
def test_any_damage(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, wounds: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "log"
    shutil.copytree(pristine, folder)
    for wound in wounds:
        if segments := sorted(folder.iterdir()):
            damage(segments, *wound)
    check_reader(folder)
    reader = LogReader(folder)
    assert reader.start <= reader.end <= len(WRITTEN)
    reader.last_exit()
    assert len(reader.tail(5000)) <= 5000
    check_writer(folder)
    shutil.rmtree(folder)


def test_undamaged(pristine: Path) -> None:
    assert check_reader(pristine) == len(WRITTEN)
    assert LogReader(pristine).last_exit() == {"kind": "exit", "reason": "exited", "code": 0, "signal": None}


def test_each_torn_tail_is_cut_at_the_last_good_record(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "s", size=SIZE)
    log.append(b"good")
    good = log.bytes_used
    log.append(b"torn")
    log.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(good + 1, len(whole)):
        path.write_bytes(whole[:length])
        items = list(LogReader(tmp_path).records())
        assert not any(isinstance(item, GapMark) for item in items)  # as while a writer is at it
        log = LogWriter(tmp_path, "s", size=SIZE)
        assert log.end == 4
        log.append(b"next")
        log.close()
        assert b"".join(LogReader(tmp_path).output()) == b"goodnext"
        assert not any(isinstance(item, GapMark) for item in LogReader(tmp_path).records())
        assert log.bytes_used == LogReader(tmp_path).bytes_used
        (tmp_path / "00000000000000000004.log").unlink()


def test_a_flip_in_the_last_record_is_told(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "s", size=SIZE)
    log.append(b"good")
    log.append(b"bad")
    log.close()
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert list(LogReader(tmp_path).records())[-1] == GapMark(4, 4, "damaged")


def test_missing_segment_is_told(pristine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(pristine, folder)
    paths = sorted(folder.iterdir())
    start, end = int(paths[1].stem), int(paths[2].stem)
    paths[1].unlink()
    gaps = [item for item in LogReader(folder).records() if isinstance(item, GapMark)]
    assert gaps == [GapMark(start, end, "missing")]
    paths[0].unlink()
    assert next(iter(LogReader(folder).records())) == GapMark(0, end, "dropped")


def test_folder_deleted_under_the_writer(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = LogWriter(folder, "s", size=SIZE, limit=64 << 10, segment_bytes=4 << 10)
    log.append(WRITTEN[:1000])
    shutil.rmtree(folder)
    log.append(WRITTEN[1000:2000])
    assert not log.sync() and log.degraded
    log.append(WRITTEN[2000:3000])
    assert log.retry() and not log.degraded
    assert (log.start, log.end) == (2000, 3000)
    log.append(WRITTEN[3000:9000])
    log.close()
    assert check_reader(folder) == 7000
    assert next(iter(LogReader(folder).records())) == GapMark(0, 2000, "dropped")


def test_segment_cut_under_a_cursor(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "s", size=SIZE)
    for at in range(0, 4000, 100):
        log.append(WRITTEN[at : at + 100])
    cursor = log.cursor(0)
    (path,) = tmp_path.iterdir()
    os.truncate(path, 1000)
    seen = b""
    while part := cursor.read(64):
        seen += part
    assert WRITTEN.startswith(seen) and cursor.seq == log.end


def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """To before the first record, and once more over a restart: the order is that of the seqs, not of the times."""
    wall = iter(range(2_000_000_000_000_000_000, 0, -1_000_000_000_000_000))
    for part in range(2):
        log = LogWriter(tmp_path, "s", size=SIZE, wall=lambda: next(wall))
        for number in range(50):
            at = (part * 50 + number) * 10
            log.append(WRITTEN[at : at + 10])
        assert log.read(0, 5000) == (0, WRITTEN[: log.end])
        log.close()
    assert check_reader(tmp_path) == 1000
    out = io.BytesIO()
    write_cast(LogReader(tmp_path).records(), out)
    times = [json.loads(line)[0] for line in out.getvalue().splitlines()[1:]]
    assert times == sorted(times)
