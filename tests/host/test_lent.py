"""A client's terminal in the hands of a session, on both loops: real PTYs on either side."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.lender import Lender, User, attach
from tests.host.rig import Driver, Rig, open_fds
from toowl.keys import Action, Chords, DetachRequested, HelpRequested, Send
from toowld.log import LogReader
from toowld.session import events as ev
from toowld.session.states import AttachmentState
from toowld.wire import (
    Detach,
    Detached,
    Ended,
    Gap,
    Input,
    Lend,
    Lent,
    Live,
    Ping,
    Pong,
    Recall,
    Resize,
    Returned,
    Size,
    encode,
)

#: A shell that echoes nothing and changes nothing: what goes in comes out.
RAW = "stty raw -echo; printf rea''dy; "

Keys = DetachRequested | HelpRequested


@pytest.fixture
def user(driver: Driver) -> Iterator[User]:
    user = User(driver)
    try:
        yield user
    finally:
        user.close()


@pytest.fixture
def lender(rig: Rig, user: User) -> Lender:
    """A client of a session that prints what is typed."""
    rig.shell(f"{RAW} exec cat")
    return ready(attach(rig, user))


def ready(lender: Lender) -> Lender:
    lender.expect_output(b"ready")
    lender.expect(Live)
    return lender


def logged(rig: Rig) -> bytes:
    return b"".join(LogReader(rig.folder).output())


def taken(rig: Rig, client_id: str = "c1") -> int:
    return rig.session.input.taken(client_id)


def gone(lender: Lender) -> bool:
    """Whether nobody but its client has the terminal open."""
    return lender.user.held == 1


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


# --- stops ----------------------------------------------------------------------------------------------


def fed(chords: Chords, data: bytes) -> tuple[bytes, list[Keys]]:
    actions: list[Action] = chords.feed(data)
    out = b"".join(action.data for action in actions if isinstance(action, Send))
    return out, [action for action in actions if not isinstance(action, Send)]


#: A chord's prefix in each encoding, a paste, keys that begin like one; each with what follows it.
TYPED = [
    b"ab\x1cd",
    b"ab\x1c?cd",
    b"\x1b\x1cd",
    b"ab\x1b[92;5ud",
    b"ab\x1b[92;5u\x1b[100u",
    b"\x1b\x1b[92;5u?",
    b"ab\x1b[27;5;92~d",
    b"ab\x1b[27;5;100~d",
    b"a\x1b[200~\x1cd\x1b[201~\x1cd",
    b"\x1b[9\x1b[92;5ud",
    b"\x1b[20\x1b[200~d\x1b[201~",
    b"\x1b[Mdd?\x1cd",
    b"a\x1b[9;5ub\x1b[97;5u",
    b"\x1b[20~\x1b[1;5C\x1bOP\x1bd",
]


@pytest.mark.parametrize("typed", TYPED, ids=repr)
def test_chords_are_found_as_by_the_client_wherever_a_read_ends(
    rig: Rig, lender: Lender, typed: bytes
) -> None:
    """What the session takes, with what the client makes of the rest, is what the client makes of it all."""
    for cut in range(1, len(typed) + 1):
        alone = Chords()
        first, second = fed(alone, typed[:cut]), fed(alone, typed[cut:])
        expected = first[0] + second[0], first[1] + second[1]
        assert lent_and_split(rig, lender, typed, cut) == expected, f"cut at {cut}"


def lent_and_split(rig: Rig, lender: Lender, typed: bytes, cut: int) -> tuple[bytes, list[Keys]]:
    """Type to the session in two reads, and on to the client where it does not take that."""
    lender.lend()
    before, returned = taken(rig), lender.returned
    lender.user.type(typed[:cut])
    rig.until(lambda: taken(rig) == before + cut or lender.returned > returned)
    lender.user.type(typed[cut:])
    rig.until(lambda: taken(rig) == before + len(typed) or lender.returned > returned)
    last = lender.last_returned if lender.returned > returned else lender.take_back()
    count = last.input_seq - before
    rig.until(lambda: count + len(last.typed) + lender.user.unread == len(typed))
    rest = os.read(lender.user.tty, 100) if lender.user.unread else b""
    rig.until(lambda: rig.session.input.written("c1") == last.input_seq)

    chords = Chords()
    assert typed[:count].endswith(last.begun)
    assert fed(chords, last.begun) == (last.begun, [])  # held back by nobody: it has gone out
    got, keys = fed(chords, last.typed)
    more = fed(chords, rest)
    return typed[:count] + got + more[0], keys + more[1]


def test_a_stop_that_has_begun_is_told_when_the_terminal_goes_back(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"ab\x1b[20")
    rig.until(lambda: taken(rig) == 6)
    returned = lender.take_back()
    assert (returned.input_seq, returned.begun, returned.typed) == (6, b"\x1b[20", b"")


def test_without_stops_all_is_for_the_session(rig: Rig, lender: Lender) -> None:
    lender.lend(stops=[])
    lender.user.type(b"\x1cd\x1b[92;5u")
    lender.user.expect(b"\x1cd\x1b[92;5u")
    assert lender.take_back().input_seq == 9


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


# --- past the engine's turn -----------------------------------------------------------------------------


@pytest.fixture
def sole(rig: Rig, lender: Lender) -> Lender:
    """The only client, whose terminal is lent, and which has seen an echo: from here on no turn is needed."""
    lender.lend()
    lender.user.type(b"+")
    lender.user.expect(b"+")
    return lender


def test_a_key_and_its_echo_take_no_turn_of_the_engine(rig: Rig, sole: Lender) -> None:
    before, active = len(rig.traced), rig.host.last_active_at
    for key in b"wxyz":
        sole.user.type(bytes([key]))
        sole.user.expect(bytes([key]))
    assert rig.traced[before:] == []
    assert rig.host.last_active_at > active
    assert (rig.session.seq, taken(rig)) == (len(b"ready+wxyz"), len(b"+wxyz"))
    assert logged(rig) == b"ready+wxyz"


def test_what_lists_tell_is_told_at_once_nevertheless(rig: Rig, sole: Lender) -> None:
    before = rig.changes
    sole.user.type(b"\x1b]2;a ti")
    sole.user.type(b"tle\x07")
    rig.until(lambda: rig.changes > before, "the news")
    assert rig.session.marked.title == "a title"
    sole.user.expect(b"a title\x07")


def test_whoever_asks_to_be_told_of_the_next_turn_is_told_of_the_next_key(rig: Rig, sole: Lender) -> None:
    told: list[int] = []
    rig.host.on_next_turn(lambda: told.append(1))
    for key in (b"a", b"b"):
        sole.user.type(key)
        sole.user.expect(key)
    assert told == [1]


def test_a_second_client_sees_all_of_it(rig: Rig, sole: Lender) -> None:
    sole.user.type(b"before ")
    sole.user.expect(b"before ")
    other = rig.attach("c2")
    sole.user.type(b"after")
    other.expect_output(b"ready+before after")
    assert other.start == 0


@pytest.mark.parametrize("how", ["its client has taken it", "the disk is gone"])
def test_a_terminal_that_goes_back_on_the_way_leaves_nothing_to_wait_for(
    rig: Rig, sole: Lender, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "the disk is gone":
        monkeypatch.setattr(rig.log, "_writev", lambda fd, parts: os.write(-1, b""))
    else:
        sole.page.revoke()
    rig.host.tell(ev.Injected(b"printed"))
    sole.expect_returned()
    sole.expect_output(b"ready+printed")
    (attachment,) = rig.session.attachments.values()
    rig.until(lambda: not attachment.outbox.waits, f"{attachment.outbox.queued} bytes to be taken")


# --- back again -----------------------------------------------------------------------------------------


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


# --- offers that can't be taken -------------------------------------------------------------------------


def test_a_connection_that_passes_no_descriptors_stays_as_it_is(rig: Rig, lender: Lender) -> None:
    lender.send(Lend(lender.end, {"stops": [], "settings": b""}))
    assert lender.expect_returned() == Returned(5, 0)
    lender.enter(b"on")
    lender.expect_output(b"on")


def test_a_viewer_keeps_its_terminal(rig: Rig, user: User) -> None:
    rig.shell(f"{RAW} exec cat")
    viewer = ready(attach(rig, user, read_only=True))
    viewer.offer()
    assert viewer.expect_returned() == Returned(5, 0)
    assert gone(viewer)


BAD = [
    "no terminal",
    "blocking",
    "one",
    "three",
    "no page",
    "unsealed",
    "short",
    "twice",
    "not given yet",
    "no stops",
]


@pytest.mark.parametrize("what", BAD)
def test_what_can_not_be_used_ends_that_client_only(rig: Rig, lender: Lender, what: str) -> None:
    other = rig.attach("c2")
    other.expect_output(b"ready")
    before = open_fds()
    user = lender.user
    with open("/dev/null", "r+b", buffering=0) as null, socket.socket() as sock:
        match what:
            case "no terminal":
                lender.offer(sock.fileno(), -1)
            case "blocking":
                os.set_blocking(user.tty, True)
                lender.offer()
            case "one":
                lender.offer(user.tty)
            case "three":
                lender.offer(user.tty, -1, null.fileno())
            case "no page":
                lender.offer(user.tty, null.fileno())
            case "unsealed":
                lender.offer(seal=fcntl.F_SEAL_GROW)
            case "short":
                short = os.memfd_create("short", os.MFD_ALLOW_SEALING)
                fcntl.fcntl(short, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
                lender.offer(user.tty, short)
                os.close(short)
            case "twice":
                lender.lend()
                lender.offer()
            case "not given yet":
                lender.offer(seq=rig.session.seq + 1)
            case "no stops":
                lender.offer(stops=[b""])
        text = lender.expect(Detached).reason
    assert text.startswith("protocol error: ")
    rig.until(lambda: lender.eof)
    lender.forget_page()
    assert gone(lender)
    assert len(open_fds()) == len(before) - 1  # the session's end of its connection
    other.enter(b"still here")
    other.expect_output(b"still here")


def test_descriptors_with_any_other_message_are_closed(rig: Rig, lender: Lender) -> None:
    socket.send_fds(lender.sock, [encode(Ping(1))], [lender.user.tty])
    lender.expect(Pong)
    assert gone(lender)


def test_a_client_that_lends_and_breaks_the_rules_has_its_terminal_back(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"seen")
    lender.user.expect(b"seen")
    lender.send(Input(100, b"x"))
    lender.expect(Detached)
    assert [type(m) for m in lender.messages[-2:]] == [Returned, Detached]
    assert lender.output == b"readyseen"
    assert gone(lender)


# --- anything, at any moment ----------------------------------------------------------------------------

CHILD = """
import os, tty
tty.setraw(0)
os.write(1, b"ready")
while data := os.read(0, 65536):
    data = data.replace(b".", b"x" * 3000)
    while data:
        data = data[os.write(1, data):]
"""

#: What is typed: its period is prime to every piece, and it has the beginnings of stops, and stops.
PERIOD = b"abcdefghijklmno\x1cpqr\x1b[92;5ustu\x1b[9vw\x1b[27;xyz\x1b\x1b[20ABCD\x1b[200~EFGHIJKLM"


class Typist:
    """Types at a terminal whoever reads it, and is the client that reads it while nobody else does."""

    def __init__(self, lender: Lender) -> None:
        self.lender = lender
        self.typed = b""
        self.passed_on = 0
        self.returned = 0
        self.waiting = b""

    def type(self, count: int) -> None:
        data = bytes(PERIOD[(len(self.typed) + at) % len(PERIOD)] for at in range(count))
        self.typed += data
        self.lender.user.type(data)

    def through(self, taken: int) -> bool:
        """Whether the session has taken all."""
        self.turn()
        return taken == len(self.typed)

    def turn(self) -> None:
        """Pass on what is the client's."""
        lender = self.lender
        if lender.returned > self.returned:
            self.returned += 1
            assert lender.returned == self.returned
            self.waiting += lender.last_returned.typed
            self.passed_on = lender.last_returned.input_seq
        if lender.loan is None and not lender.offered:
            if lender.user.unread:
                self.waiting += os.read(lender.user.tty, 4096)
            if self.waiting:
                lender.send(Input(self.passed_on, self.waiting))
                self.passed_on += len(self.waiting)
                self.waiting = b""


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_whenever_the_terminal_changes_hands(rig: Rig, user: User, seed: int) -> None:
    chance = random.Random(seed)
    rig.start("python3", "-c", CHILD)
    lender = ready(attach(rig, user))
    typist = Typist(lender)
    for _ in range(150):
        match chance.choice(
            ["lend", "lend", "take back", "type", "type", "type", "flood", "read", "stop", "turn"]
        ):
            case "lend" if lender.loan is None and not lender.offered and not typist.waiting:
                if lender.acked == typist.passed_on:
                    lender.offer()
            case "take back" if lender.loan is not None:
                lender.page.revoke()
                if chance.random() < 0.7:
                    lender.send(Recall())
            case "type" if len(typist.typed) - taken(rig) < 1000:
                typist.type(chance.randint(1, 120))
            case "flood":
                rig.host.tell(ev.Injected(b"." * chance.randint(1, 30)))
            case "read":
                user.read()
                lender.read()
            case "stop":
                (user if chance.random() < 0.6 else lender).stop_reading()
        for _ in range(chance.randint(0, 3)):
            rig.driver.turn()
            typist.turn()
    user.read()
    lender.read()
    if lender.loan is not None or lender.offered:
        lender.page.revoke()
        lender.send(Recall())
        rig.until(lambda: lender.loan is None and not lender.offered)
    rig.until(lambda: typist.through(taken(rig)), "all that was typed")
    rig.host.tell(ev.Injected(b"THE END"))
    lender.expect_output(b"THE END")
    output = logged(rig)
    assert lender.output == output
    assert not lender.skipped
    assert output.replace(b"x" * 3000, b"") == b"ready" + typist.typed + b"THE END"
    assert any(isinstance(message, Lent) for message in lender.messages)
    assert not any(isinstance(message, Gap) for message in lender.messages)
    assert user.held == 1
