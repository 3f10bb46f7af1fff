"""A client whose output goes another way from some byte on (its terminal is lent), and what is typed there."""

from __future__ import annotations

import pytest

from tests.session.scripts import flood, join, of, running, sent, state
from toowld.errors import RemoteProtocolError
from toowld.session import AttachmentState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.feeding import REPLAY_PIECE
from toowld.session.leading import lead_of
from toowld.wire import Detached, Ended, Gap, InputAck, Live, Output


def test_with_nothing_on_its_way_the_client_is_live_at_once() -> None:
    session = running(seq=500)
    session.handle(join(1), 1.0)
    assert session.handle(ev.ClientRewound(1, 500), 2.0) == [do.Send(1, Live(500))]
    assert session.handle(ev.PtyOutput(b"x"), 2.1) == [do.AppendLog(b"x"), do.Send(1, Output(500, b"x"))]


def test_what_was_on_its_way_comes_again_from_the_log() -> None:
    session = running(seq=500)
    session.handle(join(1), 1.0)
    session.handle(ev.PtyOutput(b"lost on the way"), 1.1)
    effects = session.handle(ev.ClientRewound(1, 500), 2.0)
    assert of(effects, do.ReadLog) == [do.ReadLog(1, 500, REPLAY_PIECE)]
    assert state(session, 1) is AttachmentState.REPLAYING
    assert sent(session.handle(ev.LogRead(1, 500, b"lost on the way"), 2.0), 1) == [
        Output(500, b"lost on the way")
    ]
    assert sent(session.handle(ev.ClientRoom(1), 2.1), 1) == [Live(515)]


def test_what_was_queued_for_it_is_not_held_against_it() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.5)
    assert session.attachments[1].outbox.holds
    session.handle(ev.ClientRewound(1, 0), 2.4)
    assert session.attachments[1].outbox.queued == 0
    session.handle(ev.LogRead(1, 0, b"x" * REPLAY_PIECE), 2.4)
    assert session.next_deadline() == 3.4  # its second begins now
    assert session.handle(ev.TimerFired(), 2.5) == []


def test_one_that_waited_for_room_is_fed_the_new_way() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    session.handle(ev.TimerFired(), 2.0)
    assert state(session, 1) is AttachmentState.LAGGED
    assert session.attachments[1].outbox.awaits_room
    effects = session.handle(ev.ClientRewound(1, 10), 2.1)
    assert of(effects, do.ReadLog) == [do.ReadLog(1, 10, REPLAY_PIECE)]
    assert not session.attachments[1].outbox.awaits_room


def test_what_the_log_dropped_meanwhile_is_a_gap() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    session.handle(ev.ClientRewound(1, 10), 1.1)
    assert sent(session.handle(ev.LogRead(1, 100, b"y"), 1.1), 1) == [Gap(10, 100), Output(100, b"y")]


@pytest.mark.parametrize("seq", [-1, 501, 1 << 62])
def test_what_was_not_given_can_not_be_gone_back_from(seq: int) -> None:
    session = running(seq=500)
    session.handle(join(1), 1.0)
    with pytest.raises(RemoteProtocolError, match=f"output from {seq}"):
        session.handle(ev.ClientRewound(1, seq), 2.0)
    assert state(session, 1) is AttachmentState.LIVE


def test_one_that_is_gone_is_no_matter() -> None:
    assert running().handle(ev.ClientRewound(3, 0), 1.0) == []


def test_after_the_end_it_gets_the_rest_and_the_last_word() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    session.handle(ev.TimerFired(), 2.0)
    session.handle(ev.ChildEnded(0, None), 2.1)
    session.handle(ev.ClientRewound(1, session.seq), 2.2)
    assert not session.attachments


def test_what_is_typed_there_goes_on_where_input_is() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"abc"), 1.1)
    assert session.handle(ev.ClientTyped(1, None, b"def"), 1.2) == [do.WritePty(b"def")]
    assert session.input.taken("c1") == 6
    assert session.handle(ev.PtyTook(5), 1.3) == [do.Send(1, InputAck(5))]
    assert session.handle(ev.ClientTyped(1, 6, b"g"), 1.4) == [do.WritePty(b"g")]


def test_who_types_there_leads() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 1.1)
    session.handle(ev.ClientTyped(1, None, b"x"), 1.2)
    assert lead_of(session.attachments.values()) is session.attachments[1]


def test_a_viewer_types_nothing_there_either() -> None:
    session = running()
    session.handle(join(1, read_only=True), 1.0)
    with pytest.raises(RemoteProtocolError, match="read-only"):
        session.handle(ev.ClientTyped(1, None, b"x"), 1.1)


def test_it_is_told_of_its_end_like_everybody() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 1.0)
    for client in (1, 2):
        session.handle(ev.ClientRewound(client, 0), 1.1)
    assert sent(session.handle(ev.ClientDismissed(2, "requested"), 1.2), 2) == [Detached("requested")]
    assert sent(session.handle(ev.ChildEnded(0, None), 1.3), 1) == [Ended(0, "exited", 0, None)]
