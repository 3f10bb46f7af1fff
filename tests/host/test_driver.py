"""`SessionHost` with a real child and real sockets, on both loops: input, clients, its log and its timers."""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from tests.host.rig import RAW, Rig, finish, joining, logged, open_fds
from toowld.errors import RemoteProtocolError
from toowld.host.control import request
from toowld.session import SessionState
from toowld.session import effects as do
from toowld.wire import (
    Attached,
    Detach,
    Detached,
    Ended,
    Failure,
    Hello,
    Input,
    Ping,
    Pong,
    Request,
    Resize,
    encode,
)


def pattern(count: int) -> bytes:
    """Bytes of every value, never the same at two places of a read."""
    return b"".join(struct.pack(">I", number * 2654435761 % (1 << 32)) for number in range(count // 4))


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
