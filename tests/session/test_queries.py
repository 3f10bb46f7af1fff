"""Questions in output, answers in input: found however they are cut, and nothing else touched."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.screen.model import Model
from toowld.session.queries import OF_THE_SCREEN, Kind, Query, QueryScanner, ReplyFilter, answer
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)

#: One question of each kind, or more, and what a terminal says to it.
QUESTIONS: list[tuple[Kind, bytes, bytes]] = [
    (Kind.ATTRIBUTES, b"\x1b[c", b"\x1b[?62;22c"),
    (Kind.ATTRIBUTES, b"\x1b[0c", b"\x1b[?6c"),
    (Kind.ATTRIBUTES, b"\x1bZ", b"\x1b[?1;2c"),
    (Kind.SECONDARY, b"\x1b[>c", b"\x1b[>41;390;0c"),
    (Kind.TERTIARY, b"\x1b[=c", b"\x1bP!|00000000\x1b\\"),
    (Kind.STATUS, b"\x1b[5n", b"\x1b[0n"),
    (Kind.CURSOR, b"\x1b[6n", b"\x1b[12;40R"),
    (Kind.PAGE_CURSOR, b"\x1b[?6n", b"\x1b[?12;40;1R"),
    (Kind.MODE, b"\x1b[?2026$p", b"\x1b[?2026;2$y"),
    (Kind.MODE, b"\x1b[4$p", b"\x1b[4;2$y"),
    (Kind.VERSION, b"\x1b[>q", b"\x1bP>|XTerm(390)\x1b\\"),
    (Kind.SCHEME, b"\x1b[?996n", b"\x1b[?997;1n"),
    (Kind.MEASURES, b"\x1b[14t", b"\x1b[4;384;640t"),
    (Kind.KEYBOARD, b"\x1b[?u", b"\x1b[?0u"),
    (Kind.COLOUR, b"\x1b]11;?\x07", b"\x1b]11;rgb:1111/2222/3333\x07"),
    (Kind.COLOUR, b"\x1b]4;1;?\x1b\\", b"\x1b]4;1;rgb:1111/2222/3333\x1b\\"),
    (Kind.SETTING, b"\x1bP$qm\x1b\\", b"\x1bP1$r0m\x1b\\"),
    (Kind.CAPABILITY, b"\x1bP+q524742\x1b\\", b"\x1bP1+r524742=38\x1b\\"),
    (Kind.CLIPBOARD, b"\x1b]52;c;?\x07", b"\x1b]52;c;aGVsbG8=\x07"),
    (Kind.GRAPHICS, b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", b"\x1b_Gi=31;OK\x1b\\"),
]
#: Output that asks nothing, and keys that look like answers as far as they go.
NO_QUESTIONS = [
    b"text\r\n", b"\x1b[31m", b"\x1b[12;40H", b"\x1b[?25l", b"\x1b[?2026h", b"\x1b[!p", b"\x1b[2 q", b"\x1b[>4;2m",
    b"\x1b[>1u", b"\x1b[<u", b"\x1b[8;24;80t", b"\x1b[22;0t", b"\x1b]0;[c\x07", b"\x1b]11;#112233\x07",
    b"\x1b]52;c;aGVsbG8=\x07", b"\x1b_Ga=T,f=100;AAAA\x1b\\", b"\x1bPq#0;2;0;0;0\x1b\\", b"\x1b[u", b"\x1b[s",
    b"\x1b",
]  # fmt: skip
KEYS = [
    b"a", b"\r", b"\x1b", b"\x1b[A", b"\x1bOP", b"\x1b[1;5R", b"\x1b[15~", b"\x1b[97;5u", b"\x1b[<0;5;5M", b"\x1b[I",
    b"\x1b[200~text\x1b[201~", b"\x1bP", b"\x1b[",
]  # fmt: skip
asked = st.sampled_from(QUESTIONS)
output = st.lists(st.one_of(asked.map(lambda one: one[1]), st.sampled_from(NO_QUESTIONS)), max_size=8)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """``data`` in pieces, cut at these places."""
    places = sorted({0, *(place % (len(data) + 1) for place in at), len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def found(pieces: list[bytes], seq: int = 0) -> list[Query]:
    scanner, queries = QueryScanner(), []
    for piece in pieces:
        queries += scanner.feed(piece, seq, 0.0)
        seq += len(piece)
    return queries


@pytest.mark.parametrize(("kind", "question", "_"), QUESTIONS)
def test_each_question_is_found(kind: Kind, question: bytes, _: bytes) -> None:
    assert found([b"text" + question + b"text"], 100) == [Query(kind, question, 104 + len(question))]


def test_every_kind_is_tested() -> None:
    assert {kind for kind, _, _ in QUESTIONS} == set(Kind)


@pytest.mark.parametrize("text", NO_QUESTIONS)
def test_nothing_else_is_a_question(text: bytes) -> None:
    assert found([text]) == []


@given(output, st.lists(st.integers(0, 999), max_size=12))
def test_where_output_is_cut_changes_nothing(parts: list[bytes], at: list[int]) -> None:
    data = b"".join(parts)
    assert found(cut(data, at)) == found([data])


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_may_come(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    for query in found(pieces):
        assert data[query.end - len(query.text) : query.end] == query.text


def test_a_long_string_that_is_no_question_is_not_kept() -> None:
    scanner = QueryScanner()
    assert scanner.feed(b"\x1bP+q" + b"41" * 9999, 0, 0.0) == []
    assert scanner._begun == b""


FLOOD = (b"\x1b[31m" * 20_000)[: 64 << 10]


def test_of_a_flood_the_ends_are_looked_at() -> None:
    scanner, seq = QueryScanner(), 0
    for _ in range(20):
        assert scanner.feed(FLOOD, seq, 1.0) == []
        seq += len(FLOOD)
    assert scanner.feed(b"\x1b[c" + FLOOD, seq, 1.0) == []
    seq += 3 + len(FLOOD)
    asked = FLOOD + b"\x1b[c" + FLOOD[:250]
    assert scanner.feed(asked, seq, 1.0) == [Query(Kind.ATTRIBUTES, b"\x1b[c", seq + len(FLOOD) + 3)]


def test_after_a_flood_all_is_looked_at_again() -> None:
    scanner, seq = QueryScanner(), 0
    for _ in range(20):
        scanner.feed(FLOOD, seq, 1.0)
        seq += len(FLOOD)
    assert scanner.feed(b"\x1b[c" + FLOOD, seq, 1.1) == [Query(Kind.ATTRIBUTES, b"\x1b[c", seq + 3)]


def test_a_flood_of_text_costs_nothing() -> None:
    scanner = QueryScanner()
    for seq in range(0, 20 << 20, 64 << 10):
        assert scanner.feed(b"x" * (64 << 10), seq, 1.0) == []
    assert scanner.feed(b"\x1b[c" + FLOOD, 20 << 20, 1.0) != []


# -- answers that are not wanted -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "_", "reply"), QUESTIONS)
def test_an_answer_that_is_expected_is_taken_out_once(kind: Kind, _: bytes, reply: bytes) -> None:
    replies = ReplyFilter()
    replies.expect(kind)
    assert replies.feed(b"ab" + reply + b"cd" + reply) == b"abcd" + reply


@pytest.mark.parametrize(("kind", "_", "reply"), QUESTIONS)
@given(st.lists(st.integers(0, 999), max_size=4))
def test_an_answer_in_several_reads(kind: Kind, _: bytes, reply: bytes, at: list[int]) -> None:
    replies = ReplyFilter()
    replies.expect(kind)
    # Not in the first two bytes: a key could begin with them, and so they are not held back.
    pieces = cut(reply, [3 + place % (len(reply) - 2) for place in at])
    typed = b"".join(replies.feed(piece) for piece in [b"ab", *pieces, b"cd"])
    assert typed == b"abcd"


@given(st.sampled_from(list(Kind)), st.lists(st.sampled_from(KEYS), max_size=9), st.data())
def test_keys_pass_at_once(kind: Kind, keys: list[bytes], data: st.DataObject) -> None:
    """Whatever is expected; but that one kind of answer is also a key: F3 with modifiers."""
    replies = ReplyFilter()
    if kind is not Kind.CURSOR:
        replies.expect(kind)
    for key in keys:
        assert replies.feed(key) == key


def test_nothing_is_looked_at_where_nothing_is_expected() -> None:
    replies = ReplyFilter()
    assert replies.feed(b"\x1b[12;40R\x1b[?6") == b"\x1b[12;40R\x1b[?6"


def test_what_is_held_back_is_no_more_than_a_clipboard() -> None:
    replies = ReplyFilter()
    replies.expect(Kind.CLIPBOARD)
    begun = b"\x1b]52;c;" + b"A" * (65 << 10)
    assert replies.feed(begun) == begun


# -- what is said where nobody is there ------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "question", "_"), QUESTIONS)
def test_what_is_said_is_an_answer_of_that_kind(kind: Kind, question: bytes, _: bytes) -> None:
    said = answer(Query(kind, question, 0), SIZE)
    if not said:  # as a terminal that does not know the question
        assert kind in (Kind.KEYBOARD, Kind.COLOUR, Kind.CLIPBOARD, Kind.GRAPHICS)
        return
    replies = ReplyFilter()
    replies.expect(kind)
    assert replies.feed(said) == b""


def test_sizes_are_those_of_the_session() -> None:
    def said(question: bytes) -> bytes:
        return answer(Query(Kind.MEASURES, question, 0), SIZE)

    assert said(b"\x1b[18t") == b"\x1b[8;24;80t"
    assert said(b"\x1b[16t") == b"\x1b[6;16;8t"
    assert said(b"\x1b[14t") == b"\x1b[4;384;640t"


@pytest.mark.parametrize(
    ("kind", "question"), [(kind, question) for kind, question, _ in QUESTIONS if kind in OF_THE_SCREEN]
)
def test_the_model_knows_what_is_asked_of_it(kind: Kind, question: bytes) -> None:
    with Model(SIZE) as model:
        model.feed(b"\x1b]11;#112233\x07\x1b[12;40H")
        said = model.ask(question)
        assert model.ask(b"text") == b""
    if kind is Kind.PAGE_CURSOR:  # it does not
        assert said == b""
        return
    replies = ReplyFilter()
    replies.expect(kind)
    assert said and replies.feed(said) == b""
