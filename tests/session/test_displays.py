"""What people are shown of each state; how each comes about for real is in tests/daemon/test_states.py."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.session import Record, State
from toowld.session.displays import DISPLAYS, Kind, shown

ENDED: dict[str, Any] = {"state": State.ENDED, "end_reason": "exited"}


def test_the_table_is_whole() -> None:
    assert set(DISPLAYS) == set(Kind)
    assert len({display.glyph for display in DISPLAYS.values()}) == len(Kind), "each has its own sign"
    for display in DISPLAYS.values():
        assert len(display.glyph) == 1 and display.glyph.isprintable()
        fields = {name for _, name, _, _ in string.Formatter().parse(display.sentence) if name}
        assert fields <= {"label", "code", "signal", "name", "keeping", "cause"}


@pytest.mark.parametrize(
    ("facts", "circumstances", "kind", "word"),
    [
        ({}, {}, Kind.AWAITING, "awaiting"),
        ({"state": State.STARTING}, {}, Kind.STARTING, "starting"),
        ({"state": State.RUNNING}, {"clients": 2}, Kind.ATTACHED, "attached"),
        ({"state": State.RUNNING}, {}, Kind.DETACHED, "detached"),
        ({"state": State.RUNNING}, {"degraded": True}, Kind.DEGRADED, "detached"),
        ({"state": State.RUNNING}, {"answers": False, "degraded": True}, Kind.UNREACHABLE, "unreachable"),
        ({"state": State.UNREACHABLE}, {}, Kind.UNREACHABLE, "unreachable"),
        ({"state": State.UNREACHABLE}, {"other_version": True}, Kind.OTHER_VERSION, "unreachable (version)"),
        (ENDED | {"exit_code": 0}, {}, Kind.DONE, "ended (exited 0)"),
        (ENDED | {"exit_code": 7}, {"answers": False}, Kind.EXITED, "ended (exited 7)"),
        (ENDED | {"exit_signal": 9}, {}, Kind.SIGNALLED, "ended (signal 9)"),
        (ENDED | {"exit_signal": 9, "end_requested": True}, {}, Kind.KILLED, "ended (killed)"),
        (ENDED | {"exit_code": 1, "end_requested": True}, {}, Kind.KILLED, "ended (killed)"),
        (
            ENDED | {"exit_signal": 1, "end_requested": True, "end_cause": "so"},
            {},
            Kind.TIMED_OUT,
            "ended (timeout)",
        ),
        (ENDED | {"end_reason": "lost"}, {}, Kind.LOST, "ended (lost)"),
        (ENDED | {"end_reason": "failed"}, {}, Kind.FAILED, "ended (failed)"),
        (ENDED, {}, Kind.ENDED, "ended"),
        (ENDED | {"exit_code": 0}, {"degraded": True}, Kind.UNWRITTEN, "ended (exited 0)"),
    ],
)
def test_each_state(facts: dict[str, Any], circumstances: dict[str, Any], kind: Kind, word: str) -> None:
    found = shown(Record("0123abcd", **facts), **circumstances)
    assert (found.glyph, found.word) == (DISPLAYS[kind].glyph, word)


@given(
    state=st.sampled_from(State),
    reason=st.none() | st.sampled_from(["exited", "lost", "failed", "evaporated"]),
    code=st.none() | st.integers(0, 255),
    signum=st.none() | st.integers(1, 64),
    persistent=st.booleans(),
    requested=st.booleans(),
    degraded=st.booleans(),
    clients=st.integers(0, 2),
)
def test_whatever_is_known_is_told_in_one_line(
    state: State,
    reason: str | None,
    code: int | None,
    signum: int | None,
    persistent: bool,
    requested: bool,
    degraded: bool,
    clients: int,
) -> None:
    record = Record(
        "0123abcd",
        name="w{o}rk",
        state=state,
        end_reason=reason,
        exit_code=code,
        exit_signal=signum,
        persistent=persistent,
        end_requested=requested,
    )
    found = shown(record, clients=clients, degraded=degraded)
    for text in (found.word, found.sentence):
        assert text.isprintable() and "None" not in text
    assert ("ends together" in found.sentence) <= (not persistent)
