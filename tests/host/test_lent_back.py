"""A lent terminal that goes back: taken, hung up, replaced, or at the end; its client goes on where that was."""

from __future__ import annotations

import os
import termios
import tty
from pathlib import Path

import pytest

from tests.host.lender import RAW, Lender, User, attach, gone, ready, taken
from tests.host.rig import Driver, Rig, logged, open_fds
from toowld.session import events as ev
from toowld.wire import Detach, Detached, Ended, Ping, Pong, Recall, Returned


def test_a_terminal_that_was_taken_back_is_left_alone(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.page.revoke()
    rig.host.tell(ev.Injected(b"printed"))
    assert lender.expect_returned() == Returned(5, 0)
    lender.expect_output(b"printed")
    assert gone(lender) and not lender.user.shown
    lender.send(Recall())  # crossed it: nothing is left to be done
    lender.send(Ping(1))
    lender.expect(Pong)
    assert lender.returned == 1
    lender.lend()
    assert not lender.page.busy


def test_what_is_typed_on_a_terminal_that_was_taken_back_stays_there(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.page.revoke()
    lender.user.type(b"mine")
    lender.expect_returned()
    assert lender.user.unread == 4
    assert not taken(rig)


def test_a_terminal_that_a_shell_has_set_up_for_itself_is_left_alone(rig: Rig, lender: Lender) -> None:
    lender.lend()
    raw = termios.tcgetattr(lender.user.tty)
    cooked = [*raw]
    cooked[tty.LFLAG] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(lender.user.tty, termios.TCSANOW, cooked)
    lender.user.type(b"ls\n")
    lender.expect_returned()
    rig.host.tell(ev.Injected(b"printed"))
    lender.expect_output(b"printed")
    assert os.read(lender.user.tty, 100) == b"ls\n"
    assert lender.user.shown == b"ls\r\n".replace(b"\r", b"") or lender.user.shown == b"ls\r\n"  # the echo
    assert not taken(rig)


def test_a_terminal_that_is_not_as_its_client_says_is_not_touched(rig: Rig, lender: Lender) -> None:
    """The client was stopped with its offer on the way, and a shell was quicker than the session."""
    lender.lend(settings=bytes(64))
    lender.user.type(b"x")
    lender.expect_returned()
    assert lender.user.unread == 1


@pytest.mark.parametrize("how", ["output", "key"])
def test_a_terminal_that_hangs_up_goes_back(rig: Rig, lender: Lender, how: str) -> None:
    lender.lend()
    lender.user.stop_reading()
    os.close(lender.user.pty_fd)
    lender.user.pty_fd = os.open("/dev/null", os.O_RDWR)
    if how == "output":
        rig.host.tell(ev.Injected(b"printed"))
    lender.expect_returned()
    rig.until(lambda: gone(lender))
    lender.enter(b"on")
    lender.expect_output(b"on")


@pytest.mark.parametrize("flooded", [False, True])
def test_a_client_that_is_gone_leaves_no_descriptor(rig: Rig, lender: Lender, flooded: bool) -> None:
    before = open_fds()
    lender.lend()
    user = lender.user
    if flooded:
        user.stop_reading()
        rig.host.tell(ev.Injected(b"x" * 200_000))
        rig.until(lambda: rig.session.seq > 100_000)
    lender.close()
    rig.until(lambda: gone(lender), "the session to close the terminal")
    rig.until(
        lambda: len(open_fds()) == len(before) - 2, "both ends of its connection to be closed, and no more"
    )
    user.close_tty()
    user.read()
    rig.until(lambda: user.eof, "the end of the terminal")


def test_all_output_comes_before_the_end(rig: Rig, user: User) -> None:
    rig.shell(f"{RAW} read line; seq 100000; exit 3")
    lender = ready(attach(rig, user))
    lender.lend()
    user.type(b"\n")
    ended = lender.expect(Ended)
    assert [type(m) for m in lender.messages if isinstance(m, Returned | Ended)] == [Returned, Ended]
    assert ended == Ended(len(lender.output), "exited", 3, None)
    assert lender.output == logged(rig)
    assert gone(lender)


def test_the_end_of_a_session_does_not_wait_for_a_terminal_that_takes_nothing(rig: Rig, user: User) -> None:
    rig.shell(f"{RAW} read line; head -c 150000 /dev/zero; exit 0")
    lender = ready(attach(rig, user))
    lender.lend()
    user.stop_reading()
    user.type(b"\n")
    lender.expect(Ended)
    assert lender.output == logged(rig)
    assert lender.returned == 1


def test_an_offer_that_comes_after_the_end_does_no_harm(rig: Rig, lender: Lender) -> None:
    before = len(open_fds())
    lender.stop_reading()
    rig.host.tell(ev.KillRequested(force=True))
    lender.offer()
    lender.read()
    lender.expect(Ended)
    rig.until(lambda: gone(lender))
    lender.forget_page()
    assert len(open_fds()) <= before


@pytest.mark.parametrize("how", ["asks", "is told"])
def test_a_client_that_is_to_go_has_its_terminal_first(rig: Rig, lender: Lender, how: str) -> None:
    lender.lend()
    lender.user.type(b"seen")
    lender.user.expect(b"seen")
    if how == "asks":
        lender.send(Detach())
    else:
        rig.host.tell(ev.ClientDismissed(1, "requested"))
    lender.expect(Detached)
    assert [type(m) for m in lender.messages[-2:]] == [Returned, Detached]
    assert gone(lender)
    assert lender.output == b"readyseen"


def test_a_client_that_comes_back_takes_its_terminal_from_its_older_self(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"old ")
    lender.user.expect(b"old ")
    newer = attach(rig, lender.user, from_seq=rig.session.seq)
    newer.seen_before = 4
    assert lender.expect(Detached) == Detached("replaced")
    newer.acked = 4
    newer.start = rig.session.seq
    newer.lend()
    assert lender.user.held == 2
    lender.user.type(b"new")
    lender.user.expect(b"old new")
    assert newer.take_back().input_seq == 7


def test_a_gap_is_told_by_the_client(driver: Driver, user: User, tmp_path: Path) -> None:
    """What the log does not hold any more when a slow terminal has room again."""
    rig = Rig(driver, tmp_path, limit=1 << 20)
    try:
        rig.shell(
            f"{RAW} read line; i=0; while [ $i -lt 60 ]; do seq 10000; i=$((i + 1)); done; printf END; exec cat"
        )
        lender = ready(attach(rig, user, read_only=False))
        rig.attach("lead").enter(b"\n")  # who types last decides how fast the child may print
        lender.lend()
        user.stop_reading()
        rig.until(lambda: rig.session.seq > 2_500_000)
        user.read()
        lender.expect_output(b"END")
        assert lender.skipped and lender.returned == 1
        assert lender.end == rig.session.seq
        assert bytes(lender.output[-100_000:]) == logged(rig)[-100_000:]
    finally:
        rig.close()
