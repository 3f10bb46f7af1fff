"""Random output of programs: pieces of text and of every kind of sequence that changes what a terminal shows."""

from __future__ import annotations

from hypothesis import strategies as st

_NUMBERS = st.integers(0, 30)


def _csi(final: bytes, *numbers: st.SearchStrategy[int], prefix: bytes = b"") -> st.SearchStrategy[bytes]:
    return st.tuples(*numbers).map(
        lambda found: b"\x1b[" + prefix + b";".join(b"%d" % number for number in found) + final
    )


def _mode(*modes: int) -> st.SearchStrategy[bytes]:
    return st.tuples(st.sampled_from(modes), st.sampled_from((b"h", b"l"))).map(
        lambda found: b"\x1b[?%d%s" % found
    )


_TEXT = st.sampled_from(
    [
        "hello",
        "x",
        " ",
        "   ",
        "the quick brown fox jumps",
        "a\tb",
        "äöü",
        "漢字",
        "한국어",
        "e\u0301",
        "👍",
        "🎉🎉",
        "👨\u200d👩\u200d👧",
        "❤\ufe0f",
        "▀▄█",
        "─│┌",
        "\u200b",
        "ｗｉｄｅ",
        "0123456789" * 3,
    ]
).map(str.encode)
_LINES = st.sampled_from([b"\r\n", b"\n", b"\r", b"\x08", b"\t", b"\x0b", b"\x1bD", b"\x1bE", b"\x1bM"])
_SGR = st.one_of(
    st.sampled_from(
        [
            b"",
            b"0",
            b"1",
            b"2",
            b"3",
            b"4",
            b"4:3",
            b"4:2",
            b"4:4",
            b"4:5",
            b"5",
            b"7",
            b"8",
            b"9",
            b"53",
            b"22",
            b"24",
            b"27",
            b"39",
            b"49",
            b"58;5;9",
            b"58:2::1:2:3",
            b"59",
            b"1;31;44",
        ]
    ),
    st.integers(30, 47).map(lambda n: b"%d" % n),
    st.integers(90, 107).map(lambda n: b"%d" % n),
    st.integers(0, 255).map(lambda n: b"38;5;%d" % n),
    st.integers(0, 255).map(lambda n: b"48;5;%d" % n),
    st.tuples(*[st.integers(0, 255)] * 3).map(lambda c: b"38;2;%d;%d;%d" % c),
    st.tuples(*[st.integers(0, 255)] * 3).map(lambda c: b"48;2;%d;%d;%d" % c),
).map(lambda code: b"\x1b[" + code + b"m")
_MOVES = st.one_of(
    _csi(b"H", _NUMBERS, _NUMBERS),
    *(
        _csi(final, _NUMBERS)
        for final in (b"A", b"B", b"C", b"D", b"E", b"F", b"G", b"d", b"I", b"`", b"a", b"e")
    ),
    # The emulator goes on waiting at the edge after a tab back, which no terminal does, and no bytes can bring about.
    _csi(b"Z", _NUMBERS).map(lambda piece: b"\b" + piece),
)
_EDITS = st.one_of(
    *(_csi(final, st.integers(0, 4)) for final in (b"@", b"P", b"L", b"M", b"X", b"S", b"T", b"b")),
    _csi(b"J", st.integers(0, 2)),
    _csi(b"K", st.integers(0, 2)),
    _csi(b"J", st.integers(0, 2), prefix=b"?"),
    _csi(b"K", st.integers(0, 2), prefix=b"?"),
    st.just(b"\x1b#8"),
)
_STATE = st.one_of(
    _csi(b"r", st.integers(0, 8), st.integers(0, 12)),
    _csi(b"s", st.integers(0, 8), st.integers(10, 30)),
    st.sampled_from(
        [b"\x1b7", b"\x1b8", b"\x1b[s", b"\x1b[u", b"\x1bH", b"\x1b[g", b"\x1b[3g", b"\x1b[!p", b"\x1bc"]
    ),
    _csi(b" q", st.integers(0, 6)),
    _csi(b'"q', st.integers(0, 2)),
    st.sampled_from([b"\x1bV", b"\x1bW"]),
    _csi(b"u", st.integers(0, 31), prefix=b">"),
    _csi(b"u", st.integers(0, 3), prefix=b"<"),
    _csi(b"u", st.integers(0, 31), st.integers(1, 3), prefix=b"="),
    st.sampled_from(
        [b"\x1b[>4;2m", b"\x1b[>4m", b"\x1b=", b"\x1b>", b"\x1b[4h", b"\x1b[4l", b"\x1b[20h", b"\x1b[20l"]
    ),
    _mode(
        1,
        5,
        6,
        7,
        25,
        45,
        69,
        9,
        1000,
        1002,
        1003,
        1004,
        1005,
        1006,
        1015,
        1016,
        2004,
        2026,
        2031,
        1007,
        1045,
    ),
)
_CHARSETS = st.sampled_from(
    [
        b"\x1b(0",
        b"\x1b(B",
        b"\x1b)0",
        b"\x1b*A",
        b"\x1b+0",
        b"\x0e",
        b"\x0f",
        b"\x1bn",
        b"\x1bo",
        b"\x1b}",
        b"\x1b|",
        b"\x1b~",
        b"\x1bN",
        b"\x1bO",
    ]
)
_SCREENS = _mode(47, 1047, 1049, 1048)
_STRINGS = st.sampled_from(
    [
        b"\x1b]0;a title\x07",
        b"\x1b]2;\xc3\xa4nother\x1b\\",
        b"\x1b]7;file://host/tmp/x\x07",
        b"\x1b]8;;http://a/\x07link",
        b"\x1b]8;id=1;http://b/\x07",
        b"\x1b]8;;\x07",
        b"\x1b]4;1;#112233\x07",
        b"\x1b]104\x07",
        b"\x1b]10;#aabbcc\x07",
        b"\x1b]11;rgb:10/20/30\x1b\\",
        b"\x1b]12;red\x07",
        b"\x1b]112\x07",
        b"\x1bP1$r0m\x1b\\",
        b"\x1b_Gi=1\x1b\\",
        b"\x1b]133;A\x07",
        b"\x1b]52;c;aGk=\x07",
    ]
)

_ANY = (_LINES, _LINES, _SGR, _SGR, _MOVES, _EDITS, _STATE, _SCREENS, _STRINGS)

#: One piece of what a program might print.
FRAGMENT = st.one_of(_TEXT, _TEXT, _TEXT, *_ANY)
#: The same with other character sets, and text of the one that they replace. (Of wide characters there the model
#: makes wide blanks, which nobody else has.)
OLD_FRAGMENT = st.one_of(_TEXT.filter(bytes.isascii), st.just(b"lqwqk"), _CHARSETS, _CHARSETS, *_ANY)
#: What may come later. REP repeats what was printed last, and nobody prints that and waits before repeating it.
LATER = FRAGMENT.filter(lambda piece: not (piece.startswith(b"\x1b[") and piece.endswith(b"b")))
ENTERS_ALTERNATE = (b"\x1b[?47h", b"\x1b[?1047h", b"\x1b[?1049h")
