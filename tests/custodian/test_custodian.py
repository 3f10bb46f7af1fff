"""The custodian as a process, born of a zygote or on its own: what it has, and what it survives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.custodian.world import Link, World, cpu_seconds, fds_of, quiet, status_of
from tests.harness import DEADLINE, REPOSITORY, alive, need_inotify, wait_for
from toowld.wire import (
    Attached,
    Detach,
    Failure,
    Hello,
    Input,
    Request,
    Resize,
    encode,
)

ID = "0badcafe"


BOTH = pytest.mark.parametrize("how", ["fork", "execute"])


# --- what it is -----------------------------------------------------------------------------------------


@BOTH
def test_it_has_open_what_it_needs_and_nothing_else(world: World, how: str) -> None:
    need_inotify()
    pid, _link, child = world.start(ID, how=how)
    names = fds_of(pid)
    assert {names.pop(fd) for fd in (0, 1, 2)} == {"/dev/null"}, "whoever started it keeps its own"
    folder = str(world.box.paths.session(ID))
    kinds = [folder if name.startswith(folder) else name.split(":[")[0] for name in names.values()]
    wanted = {
        "anon_inode": 2,  # epoll, and the pidfd of the child
        "anon_inode:inotify": 1,
        "socket": 2,  # the link, and the listening one
        "pipe": 2,  # the two ends of the signals' wake-up
        folder: 1,
        "/dev/ptmx": 1,
    }
    pts = [name for name in kinds if name.startswith("/dev/pts/") and name != "/dev/pts/ptmx"]
    rest = ["/dev/ptmx" if name == "/dev/pts/ptmx" else name for name in kinds if name not in pts]
    assert {name: rest.count(name) for name in rest} == wanted, names
    assert len(pts) == 1
    # While it begins, its loader has a library open.
    wait_for(lambda: not [fd for fd in fds_of(child) if fd > 2], what="the child to have its terminal only")


@BOTH
def test_it_stands_on_its_own(world: World, how: str) -> None:
    pid, link, child = world.start(ID, how=how)
    status = status_of(pid)
    assert os.getsid(pid) == pid == os.getpgid(pid)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"  # noqa: PTH115
    ignored = int(status["SigIgn"], 16)
    assert ignored & (1 << signal.SIGHUP - 1) and ignored & (1 << signal.SIGINT - 1)
    title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
    assert title == f"toowld --custodian {ID}".encode()
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGINT)
    assert link.request("info")["state"] == "running"
    assert int(status_of(child)["SigIgn"], 16) & (1 << signal.SIGHUP - 1) == 0


def test_the_childs_environment_is_the_sessions(world: World) -> None:
    env = {"PATH": os.environ["PATH"], "ONLY": "this"}
    world.start_zygote(NOTIFY_SOCKET="/run/x", WATCHDOG_USEC="1", LISTEN_FDS="1")
    world.start(ID, "/usr/bin/env", "-0", env=env)
    world.gone(world.pids[-1])
    wait_for(lambda: world.output(ID).count(b"\0") == 2)
    assert sorted(world.output(ID).split(b"\0")) == sorted(
        [b"", b"ONLY=this", f"PATH={os.environ['PATH']}".encode()]
    )


def says_ready(world: World, session_id: str) -> bool:
    return b"ready" in world.output(session_id)


def test_its_memory(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Several of one zygote, quiet: what each costs the machine."""
    pids = [world.start(f"{number:08x}")[0] for number in range(10)]
    for number in range(10):
        wait_for(partial(says_ready, world, f"{number:08x}"))
    sizes = []
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes.append(int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]))
    with capsys.disabled():
        print(f"\nPSS of ten idle custodians of one zygote: {min(sizes)} to {max(sizes)} KiB")
    assert max(sizes) < 6000


def test_it_sleeps_while_nothing_happens(world: World) -> None:
    pid, link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect_output(b"ready")
    client.send(Detach())
    client.expect_eof()
    link.changed(lambda info: info["clients"] == 0)
    link.request("info")
    wait_for(lambda: quiet(pid, 0.2) == 0)  # the last detach brings the log to the disk, beside the loop
    assert quiet(pid, 0.5) == 0


def test_a_child_that_closes_its_terminal_is_no_work(world: World, tmp_path: Path) -> None:
    script = f"exec < /dev/null > {tmp_path}/out 2>&1; echo closed; exec sleep 1000"
    pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    out = tmp_path / "out"
    wait_for(lambda: out.exists() and out.read_text() == "closed\n")
    link.request("info")
    before = cpu_seconds(pid)
    assert quiet(pid, 0.3) <= 1
    assert cpu_seconds(pid) - before < 0.1


# --- with its daemon, and without -----------------------------------------------------------------------


def test_it_survives_the_zygote_and_every_link(world: World) -> None:
    _pid, link, child = world.start(ID)
    assert world.zygote is not None
    world.zygote.kill()
    world.zygote.wait()
    link.close()
    client = world.attach(ID)
    client.expect_output(b"ready")
    client.send(Input(0, b"anybody there?"))
    client.expect_output(b"there?")
    client.close()
    again = world.connect(ID)
    assert again.request("subscribe")["pid"] == child
    os.kill(child, signal.SIGKILL)
    again.changed(lambda info: info["state"] == "ended")


def test_a_client_handed_over_with_what_was_read_of_it(world: World) -> None:
    _pid, link, _child = world.start(ID)
    ours, its = socket.socketpair()
    client = world.open(ours, greet=False)
    unread = encode(Resize(30, 90)) + encode(Input(0, b"hello"))
    with its:
        attach = {"client_id": "x", "rows": 24, "cols": 80, "from_seq": 0}
        # both at once: the descriptor is the second one's
        link.send(Request(90, "info"))
        link.request("handover", its.fileno(), attach=attach, request_id=5, unread=unread[:-2])
    ours.sendall(unread[-2:])
    client.expect(Attached)
    client.expect_output(b"hello")
    assert link.request("info")["rows"] == 30


def test_bad_handovers_are_refused_and_leave_nothing(world: World) -> None:
    pid, link, _child = world.start(ID)
    before = fds_of(pid)
    attach = {"client_id": "x"}
    good = {"attach": attach, "request_id": 5, "unread": b""}
    read_end, write_end = os.pipe()
    try:
        for _ in range(30):  # more often than bugs are tolerated
            assert link.ask("handover", **good) == Failure(link._last_id, "refused", link_text(link))
            assert isinstance(link.ask("handover", read_end, **good), Failure), "not a socket"
            assert isinstance(link.ask("handover", read_end, write_end, **good), Failure)
            assert isinstance(link.ask("handover", read_end, **(good | {"attach": {}})), Failure)
            assert isinstance(link.ask("info", read_end), object)
    finally:
        os.close(read_end)
        os.close(write_end)
    wait_for(lambda: len(fds_of(pid)) == len(before))
    assert link.request("info")["state"] == "running"


def link_text(link: Link) -> str:
    return "handover: exactly one descriptor must come along"


def test_requests_before_the_start_are_refused(world: World) -> None:
    _pid, link = world.fork(ID)
    for method in ("info", "subscribe", "attach", "set_name", "shutdown", "kill", "nonsense"):
        answer = link.ask(method, client_id="c", name="n")
        assert isinstance(answer, Failure) and answer.code == "refused", method
    link.request("start", **world.spec(ID))
    assert isinstance(link.ask("start", **world.spec(ID)), Failure), "a second time"
    assert isinstance(link.ask("shutdown"), Failure), "it runs"


def test_it_goes_when_nobody_can_tell_it_to_start(world: World) -> None:
    pid, link = world.fork(ID)
    link.expect(Hello)
    link.close()
    world.gone(pid)


def test_it_goes_when_nobody_tells_it_to_start_in_time(world: World) -> None:
    """In a process where that time is short; the daemon that wanted it is alive and says nothing."""
    ours, its = socket.socketpair()
    script = (
        "import socket, sys; from toowld.custodian import __main__ as custodian, keeper\n"
        "keeper.START_TIMEOUT = 0.05; custodian.run('0badcafe', socket.socket(fileno=int(sys.argv[1])))"
    )
    link = world.open(ours)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(its.fileno())], pass_fds=[its.fileno()], cwd=REPOSITORY
        )
    assert process.wait(DEADLINE) == 0
    link.expect_eof()


@BOTH
@pytest.mark.parametrize("changes", [{"argv": ["/no/such"]}, {"cwd": "/no/such"}, {"socket": "/no/such/s"}])
def test_a_start_that_fails_leaves_nothing(world: World, how: str, changes: dict[str, Any]) -> None:
    pid, link = world.fork(ID) if how == "fork" else world.execute(ID)
    params = world.spec(ID)
    if "cwd" in changes:
        params["record"]["cwd"] = changes["cwd"]
    else:
        params |= changes
    answer = link.ask("start", **params)
    assert isinstance(answer, Failure) and answer.code == "spawn-failed", answer
    assert answer.text and "\n" not in answer.text
    # Before it answers: a daemon that reads this kills the custodian at once.
    assert not world.socket(ID).exists()
    link.expect_eof() if "socket" not in changes else link.close()
    world.gone(pid)
    assert not world.socket(ID).exists()
    assert not world.box.paths.session(ID).exists(), "no log of what never was"


def test_a_start_that_makes_no_sense_is_refused(world: World) -> None:
    pid, link = world.fork(ID)
    good = world.spec(ID)
    for name, value in (
        ("argv", []), ("argv", "sh"), ("argv", None), ("env", {"A=B": "c"}), ("env", None), ("record", {}),
        ("record", {"id": "../../x"}), ("folder", 5), ("socket", None), ("banner", "text"),
    ):  # fmt: skip
        answer = link.ask("start", **(good | {name: value}))
        assert isinstance(answer, Failure), (name, value)
    assert alive(pid)
    link.request("start", **good)


def test_its_socket_comes_back(world: World) -> None:
    need_inotify()
    _pid, _link, child = world.start(ID)
    inode = world.socket(ID).lstat().st_ino
    shutil.rmtree(world.box.paths.runtime, ignore_errors=True)  # it comes back while we are at it
    wait_for(lambda: world.socket(ID).exists() and world.socket(ID).lstat().st_ino != inode)
    assert world.connect(ID).request("info")["pid"] == child
