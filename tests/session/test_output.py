"""Attaching, replay, live output and gaps, as scripts: what happens, at what time, and what is done about it."""

from __future__ import annotations

import pytest

from tests.session.scripts import SIZE, attached, flood, join, of, running, sent, state
from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from toowld.session import AttachmentState, Session, SessionState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.ending import LONGEST_FAREWELL
from toowld.session.feeding import REPLAY_PIECE
from toowld.session.marks import NEWS_INTERVAL
from toowld.wire import Attached, Detached, Ended, Gap, Live, Output

MIB = 1 << 20


# -- attaching -------------------------------------------------------------------------------------------


def test_a_fresh_attach_without_replay_is_live_at_once() -> None:
    session = running(seq=500)
    assert session.handle(join(1), 1.0) == [
        do.NudgeForeground(),
        attached(1, seq=500),
        do.Send(1, Live(500)),
        do.Changed(),
    ]
    assert session.handle(ev.PtyOutput(b"hello"), 1.1) == [
        do.AppendLog(b"hello"),
        do.Send(1, Output(500, b"hello")),
    ]


def test_a_fresh_attach_with_replay_begins_where_the_log_says() -> None:
    session = running(seq=500)
    assert session.handle(join(1, replay=MIB), 1.0) == [
        do.NudgeForeground(),
        do.FindReplayStart(1, MIB, REPLAY_PIECE),
        do.Changed(),
    ]
    assert session.handle(ev.LogRead(1, 490, b"0123456789"), 1.0) == [
        attached(1, seq=490, live=500),
        do.Send(1, Output(490, b"0123456789")),
        do.WatchRoom(1),
        do.PausePty(),  # it leads, and is nearly there
    ]
    assert session.handle(ev.ClientRoom(1), 1.1) == [do.Send(1, Live(500)), do.ResumePty()]


def test_replay_of_an_empty_session() -> None:
    session = running()
    session.handle(join(1, replay=MIB), 1.0)
    assert session.handle(ev.LogRead(1, 0, b""), 1.0) == [attached(1, seq=0), do.Send(1, Live(0))]


def test_a_reconnect_goes_on_where_the_client_is() -> None:
    session = running(seq=500)
    assert session.handle(join(1, from_seq=400), 1.0) == [
        attached(1, seq=400, live=500),
        do.ReadLog(1, 400, REPLAY_PIECE),
        do.Changed(),
        do.PausePty(),
    ]
    effects = session.handle(ev.LogRead(1, 400, b"r" * 100), 1.0)
    assert effects == [do.Send(1, Output(400, b"r" * 100)), do.WatchRoom(1)]
    assert session.handle(ev.ClientRoom(1), 1.1) == [do.Send(1, Live(500)), do.ResumePty()]


def test_a_reconnect_that_lacks_nothing_is_live_at_once() -> None:
    session = running(seq=500)
    assert session.handle(join(1, from_seq=500), 1.0) == [
        attached(1, seq=500),
        do.Send(1, Live(500)),
        do.Changed(),
    ]


@pytest.mark.parametrize("from_seq", [-1, 1 << 63])
def test_a_reconnect_from_where_nothing_can_be(from_seq: int) -> None:
    session = running(seq=500)
    with pytest.raises(RemoteProtocolError):
        session.handle(join(1, from_seq=from_seq), 1.0)
    assert not session.attachments


@pytest.mark.parametrize("cause", [ev.ClientDismissed(1, "requested"), join(2, steal=True)])
def test_who_is_sent_away_while_its_replay_is_looked_for_is_welcomed_first(cause: ev.Event) -> None:
    """Else a client that waits to be attached takes it for a broken connection, and comes back."""
    session = running(seq=10)
    assert sent(session.handle(join(1, replay=1000), 1.0), 1) == []
    first, last = sent(session.handle(cause, 2.0), 1)
    assert isinstance(first, Attached) and (first.seq, first.live) == (10, 10)
    assert isinstance(last, Detached)


@pytest.mark.parametrize("replay_bytes", [0, 1000])
def test_a_reconnect_from_beyond_the_end_begins_afresh(replay_bytes: int) -> None:
    """The power went, and with it output that this client has seen: what comes is no continuation of it."""
    afresh, beyond = running(seq=500), running(seq=500)
    expected = afresh.handle(join(1, from_seq=None, replay=replay_bytes), 1.0)
    assert beyond.handle(join(1, from_seq=501, replay=replay_bytes), 1.0) == expected


def test_the_number_of_an_attachment_is_used_once() -> None:
    session = running()
    session.handle(join(1), 1.0)
    with pytest.raises(LocalProtocolError):
        session.handle(join(1), 1.1)


def test_a_second_connection_of_a_client_replaces_the_first() -> None:
    session = running(seq=500)
    session.handle(join(1, client_id="me"), 1.0)
    effects = session.handle(join(2, client_id="me", from_seq=500), 2.0)
    assert effects == [
        do.Send(1, Detached("replaced")),
        do.CloseClient(1, "replaced"),
        attached(2, seq=500),
        do.Send(2, Live(500)),
        do.Changed(),
    ]
    assert list(session.attachments) == [2]
    assert session.handle(ev.ClientLeft(1), 2.1) == []  # its connection is closed now: old news


def test_to_replace_a_connection_brings_nothing_to_the_disk() -> None:
    session = running()
    session.handle(join(1, client_id="me"), 1.0)
    session.handle(ev.PtyOutput(b"x"), 1.1)
    assert not of(session.handle(join(2, client_id="me", from_seq=1), 2.0), do.SyncLog)


def test_a_client_that_is_sent_away_is_told_why() -> None:
    session = running()
    session.handle(join(1), 1.0)
    assert session.handle(ev.ClientDismissed(1, "requested"), 2.0) == [
        do.Send(1, Detached("requested")),
        do.CloseClient(1, "requested"),
        do.Changed(),
    ]
    assert session.handle(ev.ClientDismissed(1, "requested"), 2.1) == []


# -- replay ----------------------------------------------------------------------------------------------


def test_replay_comes_piece_by_piece_and_turns_live_without_a_hole() -> None:
    session = running(seq=3 * REPLAY_PIECE)
    session.handle(join(1, from_seq=0), 1.0)
    seen = b""
    for piece in (b"a", b"b", b"c"):
        effects = session.handle(ev.LogRead(1, len(seen), piece * REPLAY_PIECE), 1.0)
        assert of(effects, do.ReadLog) == []  # not before this one is gone
        seen += piece * REPLAY_PIECE
        effects = session.handle(ev.ClientRoom(1), 1.0)
        if len(seen) < session.seq:
            assert of(effects, do.ReadLog) == [do.ReadLog(1, len(seen), REPLAY_PIECE)]
    assert sent(effects, 1) == [Live(len(seen))]
    assert sent(session.handle(ev.PtyOutput(b"next"), 1.1), 1) == [Output(len(seen), b"next")]


def test_output_during_the_replay_is_replayed_too_and_sent_once() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0, read_only=True), 1.0)
    session.handle(ev.LogRead(1, 0, b"0123456789"), 1.0)
    assert session.handle(ev.PtyOutput(b"new"), 1.1) == [do.AppendLog(b"new")]
    assert of(session.handle(ev.ClientRoom(1), 1.2), do.ReadLog) == [do.ReadLog(1, 10, REPLAY_PIECE)]
    assert sent(session.handle(ev.LogRead(1, 10, b"new"), 1.2), 1) == [Output(10, b"new")]
    assert sent(session.handle(ev.ClientRoom(1), 1.3), 1) == [Live(13)]


def test_room_during_a_read_does_not_ask_for_the_same_bytes_again() -> None:
    # The connection reports that `Attached` went out before the log has answered: this gave every piece twice.
    session = running(seq=10)
    assert of(session.handle(join(1, from_seq=0), 1.0), do.ReadLog) == [do.ReadLog(1, 0, REPLAY_PIECE)]
    assert of(session.handle(ev.ClientRoom(1), 1.0), do.ReadLog) == []
    assert sent(session.handle(ev.LogRead(1, 0, b"0123456789"), 1.0), 1) == [Output(0, b"0123456789")]
    assert sent(session.handle(ev.ClientRoom(1), 1.1), 1) == [Live(10)]


def test_two_news_of_room_ask_for_one_piece() -> None:
    session = running(seq=3 * REPLAY_PIECE)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"a" * REPLAY_PIECE), 1.0)
    first = session.handle(ev.ClientRoom(1), 1.0)
    second = session.handle(ev.ClientRoom(1), 1.0)
    assert of(first + second, do.ReadLog) == [do.ReadLog(1, REPLAY_PIECE, REPLAY_PIECE)]


@pytest.mark.parametrize("left", [100, 0])
def test_what_a_client_takes_is_no_reason_for_another_piece(left: int) -> None:
    # A connection takes a piece while it is being sent. One that kept up got its whole replay before anybody else
    # had a turn.
    session = running(seq=REPLAY_PIECE * 2)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"a" * REPLAY_PIECE), 1.0)
    assert session.handle(ev.ClientTook(1, left), 1.1) == []
    assert session.handle(ev.ClientRoom(1), 1.2) == [do.ReadLog(1, REPLAY_PIECE, REPLAY_PIECE)]


def test_room_that_nobody_asked_for_is_nothing() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=10), 1.0)
    assert session.handle(ev.ClientRoom(1), 1.0) == []
    assert session.handle(ev.ClientRoom(2), 1.0) == []


def test_an_answer_of_the_log_that_nobody_asked_for() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=10), 1.0)
    with pytest.raises(LocalProtocolError):
        session.handle(ev.LogRead(1, 0, b"0123456789"), 1.0)


@pytest.mark.parametrize(("seq", "data"), [(3, b"x"), (8, b"xxx")])
def test_an_answer_of_the_log_from_elsewhere(seq: int, data: bytes) -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=5), 1.0)
    with pytest.raises(LocalProtocolError):
        session.handle(ev.LogRead(1, seq, data), 1.0)


def test_an_answer_of_the_log_after_the_client_left_is_nothing() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.ClientLeft(1), 1.0)
    assert session.handle(ev.LogRead(1, 0, b"0123456789"), 1.0) == []
    assert session.handle(ev.ClientRoom(1), 1.0) == []


# -- gaps ------------------------------------------------------------------------------------------------


def test_output_that_is_no_longer_held_is_a_gap_and_said() -> None:
    session = running(seq=1000)
    session.handle(join(1, from_seq=0), 1.0)
    assert sent(session.handle(ev.LogRead(1, 600, b"z" * 400), 1.0), 1) == [
        Gap(0, 600),
        Output(600, b"z" * 400),
    ]


def test_a_gap_up_to_the_end() -> None:
    session = running(seq=1000)
    session.handle(join(1, from_seq=0), 1.0)
    assert sent(session.handle(ev.LogRead(1, 1000, b""), 1.0), 1) == [Gap(0, 1000), Live(1000)]


def test_a_log_that_finds_nothing_ends_in_a_gap_and_not_in_a_loop() -> None:
    # Asked for bytes that were appended, it gave none and did not move: asking again would go on for ever.
    session = running(seq=1000)
    session.handle(join(1, from_seq=400), 1.0)
    effects = session.handle(ev.LogRead(1, 400, b""), 1.0)
    assert of(effects, do.ReadLog) == []
    assert sent(effects, 1) == [Gap(400, 1000), Live(1000)]


def test_where_a_fresh_replay_begins_is_no_gap() -> None:
    session = running(seq=5 * MIB)
    session.handle(join(1, replay=MIB), 1.0)
    effects = session.handle(ev.LogRead(1, 4 * MIB + 7, b"text"), 1.0)
    assert sent(effects, 1) == [
        attached(1, seq=4 * MIB + 7, live=5 * MIB).message,
        Output(4 * MIB + 7, b"text"),
    ]


# -- those who can't follow ------------------------------------------------------------------------------


def test_a_viewer_that_is_full_falls_behind_and_catches_up_from_the_log() -> None:
    session = running()
    session.handle(join(1, read_only=True), 1.0)
    effects = flood(session, 1.0)
    behind = session.seq
    assert of(effects, do.PausePty) == []
    assert of(effects, do.WatchRoom) == [do.WatchRoom(1)]
    assert state(session, 1) is AttachmentState.LAGGED
    assert session.handle(ev.PtyOutput(b"more"), 1.1) == [do.AppendLog(b"more")]
    assert session.handle(ev.ClientTook(1, 5), 1.2) == []
    assert session.handle(ev.ClientRoom(1), 1.3) == [do.ReadLog(1, behind, REPLAY_PIECE)]
    assert sent(session.handle(ev.LogRead(1, behind, b"more"), 1.3), 1) == [Output(behind, b"more")]
    assert sent(session.handle(ev.ClientRoom(1), 1.4), 1) == [Live(behind + 4)]
    assert sent(session.handle(ev.PtyOutput(b"!"), 1.5), 1) == [Output(behind + 4, b"!")]


def test_a_viewer_that_falls_behind_costs_the_others_nothing() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2, read_only=True), 1.0)
    for data in [b"x" * 65536] * 5:
        effects = session.handle(ev.PtyOutput(data), 1.0)
        effects += session.handle(ev.ClientTook(1, 0), 1.0)
        assert len(sent(effects, 1)) == 1
        assert of(effects, do.PausePty, do.ResumePty) == [do.PausePty(), do.ResumePty()]
    assert state(session, 2) is AttachmentState.LAGGED
    assert state(session, 1) is AttachmentState.LIVE


def test_output_before_the_child_is_our_own_banner() -> None:
    session = Session(seq=7, size=SIZE)
    assert session.handle(ev.PtyOutput(b"restarted"), 0.0) == [do.AppendLog(b"restarted")]
    assert session.seq == 16


# -- the end ---------------------------------------------------------------------------------------------


def test_the_end_comes_after_all_output_and_finishes() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.PtyOutput(b"bye"), 2.0)
    assert session.handle(ev.ChildEnded(7, None), 2.0) == [
        do.LogExit("exited", 7, None, False),
        do.ClosePty(),
        do.SyncLog(),
        do.Send(1, Ended(3, "exited", 7, None)),
        do.CloseClient(1, "ended"),
        do.Changed(),
        do.Finished(),
    ]
    assert session.state is SessionState.ENDED
    assert session.ended == Ended(3, "exited", 7, None)
    assert session.next_deadline() is None


def test_the_end_with_nobody_attached() -> None:
    session = running()
    effects = session.handle(ev.ChildEnded(None, 9, "lost"), 2.0)
    assert effects == [
        do.LogExit("lost", None, 9, False),
        do.ClosePty(),
        do.SyncLog(),
        do.Changed(),
        do.Finished(),
    ]


def test_who_is_behind_at_the_end_is_told_when_it_has_all() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    assert not of(session.handle(ev.ChildEnded(0, None), 1.0), do.Finished, do.Send, do.ResumePty)
    assert session.handle(ev.ClientRoom(1), 1.5) == [do.ReadLog(1, 5, REPLAY_PIECE)]
    session.handle(ev.LogRead(1, 5, b"56789"), 1.5)
    assert session.handle(ev.ClientRoom(1), 2.0) == [
        do.Send(1, Live(10)),
        do.Send(1, Ended(10, "exited", 0, None)),
        do.CloseClient(1, "ended"),
        do.Changed(),
        do.Finished(),
    ]


def test_a_client_that_takes_nothing_keeps_the_end_waiting_no_longer_than_the_farewell() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    assert session.next_deadline() == 7.0
    assert session.handle(ev.TimerFired(), 7.0) == [do.CloseClient(1, "slow"), do.Changed(), do.Finished()]
    assert session.next_deadline() is None


def test_a_client_that_still_takes_its_last_bytes_gets_more_time() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    session.handle(ev.ClientTook(1, 3), 6.5)
    assert session.handle(ev.TimerFired(), 7.0) == []
    assert session.next_deadline() == 12.0
    assert session.handle(ev.TimerFired(), 12.0) == [do.CloseClient(1, "slow"), do.Changed(), do.Finished()]


def test_a_client_that_trickles_does_not_keep_the_end_waiting_for_ever() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    now = 2.0
    while True:
        deadline = session.next_deadline()
        assert deadline is not None and deadline <= 2.0 + LONGEST_FAREWELL
        now = deadline
        session.handle(ev.ClientTook(1, 3), now - 0.5)
        if effects := session.handle(ev.TimerFired(), now):
            break
    assert effects == [do.CloseClient(1, "slow"), do.Changed(), do.Finished()]
    assert now == 2.0 + LONGEST_FAREWELL


def test_finished_is_said_once() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(join(2, from_seq=0), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    effects = session.handle(ev.TimerFired(), 7.0)
    effects += session.handle(ev.ClientLeft(1), 7.0) + session.handle(ev.ClientLeft(2), 7.0)
    effects += session.handle(ev.TimerFired(), 12.0)
    assert of(effects, do.Finished) == [do.Finished()]


def test_nobody_joins_after_all_is_over() -> None:
    session = running()
    session.handle(ev.ChildEnded(0, None), 2.0)
    with pytest.raises(RefusedError):
        session.handle(join(1), 2.1)
    assert not session.attachments


def test_no_output_comes_after_the_end() -> None:
    session = running()
    session.handle(ev.ChildEnded(0, None), 2.0)
    with pytest.raises(LocalProtocolError):
        session.handle(ev.PtyOutput(b"late"), 2.1)
    assert session.seq == 0


def test_a_client_that_reconnects_during_the_farewell_gets_the_rest() -> None:
    # Its old connection was the last one, and to replace it was taken for the end of all.
    session = running(seq=10)
    session.handle(join(1, client_id="me", from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    effects = session.handle(join(2, client_id="me", from_seq=3), 3.0)
    assert not of(effects, do.Finished)
    assert of(effects, do.ReadLog) == [do.ReadLog(2, 3, REPLAY_PIECE)]
    session.handle(ev.LogRead(2, 3, b"3456789"), 3.0)
    assert session.handle(ev.ClientRoom(2), 3.1)[-4:] == [
        do.Send(2, Ended(10, "exited", 0, None)),
        do.CloseClient(2, "ended"),
        do.Changed(),
        do.Finished(),
    ]


def test_a_child_that_could_not_start() -> None:
    session = Session(seq=0, size=SIZE)
    session.handle(ev.PtyOutput(b"restarted"), 0.0)
    session.handle(join(1), 0.0)
    session.handle(ev.StartRequested(), 0.0)
    assert session.handle(ev.ChildFailed(), 0.1) == [
        do.Send(1, Detached("failed")),
        do.CloseClient(1, "failed"),
        do.Finished(),
    ]
    assert session.state is SessionState.ENDED
    assert session.next_deadline() is None


# -- looking at a session whose child ended earlier ------------------------------------------------------

ENDED = Ended(10, "exited", 7, None)


def test_viewing_an_ended_session_replays_it_and_says_how_it_ended() -> None:
    session = Session(seq=10, size=SIZE, ended=ENDED)
    assert session.handle(join(1, replay=MIB), 1.0) == [
        do.FindReplayStart(1, MIB, REPLAY_PIECE),
        do.Changed(),
    ]
    session.handle(ev.LogRead(1, 0, b"0123456789"), 1.0)
    assert session.handle(ev.ClientRoom(1), 1.1) == [
        do.Send(1, Live(10)),
        do.Send(1, ENDED),
        do.CloseClient(1, "ended"),
        do.Changed(),
        do.Finished(),
    ]


def test_viewing_an_ended_session_writes_nothing() -> None:
    # Its log is a view that can't be written: a viewer with another terminal size must not try.
    session = Session(seq=10, size=SIZE, ended=ENDED)
    effects = session.handle(join(1, size=type(SIZE)(rows=50, cols=200), from_seq=0), 1.0)
    effects += session.handle(ev.ClientResized(1, type(SIZE)(rows=60, cols=210)), 1.1)
    effects += session.handle(ev.LogRead(1, 0, b"01234"), 1.1)
    effects += session.handle(ev.ClientLeft(1), 1.2)
    assert not of(effects, do.AppendLog, do.LogResize, do.LogExit, do.SyncLog)
    assert not of(effects, do.ResizePty, do.NudgeForeground, do.PausePty, do.ResumePty, do.ClosePty)
    assert session.size == SIZE


def test_two_view_an_ended_session_and_it_is_over_with_the_second() -> None:
    session = Session(seq=10, size=SIZE, ended=ENDED)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(join(2, from_seq=0), 1.0)
    assert not of(session.handle(ev.ClientLeft(1), 1.1), do.Finished)
    assert of(session.handle(ev.ClientLeft(2), 1.2), do.Finished) == [do.Finished()]


# -- what a program tells about itself -------------------------------------------------------------------


def test_a_title_is_news_behind_the_output_that_has_it() -> None:
    session = running()
    session.handle(join(1), 1.0)
    data = b"\x1b]0;title\x07"
    assert session.handle(ev.PtyOutput(data), 1.0) == [
        do.AppendLog(data),
        do.Send(1, Output(0, data)),
        do.Changed(),
    ]
    assert session.marked.title == "title"


def test_a_flood_of_bells_is_news_now_and_then() -> None:
    session = running()
    before = session.next_deadline()
    told = []
    for turn in range(1000):
        told += of(session.handle(ev.PtyOutput(b"\x07" * 1000), 1.0 + turn / 1e5), do.Changed)
    assert len(told) == 1
    at = session.next_deadline()
    assert at is not None and (before is None or at < before) and at == 1.0 + NEWS_INTERVAL
    assert session.handle(ev.TimerFired(), at) == [do.Changed()]
    assert session.marked.describe()["bells"] == 1_000_000
    assert session.handle(ev.TimerFired(), at + 1) == []
    assert session.next_deadline() != at


def test_after_a_pause_news_is_told_at_once() -> None:
    session = running()
    assert session.handle(ev.PtyOutput(b"\x07"), 1.0)[-1] == do.Changed()
    assert session.handle(ev.PtyOutput(b"\x07"), 1.0 + NEWS_INTERVAL)[-1] == do.Changed()


def test_marks_go_on_over_an_upgrade_and_from_a_version_that_had_none() -> None:
    session = running()
    session.handle(ev.PtyOutput(b"\x1b]0;title\x07\x1b]2;oth"), 1.0)
    state = session.freeze()
    upgraded = Session.thaw(state)
    upgraded.handle(ev.PtyOutput(b"er\x07"), 2.0)
    assert upgraded.marked.title == "other"
    del state["marks"], state["marks_at"]
    assert Session.thaw(state).marked.title is None
