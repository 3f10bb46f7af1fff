"""`SessionHost` with a real child and real sockets, on both loops: what reaches whom, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.harness import alive, wait_for
from tests.host.rig import Rig, joining, open_fds
from toowld.errors import RemoteProtocolError, SpawnFailed
from toowld.host.control import request
from toowld.host.sockets import UNREAD_LIMIT, FrameSocket
from toowld.log import LogReader
from toowld.session import SessionState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.states import AttachmentState
from toowld.wire import (
    Attached,
    Detach,
    Detached,
    Ended,
    Failure,
    Hello,
    Input,
    Live,
    Ping,
    Pong,
    Request,
    Resize,
    encode,
)

#: A shell that echoes nothing and changes nothing: what goes in comes out.
RAW = "stty raw -echo; echo rea''dy; "


def logged(rig: Rig) -> bytes:
    """All output that the log holds."""
    return b"".join(LogReader(rig.folder).output())


def pattern(count: int) -> bytes:
    """Bytes of every value, never the same at two places of a read."""
    return b"".join(struct.pack(">I", number * 2654435761 % (1 << 32)) for number in range(count // 4))


def small_buffer(rig: Rig, client: int) -> None:
    """Let the kernel hold little of what goes to a client, so that it is queued with us."""
    sock = rig.host._clients._clients[client].socket.sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 10)


def finish(rig: Rig) -> None:
    rig.until(lambda: rig.finished, "the host to finish")


# --- output ---------------------------------------------------------------------------------------------


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


# --- input ----------------------------------------------------------------------------------------------


def test_a_megabyte_of_input_arrives_byte_for_byte_and_is_acknowledged(rig: Rig, tmp_path: Path) -> None:
    size = 1 << 20
    data = pattern(size)
    peer = rig.attach()
    rig.shell(f"{RAW} head -c {size} > {tmp_path}/file; echo do''ne; exec cat")
    peer.expect_output(b"ready")
    sent = 0
    while sent < size:  # as a client does: at most 256 KiB in flight
        room = min(sent + (16 << 10), peer.acked + (256 << 10), size)
        if room > sent:
            peer.send(Input(sent, data[sent:room]))
            sent = room
        rig.driver.turn()
        if sent == 512 << 10:
            peer.send(Input(sent - 5000, data[sent - 5000 : sent]))  # once more: dropped
    peer.expect_output(b"done")
    rig.until(lambda: peer.acked == size, "the last acknowledgement")
    assert (tmp_path / "file").read_bytes() == data


def test_input_is_not_acknowledged_before_the_terminal_has_it(rig: Rig) -> None:
    peer = rig.attach()
    rig.shell(f"{RAW} exec sleep 1000")
    peer.expect_output(b"ready")
    for at in range(0, 256 << 10, 16 << 10):
        peer.send(Input(at, b"x" * (16 << 10)))
    rig.until(lambda: peer.acked > 0)
    rig.until(lambda: rig.session.input.pending + peer.acked == 256 << 10)
    assert rig.session.input.pending > 128 << 10, "nobody reads there"


def test_a_client_that_comes_back_goes_on_where_it_was(rig: Rig) -> None:
    first = rig.attach("me")
    rig.shell(f"{RAW} exec cat")
    first.expect_output(b"ready")
    first.enter(b"hello")
    first.expect_output(b"hello")
    second = rig.attach("me", from_seq=rig.session.seq)
    assert second.expect(Attached).input_seq == 5
    assert first.expect(Detached).reason == "replaced"
    second.send(Input(0, b"hello world"))
    second.expect_output(b" world")
    assert second.output == b" world"


def test_requests_type_resize_detach_and_tell(rig: Rig) -> None:
    peer = rig.attach()
    rig.shell(f"{RAW} exec cat", cwd="/tmp")
    peer.expect_output(b"ready")
    request(rig.host, "send", {"data": b"typed"})
    peer.expect_output(b"typed")
    request(rig.host, "resize", {"rows": 11, "cols": 22})
    info = request(rig.host, "info", {})
    assert (info["rows"], info["cols"], info["clients"], info["cwd"]) == (11, 22, 1, "/tmp")
    assert info["client_list"][0]["client_id"] == "c1"
    for nobody in ({}, {"client": None, "all": False}):
        with pytest.raises(RemoteProtocolError, match="'client', or 'all'"):
            request(rig.host, "detach", nobody)
    assert rig.session.attachments, "whom to detach has to be said"
    assert request(rig.host, "detach", {"all": True}) == {"detached": 1}
    assert peer.expect(Detached).reason == "requested"
    rig.until(lambda: peer.eof)
    assert rig.session.state is SessionState.RUNNING


# --- clients --------------------------------------------------------------------------------------------


def test_a_client_resizes_and_leaves(rig: Rig) -> None:
    peer = rig.attach()
    rig.shell("trap 'stty size' WINCH; echo rea''dy; while :; do sleep 0.01; done")
    peer.expect_output(b"ready")
    peer.send(Resize(30, 100))
    peer.expect_output(b"30 100")
    peer.send(Hello(), Detach())
    assert peer.expect(Detached).reason == "client"
    rig.until(lambda: peer.eof and not rig.session.attachments)


def test_an_attached_connection_takes_no_requests(rig: Rig) -> None:
    rig.shell("exec cat")
    peer = rig.attach()
    peer.send(Request(9, "x" * (1 << 20)))
    failure = peer.expect(Failure)
    assert (failure.id, failure.code) == (9, "refused")
    assert len(failure.text) < 10000
    assert rig.session.attachments


@pytest.mark.parametrize(
    "foul",
    [
        encode(Input(5, b"from the future")),
        encode(Input(0, b"x" * ((1 << 20) + 1))),
        encode(Resize(0, 80)),
        encode(Resize(24, 1 << 20)),
        encode(Ended(0, "exited")),
        encode(Attached(0, 0, 0)),
        b"\0\0\0\0",
        b"\xff" * 1000,
    ],
)
@pytest.mark.parametrize("stays", [True, False])
def test_a_client_that_breaks_the_rules_is_dropped_and_the_session_lives(
    rig: Rig, foul: bytes, stays: bool
) -> None:
    rig.shell(f"{RAW} exec cat")
    good = rig.attach("good")
    good.expect_output(b"ready")
    bad = rig.attach("bad")
    bad.expect(Attached)
    bad.send_raw(foul)
    if stays:
        rig.until(lambda: bad.eof, "the bad one to be dropped")
    else:
        bad.close()
    rig.until(lambda: len(rig.session.attachments) == 1)
    good.enter(b"still here")
    good.expect_output(b"still here")
    os.kill(rig.session.pid or 0, signal.SIGKILL)
    finish(rig)


def test_a_refused_attach_is_told_and_closed(rig: Rig) -> None:
    rig.shell("exec cat")
    peer = rig.attach(from_seq=-1)
    failure = peer.expect(Failure)
    assert failure.id == 7
    rig.until(lambda: peer.eof)
    assert not rig.session.attachments


def test_a_refused_attach_of_one_who_is_gone(rig: Rig) -> None:
    rig.shell("exec cat")
    for from_seq in (-1, 0):
        ours, its = socket.socketpair()
        its.close()
        rig.host.join(ours, b"", 7, joining("gone", from_seq=from_seq))
        rig.until(lambda: not rig.session.attachments)
    os.kill(rig.session.pid or 0, signal.SIGKILL)
    finish(rig)


def test_what_came_with_the_attach_request_is_input_too(rig: Rig) -> None:
    rig.shell(f"{RAW} exec cat")
    rig.until(lambda: rig.session.seq == 6)
    peer = rig.attach(unread=encode(Input(0, b"early")) + encode(Ping(3))[:2])
    peer.send_raw(encode(Ping(3))[2:])
    peer.expect(Pong)
    peer.expect_output(b"early")


def test_clients_come_and_go_and_leave_no_descriptor(rig: Rig) -> None:
    rig.shell(f"{RAW} exec cat")
    rig.until(lambda: rig.session.seq == 6)
    before = len(open_fds())
    for number in range(50):
        peer = rig.attach(f"c{number}")
        peer.expect_output(b"ready")
        if number % 2:
            peer.send(Detach())
            peer.expect(Detached)
        peer.close()
        rig.until(lambda: not rig.session.attachments)
    rig.until(lambda: len(open_fds()) == before)


# --- the end --------------------------------------------------------------------------------------------


def test_the_end_by_signal(rig: Rig) -> None:
    peer = rig.attach()
    pid = rig.start("cat")
    os.kill(pid, signal.SIGSEGV)
    ended = peer.expect(Ended)
    assert (ended.reason, ended.code, ended.signal) == ("exited", None, signal.SIGSEGV)
    finish(rig)
    exit_mark = LogReader(rig.folder).last_exit()
    assert exit_mark is not None
    assert (exit_mark["reason"], exit_mark["signal"]) == ("exited", signal.SIGSEGV)


def test_killing_goes_up_to_kill(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child and a background job of another group that ignore HUP and TERM; time is moved, not waited for."""
    peer = rig.attach()
    pid = rig.shell("set -m; trap '' HUP TERM; sleep 1000 & echo job $!; while :; do sleep 0.05; done")
    peer.expect_output(b"job ")
    rig.until(lambda: b"\r\n" in bytes(peer.output).split(b"job ")[-1])
    job = int(bytes(peer.output).split(b"job ")[1].split()[0])
    request(rig.host, "kill", {})
    sent = []
    for _ in range(2):  # both steps are due at once
        deadline = rig.session.next_deadline()
        assert deadline is not None
        rig.session._killing.deadline = 0.0
        rig.host.tell(ev.TimerFired())
    sent = [effect.signal for effect in rig.traced if type(effect) is do.SignalSession]
    assert sent == [signal.SIGHUP, signal.SIGCONT, signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]
    assert peer.expect(Ended).signal == signal.SIGKILL
    wait_for(lambda: not alive(pid) and not alive(job))
    finish(rig)


def test_force_kills_at_once(rig: Rig) -> None:
    rig.shell("trap '' HUP TERM; while :; do sleep 0.05; done")
    peer = rig.attach()
    peer.expect(Attached)
    request(rig.host, "kill", {"force": True})
    assert peer.expect(Ended).signal == signal.SIGKILL


def test_one_who_takes_nothing_does_not_keep_an_ended_session(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toowld.session.ending.FAREWELL", 0.05)
    monkeypatch.setattr("toowld.session.outbox.STALL_AFTER", 0.05)
    monkeypatch.setattr("toowld.host.leaving.CLOSE_TIMEOUT", 0.05)
    stuck, good = rig.attach("stuck"), rig.attach("good")
    rig.shell(f"{RAW} read line; head -c 3000000 /dev/zero; printf END")
    stuck.expect_output(b"ready")
    stuck.stop_reading()
    good.enter(b"\n")
    assert good.expect(Ended).seq == 6 + 3000000 + 3
    finish(rig)


def test_the_last_bytes_reach_one_who_is_slow(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than the timeout, but it takes something each time."""
    monkeypatch.setattr("toowld.host.leaving.CLOSE_TIMEOUT", 0.02)
    looks: list[int] = []
    leaving = rig.host._clients.leaving
    look = leaving._look

    def looked(sock: FrameSocket, queued: int, until: float) -> None:
        looks.append(sock.queued)
        look(sock, queued, until)

    monkeypatch.setattr(leaving, "_look", looked)
    slow = rig.attach("slow")
    rig.shell(f"{RAW} read line; head -c 250000 /dev/zero")
    slow.expect_output(b"ready")
    slow.stop_reading()
    small_buffer(rig, 1)
    slow.enter(b"\n")
    rig.until(lambda: bool(leaving), "the goodbye")
    while not rig.finished:
        seen = len(looks)
        slow.sock.setblocking(False)
        slow._on_readable()  # some of it
        rig.until(lambda seen=seen: len(looks) > seen or rig.finished)  # type: ignore[misc]
    assert len(looks) >= 3
    slow.read()
    assert slow.expect(Ended).seq == len(slow.output) == 6 + 250000


def test_one_who_trickles_is_cut_off_in_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toowld.host.leaving.CLOSE_TIMEOUT", 0.01)
    monkeypatch.setattr("toowld.host.leaving.LONGEST_CLOSE", 0.1)
    slow = rig.attach("slow")
    rig.shell(f"{RAW} read line; head -c 250000 /dev/zero")
    slow.expect_output(b"ready")
    slow.stop_reading()
    small_buffer(rig, 1)
    slow.enter(b"\n")
    rig.until(lambda: bool(rig.host._clients.leaving), "the goodbye")
    sock = next(iter(rig.host._clients.leaving._sockets))

    def trickle() -> bool:
        if sock.queued > 1000:  # as if it had taken a byte
            sock.queued -= 1
        return rig.finished

    rig.until(trickle, "the host to finish")
    slow.read()
    rig.until(lambda: slow.eof)
    assert slow.got(Ended) is None


def test_being_ended_ourselves(rig: Rig) -> None:
    peer = rig.attach()
    pid = rig.shell(f"{RAW} exec cat")
    peer.expect_output(b"ready")
    rig.host.abandon("lost")
    assert peer.expect(Ended) == Ended(6, "lost", None, None)
    assert rig.finished
    assert (LogReader(rig.folder).last_exit() or {})["reason"] == "lost"
    rig.until(lambda: os.waitpid(pid, os.WNOHANG)[0], "the child to be hung up on")
    late = rig.attach("late")
    assert late.expect(Failure).code == "attach-refused"


def test_a_child_that_cannot_be_started_leaves_nothing(rig: Rig) -> None:
    before = open_fds()
    with pytest.raises(SpawnFailed):
        rig.start("/no/such/program")
    assert rig.finished
    assert rig.session.state is SessionState.ENDED
    assert len(open_fds()) <= len(before)


# --- the log and time -----------------------------------------------------------------------------------


def test_a_disk_that_comes_back_is_told_and_used(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toowld.host.scrollback.LOG_RETRY", 0.01)
    peer = rig.attach()
    rig.shell(f"{RAW} exec cat")
    peer.expect_output(b"ready")
    good = rig.log._writev

    def full(fd: int, buffers: object) -> int:
        raise OSError(28, os.strerror(28))

    rig.log._writev = full
    peer.enter(b"in memory")
    peer.expect_output(b"in memory")
    assert rig.log.degraded and request(rig.host, "info", {})["log_error"]
    changes = rig.changes
    rig.log._writev = good
    rig.until(lambda: not rig.log.degraded)
    assert rig.changes > changes
    assert logged(rig) == b"ready\nin memory"


def test_a_disk_that_is_full_from_the_start_is_tried_again_without_output(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toowld.host.scrollback.LOG_RETRY", 0.01)
    good = rig.log._writev

    def full(fd: int, buffers: object) -> int:
        raise OSError(28, os.strerror(28))

    rig.log._writev = full
    rig.start("cat")
    assert rig.log.degraded
    rig.log._writev = good
    rig.until(lambda: not rig.log.degraded, "the log to be back on the disk")


def test_timers_do_not_pile_up(rig: Rig) -> None:
    """The engine's deadline moves with every byte that a slow lead takes; the loop's heap must not grow with it."""
    peer = rig.attach()
    rig.shell(f"{RAW} read line; head -c 6000000 /dev/zero; printf END; exec cat")
    peer.expect_output(b"ready")
    armed = 0
    original = rig.driver.loop.call_at

    def counted(when: float, callback: object, *args: object) -> object:
        nonlocal armed
        armed += getattr(callback, "__name__", "") == "_on_timer"
        return original(when, callback, *args)

    rig.driver.loop.call_at = counted
    peer.enter(b"\n")
    rig.until(lambda: any(type(effect) is do.PausePty for effect in rig.traced) or peer.output[-3:] == b"END")
    peer.expect_output(b"END")
    assert armed < 20


def test_a_quiet_session_waits_for_nothing(rig: Rig) -> None:
    rig.shell(f"{RAW} exec cat")
    peer = rig.attach()
    peer.expect_output(b"ready")
    peer.send(Detach())
    rig.until(lambda: peer.eof)
    assert rig.session.next_deadline() is None
    assert rig.host._timer is None
