"""What the session switched on is switched off again, exactly."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowl.modes import _TABS, Modes


def after(*pieces: bytes) -> bytes:
    modes = Modes()
    for piece in pieces:
        modes.feed(piece)
    return modes.reset()


@pytest.mark.parametrize(
    ("on", "off"),
    [
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?1047h", b"\x1b[?1047l"),
        (b"\x1b[?47h", b"\x1b[?47l"),
        (b"\x1b[?1049h\x1b[?1047h", b"\x1b[?1049l"),
        (b"\x1b[?9h", b"\x1b[?9l"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?1002h\x1b[?1005h", b"\x1b[?1002l\x1b[?1005l"),
        (b"\x1b[?1003h\x1b[?1015h\x1b[?1016h", b"\x1b[?1003l\x1b[?1016l\x1b[?1015l"),
        (b"\x1b[?1004h", b"\x1b[?1004l"),
        (b"\x1b[?2004h", b"\x1b[?2004l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>"),
        (b"\x1b[?2026h", b"\x1b[?2026l"),
        (b"\x1b[>1u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[>5u\x1b[<u\x1b[>3u", b"\x1b[<2u"),
        (b"\x1b[=1u", b"\x1b[=0u"),
        (b"\x1b[>1u\x1b[=5;2u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[?1049h\x1b[>1u", b"\x1b[<1u\x1b[?1049l\x1b[<1u"),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b[4 q", b"\x1b[0 q"),
        (b"\x1b[1;31m", b"\x1b[m"),
        (b"\x1b[38;5;0m", b"\x1b[m"),
        (b"\x1b[m\x1b[0;7m", b"\x1b[m"),
        (b"\x0e", b"\x0f"),
        (b"\x1b(0", b"\x1b(B"),
        (b"\x1b[2;20r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[2;20r\x1b[?6h", b"\x1b[?6l\x1b[r\x1b[9999H"),
        (b"\x1b[4h", b"\x1b[4l"),
        (b"\x1b[22;0t\x1b[22;2t", b"\x1b[23;2t\x1b[23;0t"),
        (b"\x1b]8;id=1;https://example.org\x1b\\text", b"\x1b]8;;\x1b\\"),
        (b"\x1b]12;red\x07\x1b]4;1;#ffffff\x07", b"\x1b]104\x1b\\\x1b]112\x1b\\"),
        (b"\x1b[?10\n49h", b"\x1b[?1049l"),
        (b"\x1b[?45;1045;67h", b"\x1b[?45l\x1b[?1045l\x1b[?67l"),
        (b"\x1bc\x0e\x1b[1m", b"\x1b[m\x0f"),
    ],
)
def test_what_is_on_goes_off(on: bytes, off: bytes) -> None:
    assert after(b"text" + on + b"text") == off
    assert after(*(bytes([byte]) for byte in on)) == off
    assert after(on, off) == b""


@pytest.mark.parametrize(
    "harmless",
    [
        b"plain text\r\n",
        b"\x1b[31mred\x1b[0m \x1b[mplain",
        b"\x1b[2J\x1b[H\x1b[10;20H\x1b[K",
        b"\x1b[?1049h vim \x1b[?1049l",
        b"\x1b[?1000h\x1b[?1006h\x1b[?1006;1000l",
        b"\x1b[?25l\x1b[?25h\x1b[?7h",
        b"\x1b[>1u\x1b[<u",
        b"\x1b[>1u\x1b[<99u",
        b"\x1b[>4;2m\x1b[>4;0m",
        b"\x1b[>4;2m\x1b[>4n",
        b"\x1b[2 q\x1b[0 q",
        b"\x1b[1;r\x1b[r",
        b"\x1b(B\x1b)B\x0f",
        b"\x1b]0;title\x07\x1b]2;?\x1b\\",
        b"\x1b]11;?\x1b\\",
        b"\x1b]12;red\x07\x1b]112\x07",
        b"\x1b]8;;http://a\x1b\\b\x1b]8;;\x1b\\",
        b"\x1b[?1049h\x1b[?1003h\x1b[31m\x1b[>1u\x0e\x1bc",
        b"\x1b[?25l\x1b[?6h\x1b[3;4r\x1b[4h\x1b=\x1b[1m\x1b[!p",
        b"\x1b[22;0t\x1b[23;0t",
        b"\x1b[?u\x1b[c\x1b[6n\x1b[18t\x1b[s\x1b[u",
    ],
)
def test_nothing_on_nothing_sent(harmless: bytes) -> None:
    assert after(harmless) == b""
    assert after(*(bytes([byte]) for byte in harmless)) == b""


def test_order_of_a_full_house() -> None:
    vim = b"\x1b[22;0t\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[>4;2m\x1b[?1002h\x1b[?1006h\x1b[?25l\x1b[1m"
    assert after(vim) == (
        b"\x1b[?1002l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?1l\x1b[?1049l\x1b[>4m\x1b>\x1b[m\x1b[?25h\x1b[23;0t"
    )


@pytest.mark.parametrize(
    ("cut", "end"),
    [
        (b"\x1b", b"\x18"),
        (b"text\x1b[38;5", b"\x18"),
        (b"\x1b[?1049", b"\x18"),
        (b"\x1b]0;a title", b"\x18\x1b\\"),
        (b"\x1bPq" + b"sixel" * 1000, b"\x18\x1b\\"),
        (b"\x1b]0;t\x1b", b"\x18"),
        (b"\x1b]0;t\x1b\\", b""),
        (b"\x1b]0;t\x07", b""),
        (b"\x1b[1m", b"") ,
        (b"\x1b[1\x18text", b""),
    ],
)  # fmt: skip
def test_abort_of_what_was_cut_off(cut: bytes, end: bytes) -> None:
    for pieces in ([cut], [bytes([byte]) for byte in cut]):
        modes = Modes()
        for piece in pieces:
            modes.feed(piece)
        assert modes.mid_sequence == bool(end)
        assert modes.abort() == end
        assert modes.abort() == b""
        assert not modes.mid_sequence


def test_an_aborted_sequence_does_nothing_later() -> None:
    modes = Modes()
    modes.feed(b"\x1b[?1049")
    modes.abort()
    modes.feed(b"h")
    assert modes.reset() == b""


SEQUENCES = [
    b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?1000;1006h", b"\x1b[?25l", b"\x1b[?25h", b"\x1b[1m", b"\x1b[m",
    b"\x1b[38;5;0m", b"\x0e", b"\x0f", b"\x1bc", b"\x1b[!p", b"\x1b=", b"\x1b[>1u", b"\x1b[<2u", b"\x1b[=1;2u",
    b"\x1b[>4;1m", b"\x1b(0", b"\x1b]8;;x\x1b\\",
    b"\x1b]8;;\x07", b"\x1b[3;4r", b"\x1b[?6h", b"\x1b[22;1t", b"\x1b[23t",
    b"\x1b]11;#000\x07", b"text", b"\x1b]0;" + b"long" * 40,
    b"\x1b[", b"\x1b", b"\x18", b"\r\n", b"\x1b]104\x1b\\", b"\x1b\\",
]  # fmt: skip
outputs = st.lists(st.one_of(st.sampled_from(SEQUENCES), st.binary(max_size=6)), max_size=25).map(b"".join)


@given(outputs, st.lists(st.integers(0, 600), max_size=30))
def test_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    whole, cut = Modes(), Modes()
    whole.feed(data)
    for begin, end in itertools.pairwise(edges):
        cut.feed(data[begin:end])
    assert cut.mid_sequence == whole.mid_sequence
    assert cut.reset() == whole.reset()


@given(outputs)
def test_a_reset_leaves_nothing_to_reset(data: bytes) -> None:
    modes = Modes()
    modes.feed(data)
    undo = modes.reset()
    again = Modes()
    again.feed(data)
    again.feed(undo)
    assert again.reset().replace(_TABS, b"") == b"", (
        "the usual tab stops are set, and that they are usual is not seen"
    )
    assert modes.reset() == b""
