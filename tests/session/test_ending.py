"""What ends a child, step by step, and how long clients are waited for after it.

In a session: ``test_flow``, ``test_output``.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

from tests.session.scripts import SIZE
from toowld.session.attachment import Attachment
from toowld.session.effects import Finished, SignalSession
from toowld.session.ending import FAREWELL, KILL_STEPS, LONGEST_FAREWELL, Farewell, Killing
from toowld.session.outbox import STALL_AFTER

HUP, TERM, KILL, CONT = signal.SIGHUP, signal.SIGTERM, signal.SIGKILL, signal.SIGCONT

#: No timer is on time.
LATE = 0.25


def numbers(effects: Sequence[SignalSession]) -> list[int]:
    return [effect.signal for effect in effects]


def test_each_step_has_its_time_and_the_last_is_repeated() -> None:
    killing = Killing()
    assert killing.deadline is None and numbers(killing.due(99.0)) == []
    sent = numbers(killing.request(force=False, now=100.0))
    now = 100.0
    for _, wait in [*KILL_STEPS, KILL_STEPS[-1]]:
        assert killing.deadline == now + wait
        assert numbers(killing.due(now + wait - 0.1)) == []
        now += wait
        sent += numbers(killing.due(now))
    assert sent == [HUP, CONT, TERM, CONT, KILL, KILL, KILL]


def test_to_ask_again_does_not_begin_again_but_force_takes_the_last_step() -> None:
    killing = Killing()
    killing.request(force=False, now=1.0)
    before = killing.deadline
    assert numbers(killing.request(force=False, now=2.0)) == [] and killing.deadline == before
    assert numbers(killing.request(force=True, now=2.0)) == [KILL]
    assert killing.deadline == 2.0 + KILL_STEPS[-1][1]


@pytest.mark.parametrize("requested", [False, True])
def test_of_a_child_that_was_killed_nothing_stays(requested: bool) -> None:
    killing = Killing()
    if requested:
        killing.request(force=False, now=1.0)
    assert numbers(killing.child_ended()) == ([KILL] if requested else [])
    assert killing.deadline is None and numbers(killing.due(99.0)) == []
    assert killing.requested is requested


@pytest.mark.parametrize("force", [False, True])
def test_newer_code_goes_on_with_the_step_that_comes_next(force: bool) -> None:
    one = Killing()
    one.request(force=force, now=1.0)
    other = Killing.thaw(one.freeze())
    assert (other.requested, other.deadline, other.freeze()) == (True, one.deadline, one.freeze())
    assert numbers(other.due(50.0)) == numbers(one.due(50.0)) == ([KILL] if force else [TERM, CONT])


def waiting(client: int) -> Attachment:
    """One that has something queued since 0.0."""
    attachment = Attachment(client, f"c{client}", SIZE, False, 0.0)
    attachment.outbox.add(1000, 0.0)
    return attachment


def test_who_takes_something_is_waited_for_longer_but_not_for_ever() -> None:
    farewell = Farewell()
    slow, stuck = waiting(1), waiting(2)
    assert farewell.overdue([slow, stuck], 99.0) == (), "it has not begun"
    farewell.begin(100.0)
    assert farewell.overdue([slow, stuck], 100.0 + FAREWELL - 0.1) == ()
    looks: list[tuple[float, list[Attachment]]] = []
    while not looks or looks[-1][1] != [slow]:
        assert farewell.deadline is not None
        now = farewell.deadline + LATE
        slow.outbox.left(999, now - STALL_AFTER / 2)
        there = [slow] if looks else [slow, stuck]
        looks.append((now, list(farewell.overdue(there, now))))
    assert looks[0] == (100.0 + FAREWELL + LATE, [stuck])
    assert [overdue for _, overdue in looks[1:-1]] == [[]] * (len(looks) - 2)
    assert looks[-1] == (100.0 + LONGEST_FAREWELL + LATE, [slow])


def test_it_is_over_once() -> None:
    farewell = Farewell()
    farewell.begin(1.0)
    assert not farewell.over
    assert list(farewell.end()) == [Finished()]
    assert farewell.over and farewell.deadline is None
    assert list(farewell.end()) == []
