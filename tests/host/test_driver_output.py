"""Output of a real child to real sockets, on both loops: all of it to everybody, and who is slow delays nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from functools import partial
from pathlib import Path

from tests.harness import wait_for
from tests.host.rig import RAW, Rig, finish, joining, logged
from toowld.host.sockets import UNREAD_LIMIT
from toowld.session import SessionState
from toowld.session import effects as do
from toowld.session.states import AttachmentState
from toowld.wire import Attached, Ended, Live, Ping, Pong, encode


def test_two_clients_and_the_log_have_the_same_bytes(rig: Rig) -> None:
    """One attached from the start, one in the middle; both have every byte once, then the end."""
    first = rig.attach("a")
    rig.shell("seq 1 20000; read line; seq 20001 40000; exit 3")
    first.expect_output(b"\n20000\r\n")
    second = rig.attach("b")
    first.enter(b"\n")
    for peer in (first, second):
        assert peer.expect(Ended) == Ended(rig.session.seq, "exited", 3, None)
        rig.until(partial(getattr, peer, "eof"), "the connection to close")
        assert type(peer.messages[-1]) is Ended
    finish(rig)
    assert len(first.output) == rig.session.seq
    assert first.output == second.output == logged(rig)
    assert rig.log.end == rig.session.seq
    assert b"\n40000\r\n" in first.output


def test_replay_says_where_it_begins_and_when_it_is_live(rig: Rig) -> None:
    rig.shell("seq 1 100000; echo do''ne; exec cat")
    rig.until(lambda: b"done" in logged(rig))
    end = rig.session.seq
    peer = rig.attach(from_seq=None, replay_bytes=100_000)
    live = peer.expect(Live)
    attached = peer.expect(Attached)
    assert (attached.live, live.seq) == (end, end)
    assert end - 100_000 <= attached.seq < end - 99_900
    assert attached.about["pid"] == rig.session.pid
    assert peer.output == logged(rig)[attached.seq :]
    assert peer.output[:1].isdigit(), "begins with a line"
    only_live = rig.attach("b", from_seq=None)
    only_live.expect(Live)
    assert not only_live.output
    peer.enter(b"once\n")
    only_live.expect_output(b"once\r\nonce\r\n")


def test_the_last_bytes_of_a_child_that_goes_at_once(rig: Rig) -> None:
    rig.shell("stty raw; head -c 65000 /dev/zero | tr '\\0' x; printf END")
    peer = rig.attach()
    ended = peer.expect(Ended)
    assert peer.output == b"x" * 65000 + b"END"
    assert ended.seq == 65003


def test_one_who_does_not_read_delays_neither_the_child_nor_the_others(rig: Rig) -> None:
    """100 MB; the reader has it all while the other has taken nothing, who then gets every byte as well."""
    size = 100 << 20
    slow, fast = rig.attach("slow"), rig.attach("fast")
    rig.shell(f"{RAW} read line; head -c {size} /dev/zero | tr '\\0' 'a'; printf END; exec cat")
    slow.expect_output(b"ready\n")
    slow.stop_reading()
    fast.enter(b"\n")  # who typed last leads
    rig.driver.until(lambda: fast.output.endswith(b"END"), "the flood at the one who reads", 50)
    assert len(slow.output) == len(b"ready\n"), "it has not read anything meanwhile"
    assert len(fast.output) == size + 9
    assert rig.session.attachments[1].state is AttachmentState.LAGGED
    assert rig.host.clients()
    slow.read()
    slow.expect_output(
        b"END"
    )  # byte for byte, but for what the log does not hold any more: that is announced
    assert slow.skipped > 0
    assert slow.skipped + len(slow.output) == size + 9


def test_one_who_reads_late_catches_up_byte_for_byte(rig: Rig) -> None:
    size = 20 << 20
    slow, fast = rig.attach("slow"), rig.attach("fast")
    rig.shell(f"{RAW} read line; head -c {size} /dev/zero | tr '\\0' 'a'; printf END; exec cat")
    slow.expect_output(b"ready\n")
    slow.stop_reading()
    fast.enter(b"\n")
    fast.expect_output(b"END")
    slow.read()
    slow.expect_output(b"END")
    assert slow.output == fast.output
    rig.until(lambda: all(a.live for a in rig.session.attachments.values()))
    fast.enter(b"after")
    slow.expect_output(b"ENDafter")


def test_a_lead_who_reads_nothing_holds_the_child_for_a_second_at_most(rig: Rig) -> None:
    lead = rig.attach()
    rig.shell(f"{RAW} read line; head -c 8000000 /dev/zero; printf END; exec cat")
    lead.expect_output(b"ready\n")
    lead.enter(b"\n")
    rig.until(lambda: rig.session.seq > 6)
    lead.stop_reading()
    rig.until(lambda: any(type(effect) is do.PausePty for effect in rig.traced), "back pressure")
    rig.until(lambda: b"END" in logged(rig)[-10:], "the child to go on without its lead")
    lead.read()
    lead.expect_output(b"END")


def test_one_piece_after_the_other_is_read_of_a_flood(rig: Rig) -> None:
    """Whoever types is heard between two pieces: input of others, timers and signals are never starved."""
    peer = rig.attach()
    rig.shell("yes")
    peer.expect_output(b"y\r\ny\r\n")
    before = rig.session.seq
    peer.send(Ping(77))
    assert peer.expect(Pong) == Pong(77)
    assert rig.session.seq - before < 64 << 20
    peer.enter(b"\x03")
    assert peer.expect(Ended).signal == signal.SIGINT


class Reader:
    """A client that takes all at once, in a thread of its own: it never waits for the loop, nor lets it wait."""

    def __init__(self, rig: Rig) -> None:
        ours, self._sock = socket.socketpair()
        self.taken = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        rig.host.join(ours, b"", 7, joining("fast", read_only=True))

    def _read(self) -> None:
        while data := self._sock.recv(1 << 20):
            self.taken += len(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the host was first
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()


def test_during_the_replay_to_a_fast_client_everybody_has_his_turn(rig: Rig) -> None:
    size = 40 << 20
    rig.shell(f"{RAW} head -c {size} /dev/zero | tr '\\0' 'a'; printf END; exec cat")
    other = rig.attach("other", from_seq=None)
    rig.until(lambda: rig.session.seq >= size + 9)
    other.expect_output(b"END")
    fast = Reader(rig)
    try:
        assert rig.session.attachments[2].seq <= 128 << 10, "one piece, not all that it takes, in one go"
        other.send(Ping(5))
        other.enter(b"typed")
        other.expect(Pong)
        other.expect_output(b"typed")
        assert rig.session.attachments[2].catching_up, (
            "the PTY and the other one did not have to wait for its end"
        )
        rig.until(lambda: rig.session.attachments[2].live)
    finally:
        fast.close()
    assert fast.taken > size


def test_one_who_asks_and_never_reads_is_not_listened_to(rig: Rig) -> None:
    """Its answers pile up to a bound, nothing is lost, and the others notice nothing."""
    count = 200_000
    rude, good = rig.attach("rude"), rig.attach("good")
    rig.shell(f"{RAW} exec cat")
    rude.expect_output(b"ready")
    rude.stop_reading()
    rude.send_raw(encode(Ping(1)) * count)
    ours = rig.host._clients._clients[1].socket
    rig.until(lambda: ours.queued > UNREAD_LIMIT)
    good.enter(b"hello")
    good.expect_output(b"hello")
    assert ours.queued < UNREAD_LIMIT + (64 << 10)
    assert rude.to_send, "the rest waits on its side"
    rude.read()
    rig.until(lambda: len(rude.messages) > count)
    assert sum(type(message) is Pong for message in rude.messages) == count
    rude.expect_output(b"hello")


def test_ctrl_c_ends_a_cat_of_a_big_file(rig: Rig, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    peer = rig.attach()
    rig.shell(f"stty -opost; trap : INT; echo rea''dy; cat {big}; echo; echo status $?; exec cat")
    peer.expect_output(b"\0" * 100)
    peer.enter(b"\x03")
    peer.expect_output(b"\nstatus ")
    assert rig.session.seq < 1 << 29, "long before the end of the file"


def test_a_child_that_closes_its_terminal_and_lives_costs_nothing(rig: Rig, tmp_path: Path) -> None:
    peer = rig.attach()
    pid = rig.shell(f"echo rea''dy; exec < /dev/null > {tmp_path}/out 2>&1; echo closed; exec sleep 1000")
    peer.expect_output(b"ready")
    out = tmp_path / "out"
    wait_for(lambda: out.exists() and out.read_text() == "closed\n")
    rig.until(lambda: rig.session.state is SessionState.RUNNING)
    calls = 0
    original = rig.host._terminal._read

    def counted(limit: int) -> bytes:
        nonlocal calls
        calls += 1
        return original(limit)

    rig.host._terminal._read = counted  # type: ignore[method-assign]
    for _ in range(20):
        rig.driver.turn()
    assert calls == 0
    os.kill(pid, signal.SIGTERM)
    assert peer.expect(Ended).signal == signal.SIGTERM
