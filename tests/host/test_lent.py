"""A client's terminal in the hands of a session, on both loops: real PTYs on either side, fast and slow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.host.lender import RAW, Lender, User, attach, gone, ready, taken
from tests.host.rig import Driver, Rig, logged
from toowld.session.states import AttachmentState
from toowld.wire import Live, Ping, Pong, Resize, Returned, Size

# --- while it is lent -----------------------------------------------------------------------------------


def test_output_and_keys_take_the_short_way(rig: Rig, lender: Lender) -> None:
    user = lender.user
    lender.lend()
    assert user.held == 2
    before = len(lender.messages), len(lender.output)
    user.type(b"he")
    user.expect(b"he")
    user.type(b"llo")
    user.expect(b"hello")
    assert (len(lender.messages), len(lender.output)) == before
    assert user.shown == b"hello"
    assert lender.page.position == (len(b"readyhello"), 5) == (rig.session.seq, taken(rig))
    returned = lender.take_back()
    assert returned == Returned(10, 5)
    assert gone(lender)
    lender.enter(b", again")
    lender.expect_output(b"readyhello, again")
    assert user.shown == b"hello"


def test_output_on_its_way_when_it_is_lent_is_not_shown_twice(rig: Rig, user: User) -> None:
    rig.shell(f"{RAW} read line; head -c 300000 /dev/zero | tr '\\0' x; printf END; exec cat")
    lender = ready(attach(rig, user))
    lender.enter(b"\n")
    lender.expect_output(b"xxx")
    lender.stop_reading()
    rig.until(lambda: rig.session.seq > lender.end + 100_000)
    lender.offer()
    lender.read()
    user.expect(b"END")
    lender.take_back()
    assert bytes(lender.output) == logged(rig)
    assert bytes(lender.output[-len(user.shown) :]) == user.shown


def test_the_client_goes_on_to_be_heard(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.send(Ping(5), Resize(30, 100))
    assert lender.expect(Pong) == Pong(5)
    rig.until(lambda: rig.session.size == Size(rows=30, cols=100))
    assert lender.loan is not None
    assert not lender.returned


def test_others_see_and_type_meanwhile(rig: Rig, lender: Lender) -> None:
    other = rig.attach("c2")
    lender.lend()
    other.expect_output(b"ready")
    other.enter(b"from there ")
    lender.user.expect(b"from there ")
    lender.user.type(b"from here")
    other.expect_output(b"from there from here")
    lender.user.expect(b"from there from here")
    assert lender.loan is not None


def test_what_one_types_is_not_acknowledged_to_it(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"x")
    lender.user.expect(b"x")
    assert lender.acked == 0
    assert lender.take_back().input_seq == 1


# --- slow terminals and children ------------------------------------------------------------------------


def test_a_terminal_that_takes_nothing_loses_nothing(rig: Rig, user: User) -> None:
    rig.shell(
        f"{RAW} read line; i=0; while [ $i -lt 60 ]; do seq 10000; i=$((i + 1)); done; printf END; exec cat"
    )
    lender = ready(attach(rig, user))
    lender.lend()
    user.stop_reading()
    user.type(b"\n")
    rig.until(lambda: rig.session.seq > 2_500_000, "the child to go on without the terminal")
    assert rig.session.attachments[1].state is AttachmentState.LAGGED
    assert not lender.returned
    lender.take_back()
    assert 0 < len(user.shown) < 200_000
    lender.expect_output(b"END")
    assert lender.output == logged(rig)
    assert not lender.skipped


def test_a_terminal_that_wakes_up_is_caught_up(rig: Rig, user: User) -> None:
    rig.shell(
        f"{RAW} read line; i=0; while [ $i -lt 30 ]; do seq 10000; i=$((i + 1)); done; printf END; exec cat"
    )
    lender = ready(attach(rig, user))
    lender.lend()
    user.stop_reading()
    user.type(b"\n")
    rig.until(lambda: rig.session.attachments[1].state is AttachmentState.LAGGED)
    user.read()
    user.expect(b"END")
    assert b"ready" + user.shown == logged(rig)
    assert rig.session.attachments[1].live
    user.type(b"more")
    user.expect(b"ENDmore")
    assert not lender.returned


def test_a_child_that_does_not_read_sends_the_client_back_to_its_connection(
    rig: Rig, user: User, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    rig.shell(f"{RAW} read line < {go}; exec cat")
    lender = ready(attach(rig, user))
    lender.lend()
    sent = b""
    while not lender.returned:
        piece = b"%7d," % len(sent)
        user.type(piece)
        sent += piece
        rig.until(lambda: lender.returned or not user.unread)
    lender.offer()
    assert lender.expect_returned(2).seq == 5, "not wanted until the child reads"
    rig.until(lambda: lender.acked + user.unread == len(sent))
    rest = b""
    while user.unread:
        rest += os.read(user.tty, 4096)
    lender.enter(rest)
    with go.open("w") as fifo:
        fifo.write("\n")
    lender.expect_output(sent[-8:])
    assert lender.output == b"ready" + sent


# --- the log is what the client knows its screen from ---------------------------------------------------


def test_a_log_that_loses_its_disk_sends_the_terminal_back(
    rig: Rig, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toowld.host.scrollback.LOG_RETRY", 0.01)
    lender.lend()
    good = rig.log._writev

    def full(fd: int, buffers: object) -> int:
        raise OSError(28, os.strerror(28))

    rig.log._writev = full
    lender.user.type(b"in memory")
    lender.expect_returned()
    lender.expect_output(b"in memory")
    lender.offer()
    assert lender.expect_returned(2) == Returned(rig.session.seq, 9)
    assert gone(lender)
    rig.log._writev = good
    rig.until(lambda: not rig.log.degraded)
    lender.lend()


def test_a_log_that_holds_too_little_borrows_nothing(driver: Driver, user: User, tmp_path: Path) -> None:
    rig = Rig(driver, tmp_path, limit=256 << 10)
    try:
        rig.shell(f"{RAW} exec cat")
        lender = ready(attach(rig, user))
        lender.offer()
        assert lender.expect_returned() == Returned(5, 0)
    finally:
        rig.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_client_has_to_keep_up_with_what_its_terminal_shows(
    driver: Driver, user: User, tmp_path: Path, answers: bool
) -> None:
    rig = Rig(driver, tmp_path, limit=1 << 20)  # of which half may be unseen
    try:
        rig.shell(
            f"{RAW} read line; i=0; while [ $i -lt 40 ]; do seq 10000; i=$((i + 1)); done; printf END; exec cat"
        )
        lender = ready(attach(rig, user))
        lender.answers = answers
        lender.lend()
        user.type(b"\n")
        if answers:
            user.expect(b"END")
            assert not lender.returned
            assert sum(isinstance(message, Live) for message in lender.messages) > 10
        else:
            returned = lender.expect_returned()
            assert 512 << 10 <= returned.seq <= (512 << 10) + (128 << 10)
            lender.expect_output(b"END")
            assert not lender.skipped
    finally:
        rig.close()
