"""What a custodian's peers may do to it: rubbish, names that are no text, bytes one by one, silence."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys

from tests.custodian.world import World, fds_of
from tests.harness import DEADLINE, REPOSITORY, wait_for
from toowld.wire import Attached, Detached, Hello, Input, Request, encode

ID = "0badcafe"


def test_a_daemon_that_is_stopped_is_not_told_everything_later(world: World) -> None:
    """It does not read: news replace each other instead of filling our memory."""
    _pid, link, _child = world.start(ID)
    other = world.connect(ID)
    count = 3000
    for number in range(count):
        other.request("resize", rows=1 + number % 50, cols=80)
    other.request("resize", rows=99, cols=99)
    news = link.changed(lambda info: info["rows"] == 99)
    assert news["cols"] == 99, "the last state is told in any case"
    assert sum(type(message).__name__ == "Event" for message in link.messages) < count / 2


def test_names_and_bytes_that_are_no_text(world: World) -> None:
    odd = os.fsdecode(b"/tmp/\xff")
    env = {"PATH": os.environ["PATH"], "ODD": os.fsdecode(b"\xfe")}
    _pid, link, _child = world.start(ID, "/bin/sh", "-c", "printf $ODD; exec cat", odd, env=env)
    client = world.attach(ID)
    client.expect_output(b"\xfe")
    link.request("set_name", name="new")
    assert link.request("info")["record"]["name"] == "new"
    late = world.attach(ID, "late")
    assert late.expect(Attached).about["name"] == "new"


def test_hostile_peers_never_end_the_session(world: World) -> None:
    pid, _link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect_output(b"ready")
    before = len(fds_of(pid))
    hello = encode(Hello())
    for raw in (
        b"\0\0\0\0", b"\xff" * 5000, b"GET / HTTP/1.1\r\n\r\n", hello + b"\0\0\0\x01\xff",
        encode(Hello(9, 9)), hello + encode(Detached("you")) * 3 + b"\0\0\0\0",
        hello + struct.pack(">I", 4 << 20) + b"x" * 100, hello[:-1],
    ) * 5:  # fmt: skip
        foul = world.connect(ID, greet=False)
        foul.sock.sendall(raw)
        foul.sock.shutdown(socket.SHUT_WR)
        foul.expect_eof()
        foul.close()
    for number in range(30):
        odd = world.connect(ID)
        odd.ask("x" * 100_000)
        odd.ask("attach")
        odd.ask("attach", client_id="c" * 1000)
        odd.ask("attach", client_id="c", rows=0, cols=-1)
        odd.ask("resize", rows=1 << 62, cols="x")
        odd.ask("send", data="text")
        odd.ask("set_name", name=b"\xff\xfe")
        odd.ask("kill", force="yes")
        odd.ask("detach", client=10**18)
        odd.ask("start", record={"env": {"x" * 100_000: 1}})
        if number % 2:
            odd.send(Request(1, "attach", {"client_id": f"o{number}", "tty": b"\xff", "pid": 1 << 62}))
            odd.expect(Attached)
        odd.close()
    client.send(Input(0, b"still here"))
    client.expect_output(b"still here")
    wait_for(lambda: len(fds_of(pid)) == before, what="all descriptors to come back")
    assert not (world.box.paths.session(ID) / "custodian.log").exists()


def test_a_byte_at_a_time_is_understood(world: World) -> None:
    world.start(ID)
    link = world.connect(ID, greet=False)
    for byte in encode(Hello()) + encode(Request(5, "info")):
        link.sock.send(bytes([byte]))
    link.until(lambda: any(getattr(message, "id", None) == 5 for message in link.messages))


def test_one_who_says_nothing_is_dropped(world: World) -> None:
    script = (
        "import socket, sys; from toowld.custodian import __main__ as custodian, keeper\n"
        "keeper.HELLO_TIMEOUT = 0.1; custodian.run('0badcafe', socket.socket(fileno=int(sys.argv[1])))"
    )
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(its.fileno())],
            pass_fds=[its.fileno()], cwd=REPOSITORY, env=world.box.env,
        )  # fmt: skip
    link = world.open(ours)
    link.request("start", **world.spec(ID))
    silent = [world.connect(ID, greet=False) for _ in range(5)]
    for one in silent:
        one.expect_eof()
    assert link.request("info")["state"] == "running", "who said Hello stays"
    process.terminate()
    assert process.wait(DEADLINE) == 0
