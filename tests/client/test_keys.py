r"""Chords: whatever the encoding and however the reads are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toowl.keys import Action, Chords, DetachRequested, HelpRequested, Send

DETACH = DetachRequested()
HELP = HelpRequested()

PREFIXES = [b"\x1c", b"\x1b[92;5u", b"\x1b[92;5:1u", b"\x1b[92:124;5u", b"\x1b[92;133u", b"\x1b[27;5;92~"]
DETACHES = [b"d", b"\x1b[100u", b"\x1b[100;1u", b"\x1b[100;1:1u", b"\x1b[100:68;129u", b"\x1b[100;;100u"]
HELPS = [b"?", b"\x1b[63u", b"\x1b[47:63;2u", b"\x1b[47;2u", b"\x1b[27;2;63~", b"\x1b[223;2;63u"]
RELEASE = b"\x1b[92;5:3u"
CTRL_UP, CTRL_DOWN, CTRL_REPEAT = b"\x1b[57442;1:3u", b"\x1b[57442;5u", b"\x1b[57442;5:2u"

#: Keys and reports that belong to no chord.
OTHERS = [
    b"a", b"D", b"\r", b"\x03", b"\x04", b"\x1a", b"\xc3\xa9", b"\x1b[A", b"\x1bOP", b"\x1b[24~", b"\x1bd",
    b"\x1b\x1b", b"\x1b[100;5u", b"\x1b[100;3u", b"\x1b[100:68;2u", b"\x1b[27u", b"\x1b[27;5;100~", b"\x1b[92u",
    b"\x1b[92;7u", b"\x1b[9;5u", b"\x1b[99;5u", b"\x1b[92;5R", b"\x1b[" + b"9" * 200,
]  # fmt: skip
REPORTS = [
    b"\x1b[<35;10;20M",
    b"\x1b[<0;1;1m",
    b"\x1b[I",
    b"\x1b[O",
    b"\x1b[?62;22c",
    b"\x1b[?2026;2$y",
    b"\x1b[Mdd?",
]


def sent(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Send))


def asked(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Send)]


def feed_cut(chords: Chords, data: bytes, cuts: list[int]) -> list[Action]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    actions: list[Action] = []
    for begin, end in itertools.pairwise(edges):
        actions += chords.feed(data[begin:end])
    return actions


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", DETACHES)
def test_detach(prefix: bytes, key: bytes) -> None:
    assert Chords().feed(prefix + key) == [DETACH]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", HELPS)
def test_help(prefix: bytes, key: bytes) -> None:
    assert Chords().feed(prefix + key) == [HELP]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_twice_sends_one(prefix: bytes) -> None:
    chords = Chords()
    assert chords.feed(prefix + prefix) == [Send(prefix)]
    assert chords.feed(b"d") == [Send(b"d")]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", OTHERS)
def test_anything_else_passes_with_the_prefix(prefix: bytes, key: bytes) -> None:
    chords = Chords()
    actions = chords.feed(prefix + key) + chords.feed(b"d")
    assert actions[-1] == Send(b"d")
    assert sent(actions) == prefix + key + b"d"
    assert not asked(actions)


@pytest.mark.parametrize("report", REPORTS)
def test_reports_of_the_terminal_do_not_break_a_chord(report: bytes) -> None:
    assert Chords().feed(b"\x1c" + report + b"d") == [Send(report), DETACH]


def test_releases_and_modifiers_do_not_break_a_chord() -> None:
    typed = b"\x1b[92;5u" + RELEASE + CTRL_REPEAT + CTRL_UP + b"\x1b[1;1:3A" + b"\x1b[100u"
    assert Chords().feed(typed) == [Send(CTRL_UP + b"\x1b[1;1:3A"), DETACH]
    other = b"\x1b[92;5u" + RELEASE + CTRL_UP + b"x"
    assert Chords().feed(other) == [Send(other)]


def test_held_down_modifiers_do_not_pile_up() -> None:
    chords = Chords()
    assert chords.feed(b"\x1c" + CTRL_REPEAT * 10000 + b"d") == [DETACH]
    flood = CTRL_UP * 10000
    assert chords.feed(b"\x1c" + flood + b"d") == [Send(b"\x1c" + flood + b"d")]


def test_escape_is_never_delayed() -> None:
    assert Chords().feed(b"\x1b") == [Send(b"\x1b")]
    chords = Chords()
    assert chords.feed(b"\x1c") == []
    assert chords.feed(b"\x1b") == [Send(b"\x1c\x1b")]
    assert chords.feed(b"d") == [Send(b"d")]


def test_alt_bracket_is_not_delayed() -> None:
    assert Chords().feed(b"\x1b[") == [Send(b"\x1b[")]


def test_what_can_only_be_a_chord_waits() -> None:
    chords = Chords()
    assert chords.feed(b"\x1b[92") == []
    assert chords.feed(b";5") == []
    assert chords.feed(b"u") == []
    assert chords.feed(b"\x1b[10") == []
    assert chords.feed(b"0u") == [DETACH]
    assert chords.feed(b"\x1b[27;") == []
    assert chords.feed(b"5;65~") == [Send(b"\x1b[27;5;65~")]


def test_prefix_that_went_out_in_part_goes_out_whole_and_still_counts() -> None:
    chords = Chords()
    assert sent(chords.feed(b"\x1b") + chords.feed(b"[92;5u")) == b"\x1b[92;5u"
    assert chords.feed(b"d") == [DETACH]
    assert sent(chords.feed(b"\x1b") + chords.feed(b"[92;5u")) == b"\x1b[92;5u"
    assert chords.feed(b"\x1b[92;5u") == []  # twice sends one, and one has gone out
    assert chords.feed(b"d") == [Send(b"d")]


def test_chord_after_escape() -> None:
    assert Chords().feed(b"\x1b\x1cd") == [Send(b"\x1b"), DETACH]


def test_paste_is_no_chord() -> None:
    paste = b"\x1b[200~rm\x1cd\x1b[92;5ud\x1b[201~"
    chords = Chords()
    assert chords.feed(paste) == [Send(paste)]
    assert chords.feed(b"\x1cd") == [DETACH]
    assert chords.feed(b"\x1c" + paste) == [Send(b"\x1c" + paste)]


def test_other_prefix() -> None:
    chords = Chords(1)
    assert chords.feed(b"\x1cd\x01d") == [Send(b"\x1cd"), DETACH]
    assert chords.feed(b"\x1b[97;5ud") == [DETACH]
    with pytest.raises(ValueError, match="no control character"):
        Chords(0x1B)


keys = st.sampled_from(PREFIXES + DETACHES + HELPS + OTHERS + REPORTS + [RELEASE, CTRL_UP, CTRL_DOWN])
typed = st.lists(keys, max_size=12).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=30)


@given(typed, cuts)
@example(b"\x1b[92;5u\x1b[100u", [1, 9])
@example(b"\x1c\x1b[92;5u\x1b", [])
def test_cuts_never_change_what_is_asked(data: bytes, where: list[int]) -> None:
    # A closing key settles what the last sequence was.
    data += b"\x1b[Z."
    whole, cut = Chords().feed(data), feed_cut(Chords(), data, where)
    assert asked(cut) == asked(whole)


@given(st.binary(max_size=200), cuts)
def test_what_holds_no_prefix_passes_untouched(data: bytes, where: list[int]) -> None:
    data = data.replace(b"\x1c", b"") + b"Z"
    assert feed_cut(Chords(), data, where) == feed_cut(Chords(), data, where)
    assert sent(feed_cut(Chords(), data, where)) == data


@given(st.lists(st.sampled_from([*OTHERS, *REPORTS, b"\x1b[92", b"\x1b[27;", b"\x1b["]), max_size=20), cuts)
def test_near_misses_pass_untouched(pieces: list[bytes], where: list[int]) -> None:
    data = b"".join(pieces) + b"Z"
    assert sent(feed_cut(Chords(), data, where)) == data


@given(st.lists(st.sampled_from([b"\x1c", b"d", b"?", b"x", b"\x1b[A"]), max_size=30))
def test_plain_chords_against_a_model(pressed: list[bytes]) -> None:
    expected: list[Action] = []
    armed = False
    out = b""
    for key in pressed:
        if armed and key in (b"d", b"?"):
            expected.append(DETACH if key == b"d" else HELP)
            armed = False
        elif armed:
            out += key if key == b"\x1c" else b"\x1c" + key
            armed = False
        elif key == b"\x1c":
            armed = True
        else:
            out += key
    actions = Chords().feed(b"".join(pressed))
    assert asked(actions) == expected
    assert sent(actions) == out
