"""Output goes on after a gap where a terminal in its ground state can take it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toowld.log import LogWriter
from toowld.log.safe import LOOK_AHEAD, SafeStart
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)

#: What programs print, each as a whole: output may begin before or behind one, and inside of none.
WORDS = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs"]),
    min_size=1,
    max_size=30,
)
TOKENS = st.one_of(
    WORDS.map(str.encode),
    st.sampled_from([b"\n", b"\r\n", b"\t", b"\b \b", b"\x07"]),
    st.from_regex(rb"\A\x1b\[[<=>?]?[0-9;:]{0,20}[ -/]?[@-~]\Z"),
    st.sampled_from([b"\x1b(B", b"\x1b#8", b"\x1b7", b"\x1bM", b"\x1b=", b"\x1b%G"]),
    st.builds(
        lambda number, text, end: b"\x1b]%d;%s%s" % (number, text, end),
        st.integers(0, 5522), st.from_regex(rb"\A[ -~]{0,200}\Z"), st.sampled_from([b"\x07", b"\x1b\\"]),
    ),
    st.builds(
        lambda begin, text: b"\x1b" + begin + text + b"\x1b\\",
        st.sampled_from([b"P", b"_", b"^", b"X"]), st.from_regex(rb"\A[\n\r -~]{0,200}\Z"),
    ),
)  # fmt: skip


def skip_at(data: bytes, at: int, piece: int = 1 << 20) -> int:
    start = SafeStart()
    for begin in range(at, len(data), piece):
        start.feed(data[begin : begin + piece])
        if start.decided:
            break
    return at + start.skip()


def safe_places(tokens: list[bytes]) -> set[int]:
    """Where nothing has begun: between two tokens, and between the characters of a text."""
    places = {0}
    at = 0
    for token in tokens:
        if token[:1] != b"\x1b":
            places |= {at + where for where in range(len(token)) if token[where] & 0xC0 != 0x80}
        at += len(token)
        places.add(at)
    return places


@settings(max_examples=500)
@given(
    tokens=st.lists(TOKENS, min_size=1, max_size=12), where=st.integers(0, 1 << 16), piece=st.integers(1, 50)
)
def test_never_inside_a_sequence_or_a_character(tokens: list[bytes], where: int, piece: int) -> None:
    data = b"".join(tokens)
    at = where % (len(data) + 1)
    begin = skip_at(data, at, piece)
    assert at <= begin <= len(data)
    # A string is told from text by its end alone: where that was not printed yet, nobody can tell.
    if begin not in safe_places(tokens):
        pytest.fail(f"{data[:at]!r} | {data[at:begin]!r} | {data[begin:]!r}")


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"tail of a line\nnext", b"next"),
        (b"1;31mred\x1b[m\nnext", b"\x1b[m\nnext"),
        (b"base64=\x07\x1b[H", b"\x1b[H"),
        (b"base64=\x07then text", b"then text"),
        (b"sixel\nsixel\nsixel\x1b\\text", b"text"),
        (b"\\text\nnext", b"next"),
        (b"\x1b", b"\x1b"),
        (b"\xbf\xbftext", b"text"),
        (b"(Btext", b"text"),
        (b"38;5;1mtext", b"text"),
        (b"", b""),
    ],
)
def test_where(rest: bytes, expected: bytes) -> None:
    assert rest[skip_at(rest, 0) :] == expected
    assert rest[skip_at(rest, 0, 1) :] == expected


@pytest.mark.parametrize(
    "picture", [b"\x1bPq" + b"#0!200~-\n" * 22_000 + b"\x1b\\", b"\x1b]52;c;" + b"QUJD" * 50_000 + b"\x07"]
)
def test_long_strings_are_skipped(tmp_path: Path, picture: bytes) -> None:
    log = LogWriter(tmp_path, "s", size=SIZE, limit=1 << 20)
    for data in (b"before\n", picture, b"text\r\n", b"\x1b[mend"):
        for at in range(0, len(data), 4096):
            log.append(data[at : at + 4096])
    for at in range(8, len(picture), len(picture) // 7):
        shown = log.cursor(7 + at, safe=True).read(1 << 20)
        assert shown in (b"text\r\n\x1b[mend", b"\x1b[mend"), shown[:99]


def test_the_look_ahead_is_bounded() -> None:
    start = SafeStart()
    line = b"x" * 4096
    pieces = 0
    while not start.decided:
        start.feed(line)
        pieces += 1
    assert pieces == LOOK_AHEAD // len(line) and start.skip() == 1
