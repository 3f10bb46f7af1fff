"""What a driver does by itself for a sole attachment leaves the engine as if it had been asked each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.scripts import join, running
from toowld.session import Session
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.attachment import Attachment
from toowld.session.outbox import HOLD, LOW
from toowld.wire import Size

#: Text, and pieces of what programs tell about themselves, cut anywhere.
PIECES = [
    b"text",
    b"\x1b]2;a title\x07",
    b"\x1b]2;cut",
    b" in two\x07",
    b"\x07",
    b"\x1b[1m",
    b"\x1b",
    b"]133;D;3\x1b\\",
]

#: What the driver does for these by itself.
DONE = (do.AppendLog, do.Send, do.WritePty)


@dataclass
class Asked:
    """A driver that asks at every step."""

    session: Session
    queued: int = 0  # by client 1
    effects: list[do.Effect] = field(default_factory=list)

    def tell(self, event: ev.Event, now: float) -> None:
        self.effects += [effect for effect in self.session.handle(event, now) if type(effect) not in DONE]

    def output(self, data: bytes, took: int, now: float) -> None:
        self.tell(ev.PtyOutput(data), now)
        self.queued += len(data) - took
        if took:
            self.tell(ev.ClientTook(1, self.queued), now)

    def typed(self, data: bytes, now: float) -> None:
        self.tell(ev.ClientTyped(1, None, data), now)
        self.tell(ev.PtyTook(len(data)), now)

    def took(self, count: int, now: float) -> None:
        self.queued -= count
        self.tell(ev.ClientTook(1, self.queued), now)


class Alone(Asked):
    """One that asks only where it must."""

    sole: Attachment | None = None
    seq = 0
    unseen = b""
    keys = 0

    def tell(self, event: ev.Event, now: float) -> None:
        self.catch_up(now)
        super().tell(event, now)
        self.sole, self.seq = self.session.sole, self.session.seq

    def catch_up(self, now: float) -> None:
        """Of what happened since the last time."""
        keys, unseen, self.keys, self.unseen = self.keys, self.unseen, 0, b""
        if keys and self.sole is not None:
            self.session.typed(self.sole, keys, now)
        if unseen and self.sole is not None:
            self.session.passed(self.sole, self.seq, now)
            if self.session.marked.look(unseen, self.seq - len(unseen)):
                self.tell(ev.Marked(), now)

    def output(self, data: bytes, took: int, now: float) -> None:
        if (sole := self.sole) is None:
            super().output(data, took, now)
            return
        self.seq += len(data)
        self.unseen += data
        self.queued += len(data) - took
        self.session.took(sole, len(data), self.queued, now)
        if self.queued > HOLD:
            self.tell(ev.TimerFired(), now)

    def typed(self, data: bytes, now: float) -> None:
        if self.sole is None:
            super().typed(data, now)
        else:
            self.keys += len(data)

    def took(self, count: int, now: float) -> None:
        if (sole := self.sole) is None:
            super().took(count, now)
        else:
            self.queued -= count
            self.session.took(sole, 0, self.queued, now)


def attended(**about: Any) -> Session:
    """A session with one attachment, live, that has printed something."""
    session = running(seq=100, **about)
    session.handle(join(1), 1.0)
    session.handle(ev.PtyOutput(b"$ "), 1.0)
    session.handle(ev.ClientTook(1, 0), 1.0)
    return session


@given(st.data())
def test_it_is_as_if_it_had_been_asked(data: st.DataObject) -> None:
    asked, alone = Asked(attended()), Alone(attended())
    both, now = (asked, alone), 1.0
    alone.tell(ev.TimerFired(), now)  # from here on it may go alone
    for _ in range(data.draw(st.integers(1, 30), label="steps")):
        if later := data.draw(st.sampled_from((0.0, 0.0, 0.001, 0.06, 0.9, 31.0)), label="later"):
            alone.catch_up(now)
            compare(asked, alone)
            now += later
        for one in both:
            if (deadline := one.session.next_deadline()) is not None and deadline <= now:
                one.tell(ev.TimerFired(), now)
        match data.draw(st.sampled_from(("print", "print", "type", "take", "other", "leave", "resize"))):
            case "print" if not asked.session.paused:
                piece = b"".join(data.draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)))
                piece *= data.draw(st.sampled_from((1, 1, 500)), label="times")
                if b"\x1b" in piece or b"\x07" in piece:
                    alone.catch_up(now)  # else two pieces would be news only once
                # Where it takes only some, one that asks each time may hold the child for a moment in between.
                took = data.draw(
                    st.sampled_from((0, len(piece))) if not alone.queued else st.just(0), label="took"
                )
                for one in both:
                    one.output(piece, took, now)
            case "type":
                keys = data.draw(st.sampled_from((b"a", b"\x1b[A", b"\x1b[1;1R", b"paste" * 9)), label="keys")
                for one in both:
                    one.typed(keys, now)
            case "take" if alone.queued:
                least = max(alone.queued - LOW, 1)
                count = data.draw(st.integers(least, alone.queued), label="count")
                for one in both:
                    one.took(count, now)
            case "other" if 2 not in asked.session.attachments:
                alone.catch_up(now)
                event = join(2, client_id="c2", size=Size(rows=50, cols=200), from_seq=asked.session.seq)
                for one in both:
                    one.tell(event, now)
            case "leave":
                for one in both:
                    one.tell(ev.ClientLeft(2), now)
            case "resize":
                size = data.draw(
                    st.sampled_from((Size(rows=24, cols=80), Size(rows=10, cols=40))), label="size"
                )
                for one in both:
                    one.tell(ev.ClientResized(1, size), now)
    alone.catch_up(now)
    compare(asked, alone)


def frozen(one: Asked) -> dict[str, Any]:
    state = one.session.freeze()
    if not state["marks"]["scanner"]["begun"]:
        del state["marks"]["scanner"]["begun_seq"]  # of nothing
    return state


def compare(asked: Asked, alone: Alone) -> None:
    assert frozen(alone) == frozen(asked)
    assert alone.session.next_deadline() == asked.session.next_deadline()
    assert alone.effects == asked.effects
    assert (alone.session.sole is None) == (asked.session.sole is None)


def test_with_one_live_attachment_the_driver_goes_alone() -> None:
    session = attended()
    assert session.sole is session.attachments[1]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(join(2, client_id="c2", from_seq=102), id="a second attachment"),
        pytest.param(ev.ClientLeft(1), id="nobody"),
        pytest.param(ev.ClientTyped(1, None, b"x"), id="input that the child has not read"),
        pytest.param(ev.ChildEnded(0, None), id="the end"),
        pytest.param(ev.TimerFired(), id="output that was synced: the next is to be synced as well"),
        pytest.param(ev.PtyOutput(bytes(HOLD + 1)), id="output that it has not taken"),
    ],
)
def test_with_anything_else_it_does_not(event: ev.Event) -> None:
    session = attended()
    session.handle(event, 40.0)
    assert session.sole is None


def test_somebody_who_only_watches_is_not_sole() -> None:
    session = running()
    session.handle(join(1, read_only=True), 1.0)
    session.handle(ev.PtyOutput(b"$ "), 1.0)
    assert session.sole is None
