"""Who may slow the child down, how large the terminal is, how the child is ended, and time: as scripts."""

from __future__ import annotations

import signal

import pytest

from tests.session.scripts import FLOOD, LARGE, SIZE, attached, flood, join, of, running, sent, signals, state
from toowld.errors import RefusedError, RemoteProtocolError
from toowld.session import AttachmentState, Session
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.feeding import REPLAY_PIECE
from toowld.session.flow import NEARLY_CAUGHT_UP
from toowld.session.outbox import HIGH, HOLD, LOW
from toowld.wire import InputAck, Live, Output, Resize, Size

# -- the lead slows the child down -----------------------------------------------------------------------


def test_a_full_lead_pauses_the_pty_until_it_has_room() -> None:
    session = running()
    session.handle(join(1), 1.0)
    assert not of(session.handle(ev.PtyOutput(b"x" * HOLD), 1.0), do.PausePty)
    assert session.handle(ev.PtyOutput(b"y"), 1.0)[-1] == do.PausePty()
    assert session.handle(ev.ClientTook(1, LOW + 1), 1.1) == []  # not at every write
    assert session.handle(ev.ClientTook(1, LOW), 1.2) == [do.ResumePty()]
    assert state(session, 1) is AttachmentState.LIVE


def test_a_lead_that_takes_nothing_for_a_second_falls_behind_and_the_child_goes_on() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.5)
    assert session.next_deadline() == 2.5
    assert session.handle(ev.TimerFired(), 2.4) == []
    assert session.handle(ev.TimerFired(), 2.5) == [do.WatchRoom(1), do.ResumePty()]
    assert state(session, 1) is AttachmentState.LAGGED
    assert session.next_deadline() == 31.5  # only the sync


def test_progress_gives_a_lead_another_second() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.5)
    session.handle(ev.ClientTook(1, HIGH), 2.0)
    assert session.next_deadline() == 3.0
    assert session.handle(ev.TimerFired(), 2.5) == []


def test_a_lead_that_stalls_half_way_lets_the_child_go_on() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.5)
    session.handle(ev.ClientTook(1, LOW + 1), 2.0)  # no longer full, not yet with room
    assert session.next_deadline() == 3.0
    assert session.handle(ev.TimerFired(), 3.0) == [do.ResumePty()]


def test_a_lead_that_wakes_up_near_the_end_holds_the_child_until_it_is_live() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    session.handle(ev.TimerFired(), 2.0)
    behind = session.attachments[1].seq
    session.handle(ev.PtyOutput(b"more"), 2.1)
    assert session.handle(ev.ClientTook(1, 100), 3.0) == [do.PausePty()]
    session.handle(ev.ClientRoom(1), 3.1)
    session.handle(ev.LogRead(1, behind, b"more"), 3.1)
    assert session.handle(ev.ClientRoom(1), 3.2) == [do.Send(1, Live(behind + 4)), do.ResumePty()]


def feed(session: Session, client: int, now: float) -> list[do.Effect]:
    """The client has taken its last piece, and gets one from the log. Returns what came of that."""
    session.handle(ev.ClientRoom(client), now)
    start = session.attachments[client].seq
    effects = session.handle(ev.LogRead(client, start, b"p" * REPLAY_PIECE), now)
    return effects + session.handle(ev.ClientTook(client, 0), now)


def far_behind() -> Session:
    """A lead that begins at 0 of 10 MiB, and has its first piece."""
    session = running(seq=10 * NEARLY_CAUGHT_UP)
    assert of(session.handle(join(1, from_seq=0), 1.0), do.PausePty) == [do.PausePty()]
    session.handle(ev.LogRead(1, 0, b"p" * REPLAY_PIECE), 1.0)
    return session


def test_a_lead_that_is_far_behind_lets_the_child_print_half_of_what_it_gets() -> None:
    # The child was let go from farther behind than 1 MiB, and the log overtook a lead that lost nothing till then.
    session = running(seq=10 * NEARLY_CAUGHT_UP)
    session.handle(join(1, from_seq=0), 1.0)
    effects = session.handle(ev.LogRead(1, 0, b"p" * REPLAY_PIECE), 1.0)
    assert effects[-1] == do.ResumePty()
    behind = session.seq - session.attachments[1].seq
    now = 1.0
    for _ in range(20):
        assert session.handle(ev.PtyOutput(b"x" * (64 << 10)), now)[-1] == do.PausePty()
        assert do.ResumePty() not in feed(session, 1, now + 0.1)
        assert do.ResumePty() in feed(session, 1, now + 0.2)
        assert session.seq - session.attachments[1].seq == behind - (64 << 10)
        behind -= 64 << 10
        now += 0.5


def test_a_child_that_prints_little_is_not_held_up_from_far_behind() -> None:
    session = far_behind()
    assert of(session.handle(ev.PtyOutput(b"$ "), 1.1), do.PausePty) == []
    assert of(feed(session, 1, 1.2), do.PausePty, do.ResumePty) == []


def test_what_the_child_may_print_is_not_saved_up() -> None:
    session = far_behind()
    for _ in range(20):
        feed(session, 1, 1.1)
    session.handle(ev.PtyOutput(b"x" * (64 << 10)), 1.2)
    assert session.attachments[1].allowance == 0


def test_a_lead_that_stalls_far_behind_lets_the_child_go_on_until_it_moves() -> None:
    session = far_behind()
    session.handle(ev.PtyOutput(b"x" * (64 << 10)), 1.5)
    assert session.next_deadline() == 2.0, "it has taken nothing since its first piece"
    assert session.handle(ev.TimerFired(), 2.0) == [do.ResumePty()]
    for _ in range(5):
        assert session.handle(ev.PtyOutput(b"x" * (64 << 10)), 2.1)[1:] == []
    assert session.handle(ev.ClientRoom(1), 3.0)[-1] == do.PausePty()


def test_one_who_begins_to_lead_from_far_behind_owes_one_read_at_most() -> None:
    session = far_behind()
    session.handle(join(2, from_seq=session.seq, redraw=True), 1.05)
    for _ in range(100):
        session.handle(ev.PtyOutput(b"x" * (64 << 10)), 1.1)
        session.handle(ev.ClientTook(2, 0), 1.1)
    assert of(session.handle(ev.ClientTyped(1, 0, b"x"), 1.2), do.PausePty) == [do.PausePty()]
    assert sum(do.ResumePty() in feed(session, 1, 1.3) for _ in range(3)) == 1


def test_a_lead_whose_kernel_buffer_is_full_stalls_too() -> None:
    # Nothing was queued behind the socket's own buffer, so the clock did not run, and the child stood for ever.
    session = running(seq=100)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"r" * 50), 1.0)
    session.handle(ev.ClientTook(1, 0), 1.5)
    assert session.next_deadline() == 2.5
    assert session.handle(ev.TimerFired(), 2.5) == [do.ResumePty()]
    assert session.handle(ev.ClientRoom(1), 9.0)[-1] == do.PausePty()


def test_a_replay_that_stalls_lets_the_child_go_on_after_a_second() -> None:
    session = running(seq=100)
    assert session.handle(join(1, from_seq=0), 1.0)[-1] == do.PausePty()
    session.handle(ev.LogRead(1, 0, b"r" * 50), 1.0)
    assert session.next_deadline() == 2.0
    assert session.handle(ev.TimerFired(), 2.0) == [do.ResumePty()]


def test_a_lead_that_stalls_is_queued_for_no_further_than_a_viewer() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.PtyOutput(b"x" * (HOLD + 1)), 1.0)
    assert session.handle(ev.TimerFired(), 2.0) == [do.ResumePty()]
    effects = [effect for data in FLOOD for effect in session.handle(ev.PtyOutput(data), 2.1)]
    assert of(effects, do.WatchRoom, do.PausePty) == [do.WatchRoom(1)]
    assert state(session, 1) is AttachmentState.LAGGED


def test_when_the_lead_leaves_the_child_goes_on() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    assert session.handle(ev.ClientLeft(1), 1.1)[-1] == do.ResumePty()


def test_a_viewer_never_pauses_the_pty() -> None:
    session = running()
    session.handle(join(1, read_only=True), 1.0)
    for _ in range(20):
        assert not of(flood(session, 1.0), do.PausePty)
    assert not of(session.handle(join(2, read_only=True, from_seq=0), 1.0), do.PausePty)


def test_a_replaced_lead_holds_nothing() -> None:
    session = running()
    session.handle(join(1, client_id="me"), 1.0)
    flood(session, 1.0)
    effects = session.handle(join(2, client_id="me", from_seq=session.seq), 1.1)
    assert of(effects, do.PausePty, do.ResumePty) == [do.ResumePty()]


def test_the_end_of_the_child_while_it_is_paused() -> None:
    session = running()
    session.handle(join(1), 1.0)
    flood(session, 1.0)
    effects = session.handle(ev.ChildEnded(0, None), 1.1)
    assert of(effects, do.ClosePty, do.ResumePty) == [do.ClosePty()]  # there is nothing left to resume


# -- who leads -------------------------------------------------------------------------------------------


def test_who_typed_last_leads_and_the_one_before_falls_behind() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 2.0)  # to attach is to lead
    session.handle(ev.ClientTyped(1, 0, b"x"), 3.0)
    effects = []
    for data in [b"x" * 65536] * 5:
        effects += session.handle(ev.PtyOutput(data), 3.0)
    assert of(effects, do.PausePty) == [do.PausePty()]
    assert state(session, 1) is AttachmentState.LIVE
    assert state(session, 2) is AttachmentState.LAGGED
    effects = session.handle(ev.ClientTyped(2, 0, b"y"), 3.1)
    assert state(session, 1) is AttachmentState.LAGGED
    assert of(effects, do.WatchRoom) == [do.WatchRoom(1)]


def test_a_refused_keystroke_does_not_make_a_lead() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 2.0)
    with pytest.raises(RemoteProtocolError):
        session.handle(ev.ClientTyped(1, 99, b"x"), 3.0)
    assert session.attachments[1].typed_at == 1.0


def test_a_viewer_that_attaches_does_not_lead() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2, read_only=True), 2.0)
    assert session.handle(ev.PtyOutput(b"x" * 65536), 2.0)[-1] == do.PausePty()
    assert state(session, 1) is AttachmentState.LIVE


# -- input -----------------------------------------------------------------------------------------------


def test_input_goes_to_the_pty_and_is_acknowledged_as_it_goes() -> None:
    session = running()
    session.handle(join(1), 1.0)
    assert session.handle(ev.ClientTyped(1, 0, b"echo hi\r"), 2.0) == [do.WritePty(b"echo hi\r")]
    assert session.handle(ev.PtyTook(5), 2.0) == [do.Send(1, InputAck(5))]
    assert session.handle(ev.PtyTook(3), 2.1) == [do.Send(1, InputAck(8))]


def test_input_of_a_viewer_is_refused() -> None:
    session = running()
    session.handle(join(1, read_only=True), 1.0)
    with pytest.raises(RemoteProtocolError):
        session.handle(ev.ClientTyped(1, 0, b"x"), 2.0)


def test_after_a_reconnect_what_was_taken_is_not_typed_again() -> None:
    session = running()
    session.handle(join(1, client_id="me"), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"rm -r "), 2.0)
    session.handle(ev.PtyTook(6), 2.0)
    session.handle(ev.ClientLeft(1), 2.1)
    effects = session.handle(join(2, client_id="me", from_seq=0), 3.0)
    assert attached(2, seq=0, input_seq=6) in effects
    assert session.handle(ev.ClientTyped(2, 3, b"-r build"), 3.1) == [do.WritePty(b"build")]


def test_a_resend_of_all_that_was_taken_is_acknowledged_again() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"ls\r"), 2.0)
    session.handle(ev.PtyTook(3), 2.0)
    assert session.handle(ev.ClientTyped(1, 0, b"ls\r"), 2.1) == [do.Send(1, InputAck(3))]


def test_a_resend_is_not_acknowledged_before_the_pty_has_it() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"ls\r"), 2.0)
    session.handle(ev.PtyTook(1), 2.0)
    assert session.handle(ev.ClientTyped(1, 0, b"ls\r"), 2.1) == [do.Send(1, InputAck(1))]
    assert session.handle(ev.PtyTook(2), 2.2) == [do.Send(1, InputAck(3))]


def test_input_with_a_hole_is_refused() -> None:
    session = running()
    session.handle(join(1), 1.0)
    with pytest.raises(RemoteProtocolError):
        session.handle(ev.ClientTyped(1, 1, b"x"), 2.0)


def test_pending_input_of_a_client_that_reconnected_is_acknowledged_to_its_new_connection() -> None:
    session = running()
    session.handle(join(1, client_id="me"), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"ls\r"), 2.0)
    session.handle(join(2, client_id="me", from_seq=0), 3.0)
    assert session.handle(ev.PtyTook(3), 3.1) == [do.Send(2, InputAck(3))]


def test_injected_input_stands_in_line_and_is_acknowledged_to_nobody() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"ab"), 2.0)
    assert session.handle(ev.Injected(b"xyz"), 2.0) == [do.WritePty(b"xyz")]
    session.handle(ev.ClientTyped(1, 2, b"cd"), 2.0)
    assert session.handle(ev.PtyTook(4), 2.1) == [do.Send(1, InputAck(2))]
    assert session.handle(ev.PtyTook(3), 2.1) == [do.Send(1, InputAck(4))]


def test_what_is_typed_after_the_end_is_not_acknowledged() -> None:
    session = running(seq=10)
    session.handle(join(1, from_seq=0), 1.0)
    session.handle(ev.LogRead(1, 0, b"01234"), 1.0)
    session.handle(ev.ChildEnded(0, None), 2.0)
    assert session.handle(ev.ClientTyped(1, 0, b"x"), 2.1) == []
    with pytest.raises(RefusedError):
        session.handle(ev.Injected(b"x"), 2.1)


# -- size ------------------------------------------------------------------------------------------------


def test_the_smallest_terminal_of_those_who_may_type_decides() -> None:
    session = running(size=LARGE)
    assert session.handle(join(1, size=Size(rows=40, cols=80)), 1.0)[:3] == [
        do.ResizePty(Size(rows=40, cols=80)),
        do.LogResize(Size(rows=40, cols=80)),
        do.Changed(),
    ]
    session.handle(join(2, size=Size(rows=24, cols=132)), 2.0)
    assert session.size == Size(rows=24, cols=80)
    session.handle(join(3, size=Size(rows=5, cols=5), read_only=True), 3.0)
    session.handle(join(4, size=None), 3.0)
    assert session.size == Size(rows=24, cols=80)
    session.handle(ev.ClientResized(1, Size(rows=40, cols=100)), 4.0)
    assert session.size == Size(rows=24, cols=100)
    assert do.ResizePty(Size(rows=40, cols=100)) in session.handle(ev.ClientLeft(2), 5.0)


def test_everybody_is_told_of_another_size() -> None:
    session = running(size=LARGE)
    session.handle(join(1, size=LARGE), 1.0)
    session.handle(join(2, size=LARGE, read_only=True), 1.0)
    effects = session.handle(join(3, size=SIZE), 2.0)
    smaller = Resize(rows=SIZE.rows, cols=SIZE.cols)
    assert sent(effects, 1) == sent(effects, 2) == [smaller]
    assert smaller not in sent(effects, 3)  # `Attached` tells it
    assert sent(session.handle(ev.ClientLeft(3), 3.0), 2) == [Resize(rows=LARGE.rows, cols=LARGE.cols)]


def test_the_last_size_stays_when_everybody_left() -> None:
    session = running()
    session.handle(join(1, size=LARGE), 1.0)
    assert not of(session.handle(ev.ClientLeft(1), 2.0), do.ResizePty)
    assert session.size == LARGE


def test_a_size_set_by_hand_holds_until_a_client_says_otherwise() -> None:
    session = running()
    assert session.handle(ev.ResizeRequested(LARGE), 1.0) == [
        do.ResizePty(LARGE),
        do.LogResize(LARGE),
        do.Changed(),
    ]
    assert session.handle(ev.ResizeRequested(LARGE), 1.1) == []
    session.handle(join(1), 2.0)
    assert session.size == SIZE


def test_an_ended_session_has_no_size_to_set() -> None:
    session = running()
    session.handle(ev.ChildEnded(0, None), 1.0)
    with pytest.raises(RefusedError):
        session.handle(ev.ResizeRequested(LARGE), 1.1)


def test_a_reconnect_of_the_smallest_does_not_shake_the_screen() -> None:
    # Its old connection went first, so for a moment the size was that of the others: two SIGWINCH for nothing.
    session = running()
    session.handle(join(1, client_id="small"), 1.0)
    session.handle(join(2, size=LARGE), 1.0)
    effects = session.handle(join(3, client_id="small", from_seq=0), 2.0)
    assert not of(effects, do.ResizePty, do.LogResize)


def test_a_fresh_screen_is_asked_for_only_where_the_kernel_does_not() -> None:
    session = running()
    assert of(session.handle(join(1), 1.0), do.NudgeForeground) == [do.NudgeForeground()]
    assert not of(session.handle(join(2, from_seq=0), 1.0), do.NudgeForeground)  # its screen is there
    assert not of(session.handle(join(3, size=None), 1.0), do.NudgeForeground)  # it has no screen
    smaller = session.handle(join(4, size=Size(rows=10, cols=10)), 1.0)
    assert not of(smaller, do.NudgeForeground)  # the kernel sends SIGWINCH


# -- ending the child ------------------------------------------------------------------------------------


def test_kill_asks_then_insists_then_makes_an_end() -> None:
    session = running()
    assert signals(session.handle(ev.KillRequested(force=False), 1.0)) == [signal.SIGHUP, signal.SIGCONT]
    assert session.next_deadline() == 3.0
    assert signals(session.handle(ev.TimerFired(), 2.9)) == []
    assert signals(session.handle(ev.TimerFired(), 3.0)) == [signal.SIGTERM, signal.SIGCONT]
    assert session.next_deadline() == 6.0
    assert signals(session.handle(ev.TimerFired(), 6.0)) == [signal.SIGKILL]
    assert session.next_deadline() == 7.0
    assert signals(session.handle(ev.TimerFired(), 7.0)) == [signal.SIGKILL]  # until it is gone


def test_force_kills_at_once() -> None:
    session = running()
    assert signals(session.handle(ev.KillRequested(force=True), 1.0)) == [signal.SIGKILL]
    assert session.next_deadline() == 2.0


def test_to_ask_again_does_not_begin_again() -> None:
    # Whoever repeats `toowl kill` within two seconds must not keep it from ever getting to TERM.
    session = running()
    session.handle(ev.KillRequested(force=False), 1.0)
    assert session.handle(ev.KillRequested(force=False), 2.5) == []
    assert session.next_deadline() == 3.0


def test_to_ask_politely_does_not_take_back_a_forced_kill() -> None:
    session = running()
    session.handle(ev.KillRequested(force=True), 1.0)
    assert session.handle(ev.KillRequested(force=False), 1.5) == []
    assert signals(session.handle(ev.TimerFired(), 2.0)) == [signal.SIGKILL]


def test_force_overtakes_a_polite_kill() -> None:
    session = running()
    session.handle(ev.KillRequested(force=False), 1.0)
    assert signals(session.handle(ev.KillRequested(force=True), 1.5)) == [signal.SIGKILL]


def test_nothing_of_a_killed_session_stays() -> None:
    session = running()
    session.handle(ev.KillRequested(force=False), 1.0)
    effects = session.handle(ev.ChildEnded(None, signal.SIGHUP), 1.1)
    assert effects[0] == do.SignalSession(signal.SIGKILL)
    assert session.next_deadline() is None


def test_an_end_on_request_is_told_from_one_that_nobody_asked_for() -> None:
    # At a shutdown every process gets SIGTERM and SIGHUP: that is not what `toowl kill` does.
    by_request, by_others = running(), running()
    by_request.handle(ev.KillRequested(force=False), 1.0)
    asked = of(by_request.handle(ev.ChildEnded(None, signal.SIGHUP), 1.1), do.LogExit)
    assert asked == [do.LogExit("exited", None, signal.SIGHUP, requested=True)]
    other = of(by_others.handle(ev.ChildEnded(None, signal.SIGHUP), 1.1), do.LogExit)
    assert other == [do.LogExit("exited", None, signal.SIGHUP, requested=False)]
    assert (by_request.end_requested, by_others.end_requested) == (True, False)


def test_background_jobs_of_a_session_that_ends_by_itself_are_only_hung_up_on() -> None:
    session = running()
    assert signals(session.handle(ev.ChildEnded(0, None), 1.0)) == []


def test_there_is_nothing_to_kill_in_an_ended_session() -> None:
    session = running()
    session.handle(ev.ChildEnded(0, None), 1.0)
    with pytest.raises(RefusedError):
        session.handle(ev.KillRequested(force=True), 1.1)


# -- what goes to the disk, and when ---------------------------------------------------------------------


def test_output_is_synced_half_a_minute_after_its_first_byte() -> None:
    session = running()
    assert session.next_deadline() is None  # an idle session wakes nobody
    session.handle(ev.PtyOutput(b"a"), 1.0)
    session.handle(ev.PtyOutput(b"b"), 20.0)
    assert session.next_deadline() == 31.0
    assert session.handle(ev.TimerFired(), 30.9) == []
    assert session.handle(ev.TimerFired(), 31.0) == [do.SyncLog()]
    assert session.next_deadline() is None
    session.handle(ev.PtyOutput(b"c"), 40.0)
    assert session.next_deadline() == 70.0


def test_the_last_to_leave_has_all_on_disk() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 1.0)
    session.handle(ev.PtyOutput(b"a"), 1.0)
    assert session.handle(ev.ClientLeft(1), 2.0) == [do.Changed()]
    assert session.handle(ev.ClientLeft(2), 2.0) == [do.SyncLog(), do.Changed()]
    assert session.next_deadline() is None


def test_nothing_new_is_not_synced() -> None:
    session = running()
    session.handle(join(1), 1.0)
    assert session.handle(ev.ClientLeft(1), 2.0) == [do.Changed()]


def test_a_viewed_session_wants_no_timer() -> None:
    session = Session(seq=0, size=SIZE)
    assert session.next_deadline() is None
    session = running()
    session.handle(join(1), 1.0)
    session.handle(ev.PtyOutput(b"x"), 1.0)
    session.handle(ev.ClientTook(1, 0), 1.0)
    session.handle(ev.TimerFired(), 31.0)
    assert session.next_deadline() is None
    assert sent(session.handle(ev.PtyOutput(b"y"), 90.0), 1) == [Output(1, b"y")]
