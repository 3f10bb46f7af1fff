"""Attaching, with a scripted session on the one side and a real terminal (a PTY) on the other."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.client.world import DRIVER, PATIENCE, ROOT, World, wait_until
from toowld import wire


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_a_session_on_the_terminal(world: World) -> None:
    request = world.attach()
    params = request.params
    assert params["session"] == "work"
    assert (params["rows"], params["cols"]) == (24, 80)
    assert params["term"] == "xterm-256color"
    assert params["pid"] == world.process.pid
    assert params["tty"] == os.ttyname(world.tty)
    assert len(params["client_id"]) == 16
    assert params["from_seq"] is None
    world.send(wire.Live(0), wire.Output(0, b"$ "))
    world.sees(b"$ ")
    world.type(b"ls\r\x03\x1a\x11\x13\xff")
    assert world.receive_input(8) == b"ls\r\x03\x1a\x11\x13\xff"  # nothing is turned into a signal
    world.send(wire.InputAck(8), wire.Output(2, b"a\nb\r\n"))
    assert world.sees(b"a\nb\r\n") == b""  # nor a newline into something else
    world.send(wire.Ping(7))
    assert world.receive(wire.Pong) == wire.Pong(7)
    world.send(wire.Ended(7, "exited", code=0))
    assert world.ends(0) == b"[work exited with status 0]\r\n"


@pytest.mark.parametrize(
    ("ended", "status", "text"),
    [
        (wire.Ended(2, "exited", code=7), 7, b"[work exited with status 7]"),
        (wire.Ended(2, "exited", signal=9), 137, b"[work killed by signal 9]"),
        (wire.Ended(2, "lost"), 1, b"[work lost: its custodian is gone: `toowl attach work` restores it]"),
    ],
)
def test_the_child_ends(world: World, ended: wire.Ended, status: int, text: bytes) -> None:
    world.attach()
    world.send(wire.Output(0, b"$ "), ended)
    world.session.close()
    assert world.ends(status) == b"$ \r\n" + text + b"\r\n"


@pytest.mark.parametrize("cuts", [[b"\x1cd"], [b"\x1c", b"d"], [b"x\x1b[92;5", b"u", b"d"]])
def test_detach(world: World, cuts: list[bytes]) -> None:
    world.attach()
    world.send(wire.Output(0, b"\x1b[?1049h\x1b[?1000hfull screen"))
    world.sees(b"full screen")
    for cut in cuts:
        world.type(cut)
    if cuts[0].startswith(b"x"):
        assert world.receive(wire.Input).data == b"x"
    world.receive(wire.Detach)
    world.send(wire.Output(25, b"too late"), wire.Detached("client"))
    assert world.ends(0) == b"\x1b[?1000l\x1b[?1049l\r\n[detached from work]\r\n"


def test_detached_by_somebody_else(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"text\n"), wire.Detached("requested"))
    assert world.ends(0) == b"text\n[detached from work]\r\n"


def test_detach_from_a_session_that_hangs(world: World) -> None:
    world.attach()
    world.type(b"x" * 300_000 + b"\x1cd")
    assert world.ends(0).startswith(b"[detached from work; ")


def test_detach_without_patience() -> None:
    world = World("patient")
    try:
        world.attach()
        world.type(b"\x1cd")
        world.receive(wire.Detach)
        world.type(b"\x1cd")
        assert world.ends(0) == b"[detached from work]\r\n"
    finally:
        world.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_killed_by_a_signal(world: World, number: signal.Signals) -> None:
    world.attach()
    world.send(wire.Output(0, b"\x1b[?25l"))
    world.sees(b"\x1b[?25l")
    world.process.send_signal(number)
    world.receive(wire.Detach)
    assert world.ends(128 + number) == b"\x1b[?25h\r\n[detached from work]\r\n"


def test_suspended_and_continued(world: World) -> None:
    world.attach()
    world.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(world.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert termios.tcgetattr(world.tty) == world.before
    world.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not termios.tcgetattr(world.tty)[3] & termios.ICANON)
    world.send(wire.Output(0, b"back"))
    world.sees(b"back")
    world.session.close()
    world.ends(1)


def test_the_terminal_goes_away(world: World) -> None:
    world.attach()
    os.close(world.user)
    world.user = os.dup(world.tty)
    assert world.process.wait(PATIENCE) == 128 + signal.SIGHUP


def test_the_connection_is_lost(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"\x1b[31mhalf a "))
    world.session.close()
    shown = world.ends(1)
    assert shown.startswith(b"\x1b[31mhalf a \x1b[m\r\ntoowl: lost the connection to session work: ")
    assert shown.count(b"\n") == 2


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 64, b"\x00\x00\x00\x02\x00\x00", wire.encode(wire.Live(0))[:5] + b"zz" * 9]
)
def test_the_peer_sends_garbage(world: World, garbage: bytes) -> None:
    world.attach()
    world.session.sendall(garbage)
    shown = world.ends(1)
    assert shown.startswith(b"toowl: ")
    assert shown.count(b"\n") == 1


def test_the_peer_reports_a_failure(world: World) -> None:
    world.attach()
    world.send(wire.Failure(0, "refused", "too much of this"))
    assert world.ends(4) == b"toowl: too much of this\r\n"


def test_refused(world: World) -> None:
    world.receive(wire.Hello)
    world.send(wire.Hello())
    request = world.receive(wire.Request)
    world.send(wire.Failure(request.id, "not-found", 'session "work" not found'))
    assert world.ends(3) == b'toowl: session "work" not found\r\n'


def test_a_bug_of_ours() -> None:
    world = World("crash")
    try:
        world.attach()
        world.send(wire.Live(0))
        assert b"RuntimeError: injected" in world.ends(1)
    finally:
        world.close()


def test_read_only_sends_nothing_but_the_chord_works() -> None:
    world = World("read-only")
    try:
        assert world.attach().params["read_only"] is True
        world.type(b"rm -rf /\r\x1cd")
        world.receive(wire.Detach)
        world.send(wire.Detached("client"))
        world.ends(0)
    finally:
        world.close()


def test_size_is_followed(world: World) -> None:
    world.attach()
    world.resize(50, 132)
    assert world.receive(wire.Resize) == wire.Resize(rows=50, cols=132)
    world.session.close()
    world.ends(1)


def test_queries_are_answered_only_while_live(world: World) -> None:
    replay = b"old\x1b[6n\x1b]11;?"
    world.attach(seq=100, live=100 + len(replay))
    world.send(wire.Output(100, replay + b"\x07new\x1b[c"), wire.Live(100))
    assert world.sees(b"new\x1b[c") == b"old\x1b]11;?\x07"
    world.session.close()
    world.ends(1)


def unread(world: World) -> int:
    """How many bytes the user's shell would get."""
    (count,) = struct.unpack("i", fcntl.ioctl(world.tty, termios.FIONREAD, bytes(4)))
    return int(count)


@pytest.mark.parametrize("leaves", ["detach", "exit"])
def test_answers_on_their_way_are_not_for_the_shell(world: World, leaves: str) -> None:
    world.attach()
    world.send(wire.Output(0, b"ab\x1b[6n"), wire.Live(6))
    world.sees(b"ab\x1b[6n")
    if leaves == "detach":
        world.type(b"\x1cd")
        world.receive(wire.Detach)
        world.send(wire.Detached("client"))
    else:
        world.send(wire.Ended(6, "exited", 0, None))
    world.sees(b"\x1b[5n")
    world.type(b"\x1b[1;3R\x1b[0")
    world.type(b"n")
    assert (b"[detached" in world.ends(0)) is (leaves == "detach")
    assert unread(world) == 0


def test_a_terminal_that_answers_nothing_is_left_all_the_same(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"ab\x1b[6n"), wire.Ended(6, "exited", 0, None))
    world.sees(b"\x1b[5n")
    world.ends(0)


def test_a_terminal_that_was_asked_nothing_is_asked_nothing(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"ab\x1b[31m"), wire.Ended(7, "exited", 0, None))
    assert b"\x1b[5n" not in world.ends(0)


def test_gap_is_announced(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"text\x1b[3"), wire.Gap(7, 1007), wire.Output(1007, b"8m"))
    world.sees(b"text\x1b[3\x18\r\n[1000 bytes of output are no longer held]\r\n8m")
    world.send(wire.Output(1007, b"8m and"), wire.Output(1019, b"more\n"), wire.Ended(1024, "exited", code=0))
    assert world.ends(0).startswith(b" and\r\n[6 bytes of output are no longer held]\r\nmore\n[work")


def test_help(world: World) -> None:
    world.attach()
    world.send(wire.Output(0, b"$ \x1b[1"))
    world.sees(b"$ \x1b[1")
    world.type(b"\x1c?")
    world.send(wire.Output(5, b"m!"))
    assert (
        world.sees(b"this list]") == b"m!\r\n[Ctrl-\\ d: detach   Ctrl-\\ Ctrl-\\: send Ctrl-\\   Ctrl-\\ ?: "
    )
    world.send(wire.Output(7, b"\x1b[?1049h"))
    world.sees(b"\x1b[?1049h")
    world.type(b"\x1c?")
    assert world.sees(b"\x1b8").startswith(b"\x1b7\x1b[9999H\x1b[m[Ctrl-")
    world.session.close()
    world.ends(1)


def test_input_window(world: World) -> None:
    """A paste stays within what may be in flight, and arrives once, in order."""
    paste = bytes(range(32, 127)) * 11_000  # 1 MB
    world.attach()
    world.type(paste)
    received = world.receive_input(256 << 10)
    assert len(received) == 256 << 10
    world.session.setblocking(False)
    with pytest.raises(BlockingIOError):
        world.session.recv(1)
    world.session.settimeout(PATIENCE)
    while len(received) < len(paste):
        world.send(wire.InputAck(len(received) - 100))
        message = world.receive(wire.Input)
        assert message.seq == len(received)
        received += message.data
    assert received == paste
    world.type(b"\x1cd")
    world.receive(wire.Detach)
    world.send(wire.Detached("client"))
    assert world.ends(0) == b"[detached from work]\r\n"


def test_a_terminal_that_takes_no_output_bounds_what_is_read_and_can_detach(world: World) -> None:
    world.attach()
    world.session.setblocking(False)
    sent = 0
    backlog = b""
    while True:  # until nobody takes any more
        if not backlog:
            backlog = wire.encode(wire.Output(sent, b"y\r\n" * 20_000))
            sent += 60_000
        if not select.select([], [world.session], [], 0.5)[1]:
            break
        backlog = backlog[world.session.send(backlog) :]
        assert sent < 20_000_000
    world.session.settimeout(PATIENCE)
    world.type(b"\x1cd")
    world.receive(wire.Detach)
    world.session.sendall(backlog + wire.encode(wire.Detached("client")))
    assert world.ends(0).endswith(b"[detached from work]\r\n")


def test_flood_arrives_whole(world: World) -> None:
    world.attach()
    flood = b"".join(b"%d\r\n" % number for number in range(200_000))
    messages: list[wire.Message] = [
        wire.Output(seq, flood[seq : seq + 65536]) for seq in range(0, len(flood), 65536)
    ]
    for message in [*messages, wire.Ended(len(flood), "exited", code=0)]:
        data = wire.encode(message)
        while data:
            readable, writable, _ = select.select([world.user], [world.session], [], PATIENCE)
            if readable:
                world.shown += os.read(world.user, 65536)
            if writable:
                data = data[world.session.send(data[:16384]) :]
    assert world.ends(0) == flood + b"[work exited with status 0]\r\n"


def test_without_a_terminal() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.encode(wire.Hello()))
        done = subprocess.run(
            [sys.executable, str(DRIVER), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"toowl: standard input is not a terminal: attach needs one")
    assert done.stderr.count(b"\n") == 1
