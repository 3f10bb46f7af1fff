"""When a client tries again, without any I/O or clock."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowl.reconnect import (
    CAP,
    LINK_TABLE,
    LOCAL_BASE,
    Backoff,
    Clocks,
    Keepalive,
    LinkMove,
    LinkState,
    Reconnector,
    next_link_state,
)
from toowld.errors import LocalProtocolError

D, C, UP, R = LinkState.DISCONNECTED, LinkState.CONNECTING, LinkState.CONNECTED, LinkState.RECONNECTING


def make(at: float = 0.0, seed: int = 1) -> Reconnector:
    return Reconnector(Backoff(random.Random(seed).random), Clocks(at, at, at))


def connected() -> Reconnector:
    link = make()
    link.dial()
    link.established(0.0)
    return link


@pytest.mark.parametrize(("state", "move"), [*itertools.product(LinkState, LinkMove)])
def test_every_move_is_in_the_table_or_refused(state: LinkState, move: LinkMove) -> None:
    legal = {
        (D, LinkMove.DIAL): C,
        (C, LinkMove.ESTABLISHED): UP,
        (C, LinkMove.FAILED): R,
        (UP, LinkMove.LOST): R,
        (R, LinkMove.DIAL): C,
        **{(anything, LinkMove.CLOSE): D for anything in LinkState},
    }
    assert legal == LINK_TABLE
    if (state, move) in legal:
        assert next_link_state(state, move) is legal[state, move]
    else:
        with pytest.raises(LocalProtocolError):
            next_link_state(state, move)


def test_delays_double_up_to_the_cap_and_vary() -> None:
    backoff = Backoff(random.Random(1).random)
    delays = [backoff.delay() for _ in range(1000)]
    for number, delay in enumerate(delays):
        whole = min(CAP, LOCAL_BASE * 2 ** min(number, 50))
        assert whole / 2 <= delay <= whole <= CAP
    assert len(set(delays)) > 990
    assert max(delays) - min(delays[20:]) > 10
    backoff.reset()
    assert backoff.delay() <= LOCAL_BASE


def test_ten_thousand_failures_and_still_trying() -> None:
    link = make()
    now = 0.0
    link.dial()
    for _ in range(10_000):
        link.failed(now)
        assert link.retry_at is not None and now < link.retry_at <= now + CAP
        assert not link.due(now)
        now = link.retry_at
        assert link.due(now)
        link.dial()
    assert link.failures == 10_000
    link.established(now)
    assert link.state is UP
    link.lost(now + 2)
    assert link.retry_at is not None and link.retry_at <= now + 2 + LOCAL_BASE


def test_a_peer_that_hangs_up_at_once_is_asked_ever_less() -> None:
    link = connected()
    waits = []
    now = 0.0
    for _ in range(12):
        link.lost(now)
        assert link.retry_at is not None
        waits.append(link.retry_at - now)
        now = link.retry_at
        link.dial()
        link.established(now)
    assert waits[-1] >= CAP / 2
    link.proved()
    link.lost(now)
    assert link.retry_at is not None and link.retry_at - now <= LOCAL_BASE


@pytest.mark.parametrize(
    ("boottime", "wall"),
    [(0.0, 3600.0), (0.0, -3600.0), (28_800.0, 28_800.0), (28_800.0, 0.0)],
    ids=["set ahead", "set back", "slept", "slept, clock lost"],
)
def test_a_jump_of_the_clock_ends_the_wait(boottime: float, wall: float) -> None:
    link = make()
    link.dial()
    for _ in range(20):
        link.failed(0.0)
        link.retry_at = 0.0
        link.dial()
    link.failed(0.0)
    assert not link.due(1.0)
    link.look(Clocks(1.0, 1.0, 1.0))
    assert not link.due(1.0)
    link.look(Clocks(2.0, 2.0 + boottime, 2.0 + wall))
    assert link.due(2.0)
    link.dial()
    link.failed(2.0)
    assert link.retry_at is not None and link.retry_at <= 2.0 + LOCAL_BASE  # quick again


def test_retry_now_only_where_something_is_waited_for() -> None:
    link = connected()
    link.retry_now(1.0)
    assert link.retry_at is None
    link.lost(1.0)
    link.retry_now(1.0)
    assert link.due(1.0)
    link.close()
    assert link.retry_at is None
    assert link.state is D


@given(
    st.lists(st.sampled_from(["dial", "established", "failed", "lost", "close", "now", "jump"]), max_size=60)
)
def test_whatever_happens_there_is_a_way_on(steps: list[str]) -> None:
    """Illegal moves change nothing; a link that waits always knows for how long."""
    link = make()
    now = 0.0
    offset = 0.0
    for step in steps:
        now += 0.1
        before = (link.state, link.retry_at)
        try:
            match step:
                case "dial" | "close":
                    getattr(link, step)()
                case "now":
                    link.retry_now(now)
                case "jump":
                    offset += 100
                    link.look(Clocks(now, now + offset, now))
                case _:
                    getattr(link, step)(now)
        except LocalProtocolError:
            assert (link.state, link.retry_at) == before
        assert (link.retry_at is not None) == (link.state is R)
        if link.retry_at is not None:
            assert link.retry_at <= now + CAP


def test_keepalive() -> None:
    alive = Keepalive()
    alive.begin(100.0)
    assert alive.deadline == 105.0
    assert alive.ping(104.9) is None
    assert alive.ping(105.0) == 1
    assert alive.ping(105.0) is None
    alive.heard(106.0)
    assert alive.ping(110.0) == 2
    assert not alive.dead(120.9)
    assert alive.ping(115.5) == 3
    assert alive.ping(120.5) == 4
    assert alive.deadline == 121.0
    assert alive.dead(121.0)
    alive.begin(130.0)
    assert not alive.dead(130.0)
    assert alive.ping(130.0) is None
