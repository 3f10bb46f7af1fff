"""Recordings: their text is the log's, their time never steps back, and asciinema plays them."""

from __future__ import annotations

import codecs
import io
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.log import MARK, OUTPUT, RESIZE, GapMark, LogReader, LogRecord, LogWriter, write_cast
from toowld.log.format import pack_mark, pack_size
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)


def cast(records: Iterable[LogRecord | GapMark], **options: Any) -> tuple[dict[str, Any], list[list[Any]]]:
    out = io.BytesIO()
    write_cast(records, out, **options)
    header, *events = map(json.loads, out.getvalue().splitlines())
    return header, events


def text(events: list[list[Any]]) -> str:
    return "".join(data for _, kind, data in events if kind == "o")


def output(seq: int, payload: bytes, wall: int = 0, mono: int = 0) -> LogRecord:
    return LogRecord(OUTPUT, seq, wall, mono, payload)


def mark(kind: str, wall: int = 0, mono: int = 0, **fields: Any) -> LogRecord:
    return LogRecord(MARK, 0, wall, mono, pack_mark(kind, fields))


def segment(boot: str, wall: int, mono: int, size: Size = SIZE) -> LogRecord:
    return mark("segment", wall, mono, rows=size.rows, cols=size.cols, boot=boot)


@pytest.mark.parametrize("version", [2, 3])
@given(st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=5).map(str.encode))))
def test_text_is_the_decoded_output(version: int, pieces: list[bytes]) -> None:
    seq, records = 0, []
    for number, piece in enumerate(pieces):
        records.append(output(seq, piece, number, number))
        seq += len(piece)
    expected = codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(pieces), final=True)
    _, events = cast(records, version=version)
    assert text(events) == expected


TIMES = st.integers(0, 10**12)


@given(st.lists(st.tuples(TIMES, TIMES, st.sampled_from(["a", "b", None]))))
def test_time_never_steps_back(stamps: list[tuple[int, int, str | None]]) -> None:
    records: list[LogRecord] = []
    for wall, mono, boot in stamps:
        records += [segment(boot, wall, mono)] if boot else []
        records.append(output(len(records), b"x", wall, mono))
    _, events = cast(records)
    times = [event[0] for event in events]
    assert times == sorted(times) and all(time >= 0 for time in times)
    _, relative = cast(records, version=3)
    assert all(event[0] >= 0 for event in relative)
    assert sum(event[0] for event in relative) == pytest.approx(times[-1] if times else 0, rel=1e-9, abs=1e-5)


def test_time_over_boots() -> None:
    second = 1_000_000
    _, events = cast([
        segment("a", 1000 * second, 50 * second),
        output(0, b"0", 1000 * second, 50 * second),
        output(1, b"1", 500 * second, 51 * second),  # the wall clock was set back
        segment("b", 600 * second, 3 * second),
        output(2, b"2", 600 * second, 3 * second),
        segment("c", 10 * second, 900 * second),  # set back over a boot
        output(3, b"3", 10 * second, 900 * second),
        output(4, b"4", 11 * second, 902 * second),
        output(5, b"5", 16 * second, 2 * second),  # the mark of that boot was damaged
    ])  # fmt: skip
    assert [event[0] for event in events] == [0, 1, 101, 101, 103, 108]


def test_header_and_events() -> None:
    records = [
        segment("a", 1_700_000_000_500_000, 0),
        mark("start", 1_700_000_000_500_000, 0, argv=["vim", "a b"]),
        output(0, b"hi", 0, 1_500_000),
        LogRecord(RESIZE, 2, 0, 2_000_000, pack_size(Size(rows=30, cols=100))),
        segment("a", 0, 2_000_000, Size(rows=30, cols=100)),
        mark("exit", 0, 3_000_000, reason="exited", code=7, signal=None),
        mark("respawn", 0, 4_000_000, argv=["sh"]),
        output(2, b"again", 0, 4_000_000),
        mark("exit", 0, 5_000_000, reason="exited", code=None, signal=9),
    ]
    header, events = cast(records, title="t", idle_limit=2.5, env={"TERM": "xterm"})
    assert header == {
        "version": 2, "width": 80, "height": 24, "timestamp": 1_700_000_000, "command": "vim 'a b'",
        "title": "t", "idle_time_limit": 2.5, "env": {"TERM": "xterm"},
    }  # fmt: skip
    assert events == [
        [1.5, "o", "hi"], [2.0, "r", "100x30"], [4.0, "m", "ended (exited 7)"], [4.0, "m", "restarted"],
        [4.0, "o", "again"], [5.0, "m", "ended (signal 9)"],
    ]  # fmt: skip
    header, events = cast(records, version=3, command="c", env={"TERM": "xterm"})
    assert header == {
        "version": 3, "term": {"cols": 80, "rows": 24, "type": "xterm"}, "timestamp": 1_700_000_000,
        "command": "c", "env": {"TERM": "xterm"},
    }  # fmt: skip
    assert events[:2] == [[1.5, "o", "hi"], [0.5, "r", "100x30"]] and events[-1] == [1.0, "x", "137"]


def test_empty_and_unknown() -> None:
    assert cast([]) == ({"version": 2, "width": 80, "height": 24}, [])
    assert cast([LogRecord(99, 0, 0, 0, b"from the future")])[1] == []
    with pytest.raises(ValueError, match="version 1"):
        cast([], version=1)


def test_gaps_are_markers_and_characters_are_not_joined_over_them() -> None:
    header, events = cast([
        GapMark(0, 100, "dropped"), segment("a", 0, 0), output(100, b"a\xe2\x82"),
        GapMark(103, 110, "damaged"), output(110, b"\xacb"), GapMark(112, 112, "damaged"),
    ])  # fmt: skip
    assert "100 bytes" in header["note"]
    assert [kind for _, kind, _ in events] == ["m", "o", "o", "m", "o", "m"]
    assert events[0][2] == header["note"] and text(events) == "a\ufffd\ufffdb"


def test_truncated_log(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "s", size=SIZE, limit=16 << 10)
    for number in range(3000):
        log.append(b"line %d\r\n" % number)
    header, events = cast(LogReader(tmp_path).records())
    assert events[0][1] == "m" and f"{log.start} bytes" in events[0][2] and events[0][2] == header["note"]
    assert text(events).encode() == b"".join(LogReader(tmp_path).output())


def test_progress() -> None:
    told: list[int] = []
    piece = bytes(100_000)
    cast((output(number * len(piece), piece) for number in range(30)), progress=told.append)
    assert len(told) == 3 and told == sorted(told) and told[-1] == 3_000_000


@pytest.mark.parametrize("truncated", [False, True])
def test_asciinema_plays_it(tmp_path: Path, truncated: bool) -> None:
    if shutil.which("asciinema") is None or shutil.which("script") is None:
        pytest.skip("needs asciinema and script (apt install asciinema bsdutils)")
    log = LogWriter(tmp_path / "log", "s", size=SIZE, limit=16 << 10)
    log.mark("start", argv=["sh"], boot="b")
    pieces = [b"\x1b[1;31mred\x1b[0m\r\n", "split €".encode()[:-1], "€".encode()[-1:], b" \xff\xfe\r\n"]
    for piece in pieces * (1000 if truncated else 1):
        log.append(piece)
    log.resize(Size(rows=10, cols=40))
    log.append(b"end\r\n")
    log.mark("exit", reason="exited", code=0, signal=None)
    log.close()
    reader = LogReader(tmp_path / "log")
    with open(tmp_path / "x.cast", "wb") as out:
        write_cast(reader.records(), out)
    # An open stdin: at its end, script would type Ctrl-D.
    with subprocess.Popen(
        ["script", "-qec", f"stty raw -echo; asciinema cat {tmp_path}/x.cast", "/dev/null"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as player:  # fmt: skip
        assert player.stdout is not None
        shown = player.stdout.read()
        assert player.wait() == 0
    expected = b"".join(reader.output()).decode(errors="replace")
    assert shown.decode() == expected and (reader.start > 0) == truncated
