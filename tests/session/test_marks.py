"""Marks in output: found however they are cut, as a terminal that reads byte by byte finds them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.session.marks import MAX_TEXT, MAX_TITLE, NEWS_INTERVAL, Mark, Marked, MarkKind, MarkScanner, News

ESC, BEL, CAN, SUB = 0x1B, 0x07, 0x18, 0x1A

#: One of each, as programs say them.
SAID: list[tuple[bytes, Mark]] = [
    (b"\x1b]0;vim\x07", Mark(MarkKind.TITLE, 0, 8, b"vim")),
    (b"\x1b]2;a;b \xe2\x82\xac\x1b\\", Mark(MarkKind.TITLE, 0, 13, "a;b €".encode())),
    (b"\x1b]7;file://host/tmp\x1b\\", Mark(MarkKind.CWD, 0, 21, b"file://host/tmp")),
    (b"\x1b]133;A\x07", Mark(MarkKind.PROMPT, 0, 8)),
    (b"\x1b]133;A;cl=m;aid=7\x1b\\", Mark(MarkKind.PROMPT, 0, 20, b"cl=m;aid=7")),
    (b"\x1b]133;B\x1b\\", Mark(MarkKind.INPUT, 0, 9)),
    (b"\x1b]133;C;cmdline_url=ls\x07", Mark(MarkKind.OUTPUT, 0, 23, b"cmdline_url=ls")),
    (b"\x1b]133;D\x07", Mark(MarkKind.DONE, 0, 8)),
    (b"\x1b]133;D;130;aid=7\x07", Mark(MarkKind.DONE, 0, 18, b"130;aid=7")),
]
#: What is no mark, or only reads like one.
OTHER = [
    b"text\r\n", b"\x1b[31m", b"\x1b", b"\x1b\\", b"]0;x", b"\x1b]0;x", b"\x1b]1;icon\x07", b"\x1b]02;x\x07",
    b"\x1b]0\x07", b"\x1b]133\x07", b"\x1b]133;E\x07", b"\x1b]133;AB\x07", b"\x1b]1337;A\x07", b"\x1b]0;cut\x18",
    b"\x1b]0;cut\x1a", b"\x1b]0;cut\x1b[m", b"\x1b]52;c;AAAA\x07", b"\x1bPq\x07#0\x1b\\",
    b"\x1b_Ga=T;AA\x07AA\x1b\\", b"\x1bXsos", b"\x1b^pm\x07", b"\x1bP\x1b]0;t\x07", b"\x07",
]  # fmt: skip
output = st.lists(
    st.one_of(st.sampled_from([said for said, _ in SAID]), st.sampled_from(OTHER), st.binary(max_size=4)),
    max_size=8,
).map(b"".join)


def reference(data: bytes) -> tuple[list[Mark], int]:
    """What a terminal finds that looks at one byte after the other: the marks, and how often it rings."""
    marks: list[Mark] = []
    bells = 0
    state, begin, text = "ground", 0, b""
    for at, byte in enumerate(data):
        if state == "escape of OSC" and byte == ord("\\"):
            marks += named(text, begin, at + 1)
            state = "ground"
        elif byte == ESC:
            state = "escape of OSC" if state == "OSC" else "escape"
            if state == "escape":
                begin = at
            else:
                escape_at = at
        elif state in ("escape", "escape of OSC") and byte not in (CAN, SUB, BEL):
            begin = escape_at if state == "escape of OSC" else begin
            state = "OSC" if byte == ord("]") else "string" if byte in b"PX^_" else "ground"
            text = b""
        elif byte in (CAN, SUB):
            state = "ground"
        elif state == "OSC" and byte == BEL:
            marks += named(text, begin, at + 1)
            state = "ground"
        elif state == "OSC":
            text += bytes([byte])
        elif byte == BEL and state != "string":
            bells += 1
            state = "ground"
    return marks, bells


def named(text: bytes, seq: int, end: int) -> list[Mark]:
    number, sep, rest = text.partition(b";")
    if number in (b"0", b"2") and sep:
        return [Mark(MarkKind.TITLE, seq, end, rest)]
    if number == b"7" and sep:
        return [Mark(MarkKind.CWD, seq, end, rest)]
    letter, _, rest = rest.partition(b";")
    if number == b"133" and letter in (b"A", b"B", b"C", b"D"):
        return [Mark(MarkKind(b"133;" + letter), seq, end, rest)]
    return []


def scanned(pieces: list[bytes], seq: int = 0) -> tuple[list[Mark], int]:
    scanner = MarkScanner()
    marks: list[Mark] = []
    for piece in pieces:
        marks += scanner.feed(piece, seq)
        scanner = MarkScanner.thaw(scanner.freeze())
        seq += len(piece)
    return marks, scanner.bells


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, *(place % (len(data) + 1) for place in at), len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@pytest.mark.parametrize(("said", "mark"), SAID)
def test_each_mark_is_found(said: bytes, mark: Mark) -> None:
    placed = Mark(mark.kind, 104, 104 + mark.end, mark.text)
    assert scanned([b"text" + said + b"text"], 100) == ([placed], 0)


def test_every_kind_is_tested() -> None:
    assert {mark.kind for _, mark in SAID} == set(MarkKind)


@given(output, st.lists(st.integers(0, 999), max_size=12))
def test_what_a_terminal_finds_byte_by_byte_is_found_in_any_pieces(data: bytes, at: list[int]) -> None:
    assert scanned(cut(data, at)) == reference(data)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_may_come(pieces: list[bytes]) -> None:
    assert scanned(pieces) == reference(b"".join(pieces))


def test_byte_by_byte() -> None:
    data = b"".join(said for said, _ in SAID) + b"".join(OTHER) + b"\x1b\\" + SAID[0][0]
    assert scanned([bytes([byte]) for byte in data]) == reference(data)


@pytest.mark.parametrize("end", [b"\x07", b"\x1b\\"])
def test_a_long_mark_is_the_same_in_any_pieces_and_is_not_kept_whole(end: bytes) -> None:
    data = b"\x1b]0;" + b"x" * (3 * MAX_TEXT) + end
    whole, _ = scanned([data])
    assert [(mark.seq, mark.end, len(mark.text)) for mark in whole] == [(0, len(data), MAX_TEXT)]
    for step in (1000, MAX_TEXT, len(data) - 1):
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        assert scanned(pieces) == (whole, 0)
    scanner = MarkScanner()
    scanner.feed(data[:-1], 0)
    assert len(scanner._begun) < MAX_TEXT + 20


def test_a_bell_in_a_picture_that_takes_many_reads_is_none() -> None:
    scanner = MarkScanner()
    for at in range(100):
        scanner.feed(b"\x1bPq" if not at else b"#0\x07" * 1000, at)
        assert len(scanner._begun) <= 3
    assert scanner.bells == 0
    scanner.feed(b"\x1b\\\x07", 0)
    assert scanner.bells == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"0", 0), (b"130;aid=1", 130), (b"-1", -1), (b"", None), (b"aid=1", None), (b"9" * 99, None)],
)
def test_the_exit_status(text: bytes, code: int | None) -> None:
    assert Mark(MarkKind.DONE, 0, 9, text).exit_code == code


# -- what lists show -------------------------------------------------------------------------------------


def test_nothing_is_known_of_a_program_that_tells_nothing() -> None:
    marked = Marked()
    assert not marked.look(b"text \x1b[31mred\x1b[m\r\n", 0)
    assert marked.describe() == {
        "title": None, "bells": 0, "cwd_url": None, "prompt": None, "last_exit": None, "commands": 0,
    }  # fmt: skip


def test_a_shell_at_work() -> None:
    marked = Marked()
    steps = [
        (b"\x1b]133;D;0\x07\x1b]133;A\x07$ \x1b]133;B\x07", ("prompt", 0, 0)),
        (b"false\r\n\x1b]133;C\x07", ("command", 0, 0)),
        (b"\x1b]133;D;1\x07\x1b]133;A\x07$ \x1b]133;B\x07", ("prompt", 1, 1)),
        (b"\r\n\x1b]133;D;1\x07\x1b]133;A\x07$ ", ("prompt", 1, 1)),  # an empty line
        (b"\x1b]133;C\x07\x1b]133;D\x07", ("prompt", None, 2)),
    ]
    for said, known in steps:
        marked.look(said, 0)
        marked = Marked.thaw(marked.freeze())
        assert (marked.prompt, marked.exit_code, marked.commands) == known


def test_only_what_is_different_counts_as_news() -> None:
    marked = Marked()
    assert marked.look(b"\x1b]0;a\x07", 0)
    assert not marked.look(b"\x1b]0;b\x07\x1b]2;a\x07", 0)
    assert marked.look(b"\x07\x07", 0)
    assert marked.describe()["bells"] == 2
    assert marked.look(b"\x1b]7;file:///tmp\x07", 0)
    assert not marked.look(b"\x1b]7;file:///tmp\x07", 0)
    assert not marked.look(b"\x1b]7;" + b"x" * MAX_TEXT + b"\x07", 0)


def test_a_title_is_bounded_and_text() -> None:
    marked = Marked()
    marked.look(b"\x1b]0;\xff" + b"x" * 9999 + b"\x07", 0)
    assert marked.title == "�" + "x" * (MAX_TITLE - 1)


def test_news_is_told_at_once_but_not_all_the_time() -> None:
    news = News()
    assert news.came(10.0) and news.deadline is None
    assert not news.came(10.001) and news.deadline == 10.0 + NEWS_INTERVAL
    assert not news.came(10.002) and news.deadline == 10.0 + NEWS_INTERVAL
    assert not news.due(10.003)
    assert news.due(10.0 + NEWS_INTERVAL) and news.deadline is None
    assert not news.due(11.0), "it was told"
    assert news.came(11.0)
    assert not news.came(11.001)
    news.forget()
    assert news.deadline is None and not news.due(12.0)


def test_news_that_waited_over_an_upgrade_is_told() -> None:
    news = News(5.0)
    assert not news.due(4.9)
    assert news.due(5.0)
