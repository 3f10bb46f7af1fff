"""The end of a hosted session: by itself, by a signal or by us, with clients that are slow to hear of it."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.harness import alive, wait_for
from tests.host.rig import RAW, Rig, finish, open_fds
from toowld.errors import SpawnFailed
from toowld.host.control import request
from toowld.host.sockets import FrameSocket
from toowld.log import LogReader
from toowld.session import SessionState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.wire import Attached, Ended, Failure


def small_buffer(rig: Rig, client: int) -> None:
    """Let the kernel hold little of what goes to a client, so that it is queued with us."""
    sock = rig.host._clients._clients[client].socket.sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 10)


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
