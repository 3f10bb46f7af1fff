"""Queries are taken out of replayed output, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toowl.replay import QueryFilter

QUERIES = [
    b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[=c", b"\x1bZ", b"\x05",
    b"\x1b[5n", b"\x1b[6n", b"\x1b[?6n", b"\x1b[?996n", b"\x1b[?15n",
    b"\x1b[4$p", b"\x1b[?2026$p", b"\x1b[>q", b"\x1b[>0q", b"\x1b[?u", b"\x1b[?4m", b"\x1b[?1;1;0S",
    b"\x1b[14t", b"\x1b[14;2t", b"\x1b[16t", b"\x1b[18t", b"\x1b[21t", b"\x1b[11t",
    b"\x1b[x", b"\x1b[1x", b"\x1b[1;1;1;1;5;5*y", b"\x1b[1$w", b"\x1b[&u",
    b"\x1b]4;1;?\x07", b"\x1b]4;1;?;2;?\x1b\\", b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]12;?\x07",
    b"\x1b]10;?;?\x07",
    b"\x1b]17;?\x1b\\", b"\x1b]52;c;?\x07", b"\x1b]52;;?\x1b\\", b"\x1b]21;foreground=?\x1b\\",
    b"\x1b]22;?__current__\x1b\\",
    b"\x1b]50;?\x07", b"\x1b]60\x07", b"\x1b]1337;ReportCellSize\x07", b"\x1b]99;i=1:p=?;\x1b\\",
    b"\x1b]5522;type=read;\x1b\\",
    b"\x1bP$qm\x1b\\", b"\x1bP$q q\x1b\\", b"\x1bP+q544e;436f\x1b\\", b"\x1bP+q" + b"436f;" * 100 + b"\x1b\\",
    b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", b"\x1b_Ga=q;\x1b\\",
]  # fmt: skip

#: What must pass, though it looks alike.
OTHERS = [
    b"plain text\r\n", b"caf\xc3\xa9 \xff", b"\x1b[1;31m", b"\x1b[m", b"\x1b[2J\x1b[H", b"\x1b[?1049h",
    b"\x1b[?2004l",
    b"\x1b[4 q", b"\x1b[>1u", b"\x1b[<u", b"\x1b[=1;1u", b"\x1b[u", b"\x1b[s", b"\x1b[>4;2m", b"\x1b[>4n",
    b"\x1b[22;0t", b"\x1b[23;0t",
    b"\x1b[8;24;80t", b"\x1b[1t", b"\x1b[!p", b"\x1b[1;24r", b"\x1b[3S", b"\x1b[2T", b"\x1b[61\"p", b"\x1b[?1;2c",
    b"\x1b]0;what? title\x07", b"\x1b]2;?\x1b\\", b"\x1b]8;;http://a/?b\x1b\\", b"\x1b]7;file:///?\x07",
    b"\x1b]11;#000\x07",
    b"\x1b]4;1;rgb:00/00/00\x1b\\", b"\x1b]52;c;Zm9v\x07", b"\x1b]133;A\x07",
    b"\x1b]1337;File=name=x;inline=1:AAAA?\x07", b"\x1b]104\x07",
    b"\x1bPq#0;2;0;0;0~~?\x1b\\", b"\x1b_Ga=T,f=100,i=1;AAAA\x1b\\", b"\x1b(0", b"\x1b7\x1b8", b"\x1b=",
    b"\x1bc", b"\x0e\x0f\x07",
    b"\x1b]0;" + b"long" * 2000 + b"\x07", b"\x1b[1\x18", b"?", b"c", b";?\x07", b"6n",
]  # fmt: skip


def whole(data: bytes) -> bytes:
    queries = QueryFilter()
    return queries.feed(data) + queries.flush()


def cut_up(data: bytes, cuts: list[int]) -> bytes:
    queries = QueryFilter()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(queries.feed(data[a:b]) for a, b in itertools.pairwise(edges)) + queries.flush()


def singly(data: bytes) -> bytes:
    return cut_up(data, list(range(len(data))))


@pytest.mark.parametrize("query", QUERIES)
def test_query_is_removed(query: bytes) -> None:
    for data in (
        query,
        b"a" + query + b"b",
        query + query,
        b"\x1b[1m" + query + b"c\x1b]0;t\x07" + query + b"6n",
    ):
        assert whole(data) == data.replace(query, b"")
        assert singly(data) == data.replace(query, b"")


@pytest.mark.parametrize("other", OTHERS)
def test_anything_else_passes(other: bytes) -> None:
    for data in (other, b"a" + other + b"b", other + other):
        assert whole(data) == data
        assert singly(data) == data


def test_controls_inside_of_a_query_are_kept() -> None:
    assert whole(b"\x1b[6\r\nn") == singly(b"\x1b[6\r\nn") == b"\r\n"


@pytest.mark.parametrize("query", [b"\x1b[6n", b"\x1b]11;?\x07", b"\x1bP$qm\x1b\\"])
def test_what_a_query_cut_off_does_not_go_on_behind_it(query: bytes) -> None:
    assert whole(b"\x1b[" + query + b"c") == singly(b"\x1b[" + query + b"c") == b"\x1b[\x18c"
    title = b"\x1b]2;" + b"t" * 5000
    assert whole(title + query + b"c\x07") == singly(title + query + b"c\x07") == title + b"\x1b\\c\x07"


def test_query_ended_by_the_next_sequence() -> None:
    data = b"\x1b]11;?\x1b[1mbold"
    assert whole(data) == singly(data) == b"\x1b[1mbold"


def test_unfinished_query_waits_and_is_let_out_for_live_output() -> None:
    queries = QueryFilter()
    assert queries.feed(b"text\x1b[6") == b"text"
    assert queries.flush() == b"\x1b[6"
    assert queries.feed(b"text\x1b]11;") == b"text"
    assert queries.feed(b"?\x1b") == b""
    assert queries.feed(b"\\more") == b"more"
    assert queries.flush() == b""


@pytest.mark.parametrize(
    "start", [b"\x1b]52;c;Z", b"\x1b]0;title", b"\x1bPq#0", b"\x1b]1337;File=x", b"\x1b[?25", b"\x1b]8;;h"]
)
def test_what_is_no_query_is_not_held_back_for_long(start: bytes) -> None:
    queries = QueryFilter()
    queries.feed(start)
    out = queries.feed(b"A" * 100_000)
    assert len(out) >= 100_000


def test_endless_query_is_no_query() -> None:
    endless = b"\x1bP+q" + b"41;" * 50_000
    assert whole(endless) == cut_up(endless, list(range(0, len(endless), 100))) == endless


pieces = st.one_of(
    st.sampled_from(QUERIES + OTHERS),
    st.binary(max_size=5),
    st.sampled_from([b"\x1b", b"\x1b[", b"\x1b]1", b"\x1bP"]),
)
outputs = st.lists(pieces, max_size=12).map(b"".join)


@given(outputs, st.lists(st.integers(0, 3000), max_size=30))
@example(b"\x1b]11;?\x1b\\", [8])
@example(b"\x1b[\x1b[6nc", [2, 3])
def test_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    assert cut_up(data, cuts) == whole(data)


@given(outputs)
def test_what_was_cleaned_holds_no_query(data: bytes) -> None:
    clean = whole(data)
    assert whole(clean) == clean


@given(
    st.lists(st.sampled_from(OTHERS), max_size=10).map(b"".join), st.lists(st.integers(0, 3000), max_size=30)
)
def test_ordinary_output_is_untouched(data: bytes, cuts: list[int]) -> None:
    assert cut_up(data, cuts) == data
