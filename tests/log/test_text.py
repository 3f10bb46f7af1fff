"""Output as plain lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.log.text import TextLines, text_lines

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"one\r\ntwo\r\n\r\nlast", ["one", "two", "", "last"]),
        (b"trailing   \r\n", ["trailing"]),
        ("grün € 漢字\n".encode(), ["grün € 漢字"]),
        (b"bad \xff byte\n", ["bad \ufffd byte"]),
        (b"cut \xe2\x82", ["cut \ufffd"]),
        # colours, charsets, modes
        (b"\x1b[1;31mred\x1b[0m \x1b(B\x1b=\x1b[?2004hx\n", ["red x"]),
        (b"\x1b[38:2::255:0:0mx\x1b[ q\x1b[!py\n", ["xy"]),
        # strings: title, link, colour query, tmux passthrough, and one that never ends
        (b"\x1b]0;title\x07$ \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["$ link"]),
        (b"\x1bPq#0\nsixel\x1b\\after\n", ["after"]),
        (b"\x1b]binary garbage\nnext\n", ["", "next"]),
        # within a line
        (b"10%\r20%\r100%\n", ["100%"]),
        (b"long line\rshort\x1b[K\n", ["short"]),
        (b"long line\rshort\n", ["shortline"]),
        (b"lz\bs\n", ["ls"]),
        (b"abc\b\b\b\b\bX\n", ["Xbc"]),
        (b"a\tb\n", ["a       b"]),
        (b"a\x1b[5Cb\x1b[2Dc\n", ["a    cb"]),
        (b"abc\x1b[1Gx\x1b[3Gz\n", ["xbz"]),
        (b"abcdef\x1b[4D\x1b[2P\n", ["abef"]),
        (b"abef\x1b[2D\x1b[2@\n", ["ab  ef"]),
        (b"abc\x1b[2K\rx\n", ["x"]),
        (b"abc\x1b[2D\x1b[1Kx\n", [" xc"]),
        (b"%" + b" " * 79 + b"\r \r\r\x1b[J$ ls\r\n", ["$ ls"]),  # how zsh begins a prompt
        (b"keep\x1b[H\x1b[2Jnew\n", ["keep", "new"]),
        ("e\u0301\rx\n".encode(), ["x"]),
        ("漢字\b\bX\n".encode(), ["漢X"]),
        (b"bell\x07 null\x00 del\x7f\n", ["bell null del"]),
        (b"\x1b[99999999999999C.\n", [" " * 65535 + "."]),
        (b"\x1b\x1b[31mx\x1b[\x01y\n", ["xy"]),
    ],
)
def test_lines(output: bytes, lines: list[str]) -> None:
    assert list(text_lines([output])) == lines


def test_alternate_screen_is_left_out() -> None:
    output = b"$ vim\r\n" + ENTER + b"\x1b[H~\r\n~\r\nfile" + LEAVE + b"$ done\r\n"
    assert list(text_lines([output])) == ["$ vim", "$ done"]


def test_alternate_screen_that_was_never_left_is_kept() -> None:
    killed = b"$ vim\r\n" + ENTER + b"text\r\nKilled\r\n$ echo kept\r\nkept\r\n"
    kept = ["$ vim", "text", "Killed", "$ echo kept", "kept"]
    assert list(text_lines([killed])) == kept
    assert list(text_lines([killed + ENTER + b"less" + LEAVE + b"end\n"])) == [*kept, "end"]
    assert list(text_lines([killed + b"\x1bcend\n"])) == ["$ vim", "end"]


def test_what_is_unfinished() -> None:
    text = TextLines(keep_alternate=False)
    assert (text.feed(b"one\r\nname? "), text.unfinished) == (["one"], "name? ")
    assert (text.feed(b"\r\n\x1b[?1049hmenu"), text.unfinished) == (["name?"], "")
    assert (text.feed(b"\x1b[?1049l$ "), text.unfinished) == ([], "$ ")


def test_rows_on_the_screen() -> None:
    """Readline redraws only the row that the cursor is in."""
    output = b"$ " + b"a" * 12 + b"\rbb" + b"\n"
    assert list(text_lines([output], cols=10)) == ["$ " + "a" * 8 + "bbaa"]
    assert list(text_lines([b"0123456789\rx\n"], cols=10)) == ["x123456789"]
    lines = TextLines(cols=80)
    assert lines.feed(b"012345") == []
    lines.resize(4)
    assert lines.feed(b"67\rX\n") == ["0123X567"]


PIECES = st.one_of(
    st.text(max_size=8).map(str.encode),
    st.binary(max_size=8),
    st.sampled_from(
        [b"\r", b"\n", b"\b", b"\t", b"\x1b[K", b"\x1b[5G", b"\x1b[3C", b"\x1b[2D", b"\x1b]0;t\x07", b"\x1bP..\x1b\\",
         b"\x1b[31m", b"\x1b(B", b"\x1b", b"\x1b[", b"\x1b]", ENTER, LEAVE, "é€漢e\u0301".encode(),
         b"\x1b[3@", b"\x1b[2P"]
    ),
)  # fmt: skip


@given(st.lists(PIECES, max_size=30), st.sampled_from([None, 1, 7, 80]), st.data())
def test_pieces_do_not_matter(parts: list[bytes], cols: int | None, data: st.DataObject) -> None:
    output = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), max_size=5)))
    pieces = [output[a:b] for a, b in zip([0, *cuts], [*cuts, len(output)], strict=True)]
    whole = list(text_lines([output], cols))
    assert list(text_lines(pieces, cols)) == whole
    assert list(text_lines((output[at : at + 1] for at in range(len(output))), cols)) == whole
    assert not any("\x1b" in line or "\n" in line for line in whole)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn", "Me", "Mc"]), max_size=20)))
def test_plain_text_stays(lines: list[str]) -> None:
    output = "".join(line + "\r\n" for line in lines).encode()
    assert list(text_lines([output])) == [line.rstrip(" ") for line in lines]


def test_memory_is_bounded() -> None:
    lines = TextLines()
    for _ in range(40):
        lines.feed(b"x" * 100_000)
    assert lines.finish()
    swallowing = TextLines()
    for _ in range(10):
        assert swallowing.feed(b"\x1bPx" + b"x" * 100_000) == []
    assert swallowing.finish() == []
