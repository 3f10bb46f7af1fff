"""What a list that is watched makes of news in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toowl.board import Board


def item(session: str, version: int) -> dict[str, Any]:
    return {"id": session, "version": version}


def event(session: str, version: int) -> dict[str, Any]:
    return {"session": session, "version": version}


def test_older_news_is_none() -> None:
    """A11."""
    board = Board()
    assert not board.listed([item("a", 5), item("b", 1)])
    assert not board.heard("renamed", event("a", 4))
    assert board.heard("attached", event("a", 5)), "who is attached is not of the record"
    assert board.heard("renamed", event("a", 6))
    assert not board.heard("attached", event("a", 5))
    assert board.heard("renamed", event("b", 2)), "each session counts for itself"
    assert board.heard("created", event("c", 0))


def test_a_list_that_is_older_than_an_event_is_asked_for_again() -> None:
    board = Board()
    board.listed([item("a", 5), item("b", 1)])
    board.heard("renamed", event("a", 7))
    assert board.listed([item("a", 6), item("b", 2)]), "it was put together before"
    assert board.sessions == [item("a", 5), item("b", 2)], "nothing goes back"
    assert not board.listed([item("a", 7), item("b", 2)])
    assert board.sessions == [item("a", 7), item("b", 2)]


def test_one_that_was_removed_may_come_back_as_it_likes() -> None:
    board = Board()
    board.listed([item("a", 9)])
    assert board.heard("removed", event("a", 9))
    assert not board.listed([item("a", 1)])


def test_missed_events_are_news() -> None:
    assert Board().heard("missed", {"run": "0", "number": 7, "count": None})


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_what_is_shown_never_goes_back(steps: list[tuple[bool, int]]) -> None:
    board, shown = Board(), -1
    for is_list, version in steps:
        if is_list:
            board.listed([item("a", version)])
            assert board.sessions[0]["version"] >= shown
            shown = board.sessions[0]["version"]
        else:
            board.heard("renamed", event("a", version))
