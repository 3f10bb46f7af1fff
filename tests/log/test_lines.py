"""Lines of a whole log: the same as character by character, with times, and skipping only what can't match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toowld.log import lines as lines_module
from toowld.log.format import OUTPUT, RESIZE, LogRecord, pack_size
from toowld.log.lines import Blocks, Line, lines
from toowld.log.plain import Needle, plain
from toowld.log.reader import GapMark
from toowld.log.text import text_lines
from toowld.wire import Size

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"

#: What programs print, what could be mistaken for it, and what is broken.
PIECES = st.sampled_from([
    b"a", b"bc", b"ERROR", b"error", b"ER", b"ROR", b" ", b"  ", b"\n", b"\r\n", b"\r\r\n", b"\r", b"\b", b"\t",
    "grün".encode(), "漢字".encode(), "e\u0301".encode(), "\u0301".encode(), "\x9b".encode(), "\x9c".encode(),
    "\u212a".encode(), b"\xff", b"\xe2\x82", b"\xc2", b"\x00", b"\x07", b"\x7f", b"\x01", b"\x02", b"\x03",
    b"\x1b", b"\x1b[", b"\x1b[3", b"\x1b[m", b"\x1b[1;31m", b"\x1b[K", b"\x1b[1K", b"\x1b[2K", b"\x1b[?2K",
    b"\x1b[J", b"\x1b[2J", b"\x1b[C", b"\x1b[3D", b"\x1b[2G", b"\x1b[`", b"\x1b[P", b"\x1b[2@", b"\x1b[X", b"\x1b[H",
    b"\x1b[5;7H", b"\x1b[d", b"\x1b[f", b"\x1b[A", b"\x1b[?25l", b"\x1b[ q", b"\x1b[!p", b"\x1b(B", b"\x1b(P",
    b"\x1b=", b"\x1bD", b"\x1bE", b"\x1bM", b"\x1b7", b"\x1bc", b"\x1b#8", b"\x1b]0;title\x07",
    b"\x1b]8;;http://x\x1b\\", b"\x1b]never", b"\x1bPq#0\x1b\\", b"\x1bPq\n", b"\x1bX", b"\x1b_Gx\x9c",
    b"\x1b^\xc2\x9c", b"\x18", b"\x1a", b"\x1b\\", b"\x0b", b"\x0c", b"D", b"C", b"[", b"]",
])  # fmt: skip
SWITCHES = st.sampled_from([ENTER, LEAVE, b"\x1b[?47h", b"\x1b[?1;1047l", b"\x1bc", b"vim\r\n"])

SCREENS = st.lists(st.one_of(SWITCHES, st.sampled_from([b"a\r\n", b"b", b"\n", b"x\ry"])), max_size=20)


def source(*items: LogRecord | GapMark) -> Callable[[int], Iterator[LogRecord | GapMark]]:
    """As `LogReader.records`."""

    def records(seq: int) -> Iterator[LogRecord | GapMark]:
        for item in items:
            if isinstance(item, GapMark) or item.type != OUTPUT:
                yield item
            elif item.end > seq:
                cut = max(seq - item.seq, 0)
                yield LogRecord(OUTPUT, item.seq + cut, item.wall_us, item.mono_us, item.payload[cut:])

    return records


def outputs(payloads: Sequence[bytes], seq: int = 0) -> list[LogRecord]:
    """Records a second apart."""
    made = []
    for number, payload in enumerate(payloads):
        made.append(LogRecord(OUTPUT, seq, number * 1_000_000, number, payload))
        seq += len(payload)
    return made


def texts(payloads: Sequence[bytes]) -> list[str]:
    return [line.text for line in lines(source(*outputs(payloads)))]


@pytest.fixture(params=[1, 8, 1 << 18])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks so small that everything is cut somewhere."""
    monkeypatch.setattr(lines_module, "_BLOCK", request.param)
    return int(request.param)


@given(st.lists(PIECES, max_size=40), st.integers(1, 60))
@example([b"\x1b]never", b"\x1b[H", b"a"], 1)
def test_as_character_by_character(pieces: list[bytes], size: int) -> None:
    output = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK", size)
        cut = [output[at : at + size] for at in range(0, len(output), size)]
        assert texts(cut) == list(text_lines([output]))


@given(
    SCREENS,
    st.integers(1, 40),
)
def test_alternate_screens(pieces: list[bytes], size: int) -> None:
    output = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK", size)
        cut = [output[at : at + size] for at in range(0, len(output), size)]
        assert texts(cut) == list(text_lines([output]))


@given(
    st.lists(PIECES, max_size=40),
    st.integers(1, 60),
    st.sampled_from(["ERROR", "RO", "E", "bc", "k", "err"]),
    st.booleans(),
)
def test_what_is_skipped_does_not_match(pieces: list[bytes], size: int, text: str, fold: bool) -> None:
    output = b"".join(pieces)
    needle = Needle(text.lower() if fold else text, fold)
    pattern = re.compile(re.escape(text), re.IGNORECASE if fold else 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK", size)
        found = [
            [
                block.line(*found)
                for block in Blocks(source(*outputs([output])))
                for found in block.texts(how)
                if pattern.search(found[1])
            ]
            for how in (None, needle)
        ]
    assert found[0] == found[1]


def test_times_and_places(block: int) -> None:
    records = outputs([b"on", b"e\r\ntwo\r\n", b"\x1b[1mthree\rTH", b"\r\nlast"], seq=100)
    assert list(lines(source(*records), 100)) == [
        Line(1_000_000, 100, "one"),
        Line(1_000_000, 105, "two"),
        Line(3_000_000, 110, "THree"),
        Line(3_000_000, 124, "last"),
    ]


def test_a_gap_ends_a_line(block: int) -> None:
    first, second = outputs([b"\x1b]0;begun"]), outputs([b"rest\n"], seq=50)
    gap = GapMark(9, 50, "damaged")
    assert [line.text for line in lines(source(*first, gap, *second))] == ["rest"]
    first = outputs([b"one\ntwo"])
    found = list(lines(source(GapMark(0, 0, "dropped"), *first, GapMark(7, 50, "missing"), *second)))
    assert [(line.seq, line.text) for line in found] == [(0, "one"), (4, "two"), (50, "rest")]
    inside = outputs([b"$ vim\n" + ENTER + b"x"])
    found = list(lines(source(*inside, GapMark(16, 50, "missing"), *outputs([b"y" + LEAVE + b"end\n"], 50))))
    assert [line.text for line in found] == ["$ vim", "end"]


def test_width(block: int) -> None:
    def resize(cols: int) -> LogRecord:
        return LogRecord(RESIZE, 0, 0, 0, pack_size(Size(rows=24, cols=cols)))

    one = outputs([b"0123456789ab\rX\n"])
    two = outputs([b"0123456789ab\rX\n"], one[-1].end)
    found = list(lines(source(resize(10), *one, resize(4), *two)))
    assert [line.text for line in found] == ["0123456789Xb", "01234567X9ab"]


def test_what_never_ends_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "_BLOCK", 16)
    monkeypatch.setattr(lines_module, "_LONGEST", 32)
    text = "€" * 100
    assert "".join(texts([text.encode()[at : at + 7] for at in range(0, 300, 7)])) == text
    assert texts([b"\r%3d%%" % number for number in range(100)])[-1] == " 99%"
    assert "".join(texts([b"0123456\x1b[31m"] * 9)) == "0123456" * 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[1mb\x1b[0m\r\n", "ab\n"),
        ("\x1b]0;t\x07$ ls\x1b[K\r\n", "$ ls\n"),
        ("abc\rx\n", "abc\x01x\n"),
        ("a\tb\n", "a\x02b\n"),
        ("\x1b[2;3Hx\x1b[Hy\n", "\x03\nx\x03\ny\n"),
        ("\x1bPq\n\x1b\\\n", None),
    ],
)
def test_plain(text: str, expected: str | None) -> None:
    assert plain(text) == expected
