"""Writer, cursor and reader together, on real files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toowld.log import MARK, OUTPUT, RESIZE, GapMark, LogReader, LogRecord, LogWriter
from toowld.log.segments import list_segments
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)


def open_log(folder: Path, **options: Any) -> LogWriter:
    return LogWriter(folder, "2f3a9c1b", **{"size": SIZE, **options})


def held(folder: Path) -> bytes:
    return b"".join(LogReader(folder).output())


def drain(log: LogWriter, seq: int, piece: int = 1000) -> tuple[bytes, list[tuple[int, int]]]:
    """All that a cursor gives, and the gaps that it shows."""
    cursor = log.cursor(seq)
    data, gaps = b"", []
    while True:
        before = cursor.seq
        part = cursor.read(piece)
        assert len(part) <= piece
        if (begin := cursor.seq - len(part)) != before:
            gaps.append((before, begin))
        if not part:
            assert cursor.seq == log.end
            return data, gaps
        data += part


def numbered(count: int, width: int = 10) -> bytes:
    return b"".join(b"%0*d\n" % (width - 1, number) for number in range(count))


def test_modes_flags_and_first_mark(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    log = open_log(folder, boot="b1")
    log.append(b"hello")
    assert folder.stat().st_mode & 0o777 == 0o700
    (segment,) = folder.iterdir()
    assert segment.name == "00000000000000000000.log"
    assert segment.stat().st_mode & 0o777 == 0o600
    first = next(iter(LogReader(folder).records()))
    assert isinstance(first, LogRecord) and first.type == MARK
    assert first.fields == {
        "kind": "segment", "session": "2f3a9c1b", "rows": 24, "cols": 80, "boot": "b1", "format": 1,
    }  # fmt: skip
    assert first.size == SIZE


def test_records_carry_order_seq_and_times(tmp_path: Path) -> None:
    ticks = iter(range(1_000_000, 10**9, 1_000_000))
    log = open_log(tmp_path, wall=lambda: 5_000_000, mono=lambda: next(ticks))
    log.mark("start", argv=["sh"], pid=7)
    log.append(b"abc")
    log.resize(Size(rows=30, cols=100))
    log.resize(Size(rows=30, cols=100))  # no change, no record
    log.append(b"def")
    log.mark("exit", reason="exited", code=7, signal=None)
    records = [r for r in LogReader(tmp_path).records() if isinstance(r, LogRecord)]
    assert [(r.type, r.seq, r.mono_us) for r in records] == [
        (MARK, 0, 1000), (MARK, 0, 2000), (OUTPUT, 0, 3000), (RESIZE, 3, 4000), (OUTPUT, 3, 5000), (MARK, 6, 6000),
    ]  # fmt: skip
    assert all(r.wall_us == 5000 for r in records)
    assert records[3].size == Size(rows=30, cols=100)
    assert LogReader(tmp_path).last_exit() == {"kind": "exit", "reason": "exited", "code": 7, "signal": None}
    log.mark("respawn", argv=["sh"])
    assert LogReader(tmp_path).last_exit() is None


def test_one_writev_per_append_and_nothing_copied(tmp_path: Path) -> None:
    calls: list[Sequence[Any]] = []

    def writev(fd: int, buffers: Sequence[Any]) -> int:
        calls.append(buffers)
        return os.writev(fd, buffers)

    log = open_log(tmp_path, writev=writev)
    data = b"x" * 4096
    calls.clear()
    log.append(data)
    assert len(calls) == 1 and calls[0][1] is data


def test_continues_where_it_ended(tmp_path: Path) -> None:
    for run in range(4):
        log = open_log(tmp_path)
        assert log.end == run * 6
        log.append(b"run %d\n" % run)
        log.close()
    assert held(tmp_path) == b"run 0\nrun 1\nrun 2\nrun 3\n"
    open_log(tmp_path).close()
    open_log(tmp_path).close()  # nothing was printed: the same segment again
    assert LogReader(tmp_path).end == 24
    assert not [r for r in LogReader(tmp_path).records() if isinstance(r, GapMark)]


def test_seqs_are_not_used_again(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(b"seen")
    log.close()
    log = open_log(tmp_path, seq=100)
    assert (log.start, log.end) == (0, 100)
    log.append(b"\x1b[mnew")
    assert drain(log, 0) == (b"seen\x1b[mnew", [(4, 100)])
    assert GapMark(4, 100, "missing") in list(LogReader(tmp_path).records())


@settings(max_examples=60)
@given(
    pieces=st.lists(st.binary(max_size=3000), max_size=40),
    limit=st.integers(min_value=1, max_value=60_000),
    read=st.integers(min_value=1, max_value=5000),
    restarts=st.sets(st.integers(min_value=0, max_value=39)),
)
def test_what_is_held_is_the_end_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], limit: int, read: int, restarts: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = open_log(folder, limit=limit)
    for number, piece in enumerate(pieces):
        if number in restarts:
            log.close()
            log = open_log(folder, limit=limit)
        log.append(piece)
    written = b"".join(pieces)
    assert log.end == len(written)
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    assert on_disk == log.bytes_used == LogReader(folder).bytes_used <= max(limit, 16 << 10) + 1024
    assert held(folder) == written[log.start :]
    reader = LogReader(folder)
    assert (reader.start, reader.end) == (log.start, log.end)
    for begin in (0, log.start, len(written) // 2, log.end):
        data, gaps = drain(log, begin, read)
        if begin >= log.start:
            assert (data, gaps) == (written[begin:], [])
        else:
            ((gap_start, gap_end),) = gaps
            assert gap_start == begin and gap_end >= log.start
            assert data == written[gap_end:]
        at, got = log.read(max(begin, log.start), read)
        assert got == written[max(begin, log.start) :][: len(got)] and at == max(begin, log.start)
        assert reader.tail(begin) == written[log.start :][-begin:] if begin else True
        assert b"".join(reader.output(begin)) == written[max(begin, log.start) :]
    log.close()


def test_cursor_follows_a_growing_log(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=1 << 20)
    cursor = log.cursor(0)
    seen = b""
    for number in range(3000):
        log.append(b"line %d\n" % number)
        if number % 7 == 0:
            seen += cursor.read(50)
    while part := cursor.read(64 << 10):
        seen += part
    assert seen == b"".join(b"line %d\n" % number for number in range(3000))


def test_cursor_after_a_gap_begins_at_a_line(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=16 << 10)
    cursor = log.cursor(0)
    assert cursor.read(10) == b""
    text = "".join(f"zeile {number} äöü\n" for number in range(5000)).encode()
    for at in range(0, len(text), 701):
        log.append(text[at : at + 701])
    data = cursor.read(1 << 20)
    begin = cursor.seq - len(data)
    assert begin > 0 and text[begin - 1 : begin] == b"\n" and data == text[begin:]


def test_cursor_after_a_gap_without_newline_begins_at_a_character(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=16 << 10)
    text = "€".encode() * 20_000
    for at in range(0, len(text), 700):
        log.append(text[at : at + 700])
    data, gaps = drain(log, 0)
    assert len(gaps) == 1
    assert data and data == text[gaps[0][1] :] and data.decode() == "€" * (len(data) // 3)


def test_safe_cursor_skips_to_a_line_but_never_past_the_end(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(b"first\nsecond\nthird")
    assert log.cursor(2, safe=True).read(100) == b"second\nthird"
    assert log.cursor(15, safe=True).read(100) == b"rd"  # what is cut off may have been the end of a sequence
    at_end = log.cursor(log.end, safe=True)
    assert at_end.read(10) == b""
    log.append(b"more\n")
    assert at_end.read(10) == b"more\n"


def test_reader_beside_a_writer_that_drops_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=64 << 10)
    text = numbered(20_000)
    log.append(text[:50_000])
    found: list[LogRecord | GapMark] = []
    records = LogReader(tmp_path).records()
    found += [next(records) for _ in range(3)]
    for at in range(50_000, len(text), 1000):
        log.append(text[at : at + 1000])
    found += records
    expected = 0
    gaps = 0
    for item in found:
        if isinstance(item, GapMark):
            assert item.start == expected and item.reason == "missing"
            expected = item.end
            gaps += 1
        elif item.type == OUTPUT:
            assert item.seq == expected and item.payload == text[item.seq : item.end]
            expected = item.end
    assert expected == len(text) and gaps == 1


def test_reader_pauses_while_the_writer_goes_on(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=64 << 10, segment_bytes=8 << 10)
    text = numbered(2000)
    log.append(text[:1000])
    seen = b""
    at = 1000
    for item in LogReader(tmp_path).records():
        assert isinstance(item, LogRecord)
        if item.type == OUTPUT:
            assert item.seq == len(seen)
            seen += item.payload
        if at < len(text):  # between any two records, more is written, and segments begin
            log.append(text[at : at + 3000])
            at += 3000
    assert seen == text


def test_reader_in_another_process_sees_only_what_was_written(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from toowld.log import LogWriter
from toowld.wire import Size
log = LogWriter(Path({str(tmp_path)!r}), "s", size=Size(rows=1, cols=1), limit=1 << 20)
for number in range(1500):
    log.append(b"".join(b"%09d\\n" % n for n in range(number * 1000, number * 1000 + 1000)))
"""
    with subprocess.Popen([sys.executable, "-c", script]) as writer:
        rounds = seen = 0
        while writer.poll() is None or rounds == 0:
            rounds += 1
            expected = 0
            for item in LogReader(tmp_path).records():
                if isinstance(item, GapMark):
                    assert item.start == expected and item.reason in ("dropped", "missing")
                    expected = item.end
                elif item.type == OUTPUT:
                    assert item.seq == expected and item.seq % 10_000 == 0
                    assert item.payload[:10] == b"%09d\n" % (item.seq // 10)
                    assert item.payload[-10:] == b"%09d\n" % (item.end // 10 - 1)
                    expected = item.end
            assert expected >= seen
            seen = expected
        assert writer.returncode == 0
    assert LogReader(tmp_path).end == 15_000_000


def test_many_gaps_in_one_cursor(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=16 << 10)
    cursor = log.cursor(0)
    gaps = 0
    for _ in range(1500):
        for _ in range(10):
            log.append(b"x" * 1995 + b"\x1b[m\n")
        before = cursor.seq
        data = cursor.read(3000)
        gaps += cursor.seq - len(data) != before
        assert data
    assert gaps > 500  # between two gaps, what was read ahead


def test_from_seq_tells_size_and_boot_first(tmp_path: Path) -> None:
    log = open_log(tmp_path, boot="b")
    log.append(b"abc")
    log.resize(Size(rows=5, cols=6))
    log.append(b"def")
    log.append(b"ghi")
    mark, resize, *rest = LogReader(tmp_path).records(7)
    assert isinstance(mark, LogRecord) and mark.fields["boot"] == "b"
    assert isinstance(resize, LogRecord) and resize.size == Size(rows=5, cols=6)
    assert [(r.seq, r.payload) for r in rest if isinstance(r, LogRecord)] == [(7, b"hi")]


def test_folder_that_is_missing_or_empty_is_an_empty_log(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        reader = LogReader(folder)
        assert (reader.start, reader.end, reader.bytes_used, reader.last_exit()) == (0, 0, 0, None)
        assert list(reader.records()) == [] and reader.tail(10) == b""


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(b"tOwl")
    (tmp_path / "0.log").write_bytes(b"x")
    (tmp_path / ("9" * 20 + ".log")).write_bytes(b"x")  # no seq is that large
    (tmp_path / "00000000000000000777.log").mkdir()
    (tmp_path / "00000000000000000778.log").symlink_to("/dev/zero")
    log = open_log(tmp_path)
    log.append(b"abc")
    assert held(tmp_path) == b"abc"
    assert (tmp_path / "record").read_bytes() == b"tOwl" and (tmp_path / "0.log").read_bytes() == b"x"


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"tOwl", b"tOwl" * 100])
def test_newest_segment_without_a_record(tmp_path: Path, content: bytes) -> None:
    log = open_log(tmp_path)
    log.append(b"abc")
    log.close()
    (tmp_path / "00000000000000000010.log").write_bytes(content)
    log = open_log(tmp_path)
    assert log.end == 10
    log.append(b"\x1b7def")
    assert drain(log, 0) == (b"abc\x1b7def", [(3, 10)])
    assert held(tmp_path) == b"abc\x1b7def"


def test_resizes_alone_do_not_fill_the_disk(tmp_path: Path) -> None:
    log = open_log(tmp_path, limit=16 << 10)
    for number in range(5000):
        log.resize(Size(rows=number % 50 + 1, cols=7))
    assert log.bytes_used <= 16 << 10
    log.append(b"x")
    *_, resize, output = [r for r in LogReader(tmp_path).records() if isinstance(r, LogRecord)]
    assert resize.size == log.size and output.payload == b"x"


def test_huge_and_undecodable_marks(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.mark("start", argv=["a" * 3_000_000])
    log.mark("respawn", argv=["bad \udcff name"], cwd="/\udcfe")
    log.append(b"x")
    kinds = [
        r.fields.get("kind") for r in LogReader(tmp_path).records() if isinstance(r, LogRecord) if r.fields
    ]
    assert kinds == ["segment", "start", "respawn"]
    assert held(tmp_path) == b"x"


def test_sync_tells_dirty(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(b"x" * 200_000)
    assert log.dirty and log.sync() and not log.dirty and log.sync()
    log.append(b"y")
    assert log.dirty


def test_no_fd_is_left_open(tmp_path: Path) -> None:
    before: Callable[[], int] = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731, PTH208
    count = before()
    log = open_log(tmp_path, limit=16 << 10)
    for _ in range(50):
        log.append(b"x" * 1000)
    drain(log, 0)
    records = LogReader(tmp_path).records()
    next(records)
    records.close()  # type: ignore[attr-defined]
    log.close()
    assert before() == count
    assert len(list_segments(str(tmp_path))) > 1


def test_how_fast_it_grows_of_late(tmp_path: Path) -> None:
    """What was a long time ago, at another pace, does not count: only the newest segments do."""
    now = [1_700_000_000]
    log = open_log(tmp_path, limit=256 << 10, segment_bytes=64 << 10, wall=lambda: now[0] * 10**9)
    reader = LogReader(tmp_path)
    assert reader.rate(now[0]) is None, "it has just begun"
    for pace in (1, 100):
        for _ in range(200):
            now[0] += 1000 // pace
            log.append(b"x" * 1000)
        rate = reader.rate(now[0])
        assert rate is not None and pace * 0.9 < rate < pace * 1.2
    assert reader.rate(now[0] - 10**6) is None, "the clock was set back"
    assert LogReader(tmp_path / "none").rate(now[0]) is None
    log.close()
