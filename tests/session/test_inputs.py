"""Input: every byte once, in order, acknowledged when the PTY has it; and how much of it may wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from toowld.session.inputs import MAX_PENDING, MAX_REMEMBERED, InputQueue

TEXT = bytes(range(256)) * 4


@given(
    st.lists(st.tuples(st.integers(0, 1024), st.integers(0, 300)), max_size=60),
    st.lists(st.integers(0, 400), max_size=60),
)
def test_any_resends_and_pieces_type_exactly_the_text(sends: list[tuple[int, int]], takes: list[int]) -> None:
    queue = InputQueue()
    typed = b""
    written = acked = 0
    for (seq, length), take in zip(sends, takes + [0] * len(sends), strict=False):
        data = TEXT[seq : seq + length]
        if seq > len(typed):
            with pytest.raises(RemoteProtocolError):
                queue.accept("me", seq, data)
        else:
            typed += queue.accept("me", seq, data)
        assert typed == TEXT[: len(typed)]
        assert queue.taken("me") == len(typed)
        count = min(take, queue.pending)
        written += count
        acked = queue.wrote(count).get("me", acked)
        assert acked == written == queue.written("me")


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.binary(max_size=40), st.integers(0, 60)), max_size=40
    )
)
def test_acknowledgements_of_several_never_mix(steps: list[tuple[str | None, bytes, int]]) -> None:
    queue = InputQueue()
    line: list[str | None] = []  # who typed each byte, in the order in which the PTY gets them
    acked = {"a": 0, "b": 0}
    for who, data, take in steps:
        if who is None:
            queue.inject(data)
        else:
            assert queue.accept(who, queue.taken(who), data) == data
        line += [who] * len(data)
        count = min(take, queue.pending)
        for client_id, end in queue.wrote(count).items():
            acked[client_id] = end
        gone = len(line) - queue.pending
        assert acked == {who: line[:gone].count(who) for who in acked}


def test_a_client_may_not_keep_more_waiting_than_the_limit() -> None:
    queue = InputQueue()
    queue.accept("a", 0, b"x" * MAX_PENDING)
    with pytest.raises(RemoteProtocolError):
        queue.accept("a", MAX_PENDING, b"x")
    assert queue.taken("a") == queue.pending == MAX_PENDING
    queue.wrote(1)
    assert queue.accept("a", MAX_PENDING, b"x") == b"x"


def test_nobody_pays_for_what_others_keep_waiting() -> None:
    # Five clients that each keep to their 256 KiB, or one `toowl send`, and an innocent client was thrown out.
    queue = InputQueue()
    queue.inject(b"x" * (MAX_PENDING // 2))
    for client_id in "abcdefgh":
        queue.accept(client_id, 0, b"x" * (MAX_PENDING // 4))
    assert queue.accept("a", MAX_PENDING // 4, b"y") == b"y"


def test_too_much_injected_input_is_refused_and_may_be_tried_again() -> None:
    queue = InputQueue()
    queue.inject(b"x" * MAX_PENDING)
    with pytest.raises(RefusedError):
        queue.inject(b"x")
    queue.wrote(1)
    queue.inject(b"x")


def test_who_left_is_remembered_for_a_while() -> None:
    queue = InputQueue()
    for number in range(MAX_REMEMBERED + 1):
        client_id = str(number)
        queue.joined(client_id)
        queue.accept(client_id, 0, b"abc")
        queue.left(client_id)
    assert queue.taken("0") == 0
    assert queue.taken("1") == 3


def test_who_is_attached_is_never_forgotten() -> None:
    # Else its next key would be a protocol error, after 256 others had come, typed and gone.
    queue = InputQueue()
    queue.joined("me")
    queue.accept("me", 0, b"abc")
    for number in range(MAX_REMEMBERED + 1):
        queue.joined(str(number))
        queue.accept(str(number), 0, b"abc")
        queue.left(str(number))
    assert queue.accept("me", 3, b"d") == b"d"


def test_who_comes_back_is_not_forgotten_any_more() -> None:
    queue = InputQueue()
    queue.accept("me", 0, b"abc")
    queue.left("me")
    queue.joined("me")
    for number in range(MAX_REMEMBERED + 1):
        queue.accept(str(number), 0, b"abc")
        queue.left(str(number))
    assert queue.taken("me") == 3


def test_who_only_looked_costs_nothing() -> None:
    queue = InputQueue()
    queue.accept("me", 0, b"abc")
    queue.left("me")
    for number in range(MAX_REMEMBERED + 1):
        queue.joined(str(number))
        queue.left(str(number))
    assert queue.taken("me") == 3


def test_the_pty_can_not_take_more_than_it_was_given() -> None:
    queue = InputQueue()
    queue.accept("a", 0, b"abc")
    with pytest.raises(LocalProtocolError):
        queue.wrote(4)
    assert queue.pending == 3
