"""Who answers what a program asks its terminal: exactly one, whoever is there."""

from __future__ import annotations

from tests.session.scripts import SIZE, attached, join, of, running, sent
from toowld.session import Session
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.answers import MAX_UNREAD, MOST, PATIENCE
from toowld.wire import Attached, InputAck, Size

DA1, DA1_REPLY = b"\x1b[c", b"\x1b[?62;22c"
CPR = b"\x1b[6n"


def typed(effects: list[do.Effect]) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, do.WritePty))


def printed(session: Session, data: bytes, now: float = 1.0) -> bytes:
    """What the PTY gets when the child prints that."""
    return typed(session.handle(ev.PtyOutput(data), now))


# -- nobody is there -------------------------------------------------------------------------------------


def test_with_nobody_there_the_answer_is_typed_at_once() -> None:
    session = running()
    assert printed(session, b"hello " + DA1) == DA1_REPLY
    assert printed(session, b"hello ") == b""


def test_a_question_in_two_reads_is_answered_once() -> None:
    session = running()
    assert printed(session, b"\x1b[") == b""
    assert printed(session, b"c") == DA1_REPLY
    assert printed(session, b"c") == b""


def test_a_viewer_that_may_not_type_does_not_answer() -> None:
    session = running()
    session.handle(join(1, read_only=True), 0.5)
    assert printed(session, DA1) == DA1_REPLY


def test_a_client_without_a_terminal_does_not_answer() -> None:
    session = running()
    session.handle(join(1, size=None), 0.5)
    assert printed(session, DA1) == DA1_REPLY


def test_who_comes_between_two_halves_of_a_question_answers() -> None:
    session = running()
    printed(session, b"\x1b[")
    session.handle(join(1), 1.0)
    assert printed(session, b"c") == b""


def test_a_viewer_that_comes_between_two_halves_of_a_question_changes_nothing() -> None:
    session = running()
    printed(session, b"\x1b[")
    session.handle(join(1, read_only=True), 1.0)
    assert printed(session, b"c") == DA1_REPLY


def test_what_the_screen_has_to_tell_is_told_of_and_waited_for() -> None:
    session = running()
    effects = session.handle(ev.PtyOutput(b"ab" + CPR), 1.0)
    assert do.Changed() in effects and typed(effects) == b""
    assert [(query.end, query.text) for query in session.questions] == [(6, CPR)]
    assert typed(session.handle(ev.ScreenAnswered(6, b"\x1b[1;3R"), 1.1)) == b"\x1b[1;3R"
    assert session.questions == []
    assert session.handle(ev.ScreenAnswered(6, b"\x1b[1;3R"), 1.2) == []


def test_answers_keep_the_order_of_the_questions() -> None:
    """A program takes the answer to the second one for the sign that there was none to the first."""
    session = running()
    assert printed(session, CPR + DA1) == b""
    assert typed(session.handle(ev.ScreenAnswered(4, b"\x1b[1;3R"), 1.1)) == b"\x1b[1;3R" + DA1_REPLY


def test_a_screen_that_says_nothing_does_not_keep_a_program_waiting() -> None:
    session = running()
    printed(session, CPR + DA1, now=1.0)
    assert session.next_deadline() == 1.0 + PATIENCE
    assert typed(session.handle(ev.TimerFired(), 1.0 + PATIENCE)) == b"\x1b[1;1R" + DA1_REPLY
    assert session.questions == []
    assert typed(session.handle(ev.ScreenAnswered(4, b"\x1b[1;3R"), 2.5)) == b""


def test_a_screen_that_does_not_know_is_as_good_as_none() -> None:
    session = running()
    printed(session, b"\x1b[?2026$p")
    assert typed(session.handle(ev.ScreenAnswered(9, b""), 1.1)) == b"\x1b[?2026;0$y"


def test_who_attaches_before_the_answer_is_there_does_not_answer() -> None:
    """Its client shows what is below `live` without the questions in it."""
    session = running()
    printed(session, CPR)
    session.handle(join(1), 1.1)
    assert typed(session.handle(ev.ScreenAnswered(4, b"\x1b[1;3R"), 1.2)) == b"\x1b[1;3R"


def test_a_program_that_asks_without_end_is_not_answered_without_end() -> None:
    session = running()
    printed(session, CPR * 2 * MOST)
    assert len(session.questions) == MOST


def test_a_program_that_does_not_read_gets_no_more() -> None:
    session = running()
    count = 0
    while printed(session, DA1):
        count += 1
    assert len(DA1_REPLY) * (count - 1) <= MAX_UNREAD
    session.handle(ev.PtyTook(len(DA1_REPLY) * count), 1.1)
    assert printed(session, DA1) == DA1_REPLY


def test_nobody_is_answered_after_the_end() -> None:
    session = running()
    printed(session, CPR)
    session.handle(ev.ChildEnded(0, None), 1.1)
    assert session.questions == []
    assert session.handle(ev.ScreenAnswered(4, b"\x1b[1;3R"), 1.2) == []


# -- one is there ----------------------------------------------------------------------------------------


def test_a_single_terminal_answers_all_and_all_it_sends_is_typed() -> None:
    session = running()
    session.handle(join(1), 0.5)
    assert printed(session, DA1 + CPR) == b""
    reply = b"\x1b[?1;2c\x1b[12;40R\x1b[1;5R"
    assert typed(session.handle(ev.ClientTyped(1, 0, reply), 1.1)) == reply


def test_a_client_that_comes_back_is_told_what_was_answered_meanwhile() -> None:
    session = running()
    session.handle(join(1), 0.5)
    printed(session, b"0123456789")
    session.handle(ev.ClientLeft(1), 1.0)
    printed(session, DA1)
    effects = session.handle(join(2, client_id="c1", from_seq=3), 1.2)
    assert attached(2, seq=3, live=13, answered=10) in effects


def test_with_others_there_all_was_answered_by_them() -> None:
    session = running(seq=100)
    session.handle(join(1), 0.5)
    (welcome,) = (m for m in sent(session.handle(join(2), 0.6), 2) if isinstance(m, Attached))
    assert welcome.about["answered"] == 0


# -- several are there -----------------------------------------------------------------------------------


def two() -> Session:
    """Two terminals; the second one has typed last."""
    session = running()
    session.handle(join(1), 0.5)
    session.handle(join(2), 0.6)
    session.handle(ev.ClientTyped(2, 0, b"x"), 0.7)
    session.handle(ev.PtyTook(1), 0.7)
    return session


def test_of_two_terminals_the_one_that_leads_answers() -> None:
    session = two()
    assert printed(session, CPR) == b""
    effects = session.handle(ev.ClientTyped(1, 0, b"\x1b[9;9R"), 1.1)
    assert typed(effects) == b""
    assert sent(effects, 1) == [InputAck(6)]  # it is done with
    assert typed(session.handle(ev.ClientTyped(2, 1, b"\x1b[1;3R"), 1.2)) == b"\x1b[1;3R"


def test_to_answer_is_not_to_type() -> None:
    session = two()
    printed(session, CPR + DA1)
    session.handle(ev.ClientTyped(1, 0, b"\x1b[9;9R"), 1.1)
    assert typed(session.handle(ev.ClientTyped(1, 6, b"\x1b[?6c"), 1.2)) == b""
    printed(session, CPR)
    assert typed(session.handle(ev.ClientTyped(2, 1, b"\x1b[1;3R"), 1.3)) == b"\x1b[1;3R"


def test_who_leads_is_what_counts_when_it_is_asked() -> None:
    session = two()
    printed(session, CPR)
    session.handle(ev.ClientTyped(1, 0, b"y"), 1.1)
    assert typed(session.handle(ev.ClientTyped(2, 1, b"\x1b[1;3R"), 1.2)) == b"\x1b[1;3R"
    assert typed(session.handle(ev.ClientTyped(1, 1, b"\x1b[9;9R"), 1.3)) == b""


def test_what_is_typed_beside_an_answer_goes_through() -> None:
    session = two()
    printed(session, CPR)
    effects = session.handle(ev.ClientTyped(1, 0, b"ab\x1b[9;9Rcd"), 1.1)
    assert typed(effects) == b"abcd"
    assert sent(session.handle(ev.PtyTook(4), 1.2), 1) == [InputAck(10)]


def test_an_answer_in_two_inputs() -> None:
    session = two()
    printed(session, CPR)
    assert typed(session.handle(ev.ClientTyped(1, 0, b"\x1b[9;"), 1.1)) == b""
    assert typed(session.handle(ev.ClientTyped(1, 4, b"9Rz"), 1.2)) == b"z"


def test_a_terminal_that_is_lent_is_asked_like_any_other() -> None:
    session = two()
    printed(session, CPR)
    assert typed(session.handle(ev.ClientTyped(1, None, b"\x1b[9;9R"), 1.1)) == b""


def test_where_the_question_was_lost_on_the_way_no_answer_is_expected() -> None:
    session = two()
    printed(session, CPR)
    session.handle(ev.ClientRewound(1, 0), 1.1)
    session.handle(ev.LogRead(1, 4, b""), 1.2)  # the log holds it no more
    assert typed(session.handle(ev.ClientTyped(1, 0, b"\x1b[1;5R"), 1.3)) == b"\x1b[1;5R"


def test_when_the_other_one_has_left_there_is_one() -> None:
    session = two()
    session.handle(ev.ClientLeft(2), 0.9)
    assert printed(session, CPR) == b""
    assert typed(session.handle(ev.ClientTyped(1, 0, b"\x1b[9;9R"), 1.1)) == b"\x1b[9;9R"
    session.handle(ev.ClientLeft(1), 1.2)
    assert printed(session, DA1) == DA1_REPLY


def test_viewers_that_may_not_type_do_not_count() -> None:
    session = running()
    session.handle(join(1, size=Size(rows=50, cols=200), read_only=True), 0.5)
    session.handle(join(2, size=SIZE), 0.6)
    assert printed(session, CPR) == b""
    assert of(session.handle(ev.ClientTyped(2, 0, b"\x1b[1;1R"), 0.7), do.WritePty) != []
