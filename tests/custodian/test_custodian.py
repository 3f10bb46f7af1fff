"""The custodian as a process, born of a zygote or on its own: what it has, what it survives, how it goes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
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
    Detached,
    Ended,
    Failure,
    Hello,
    Input,
    Live,
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


# --- the end --------------------------------------------------------------------------------------------


def test_the_end_waits_for_the_daemon_to_note_it(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "read line; exit 7")
    client = world.attach(ID)
    client.send(Input(0, b"\n"))
    assert client.expect(Ended).code == 7
    client.expect_eof()
    news = link.changed(lambda info: info["state"] == "ended")
    assert (news["end_reason"], news["exit_code"]) == ("exited", 7)
    assert alive(pid) and world.socket(ID).exists()
    assert link.request("info")["state"] == "ended"
    link.request("shutdown")
    link.expect_eof()
    world.gone(pid)
    assert not world.socket(ID).exists()
    assert (world.last_exit(ID) or {})["code"] == 7


def test_the_end_without_a_daemon_is_in_the_log(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "read line; exit 7")
    link.close()
    silent = world.connect(ID, greet=False)
    client = world.attach(ID)
    client.send(Input(0, b"\n"))
    client.expect(Ended)
    world.gone(pid)
    silent.expect_eof()
    assert (world.last_exit(ID) or {})["code"] == 7
    assert not world.socket(ID).exists()


def test_a_daemon_that_dies_before_it_noted_the_end(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "exit 7")
    link.changed(lambda info: info["state"] == "ended")
    link.close()
    world.gone(pid)


def test_terminated_it_tells_everybody_and_brings_the_log_to_disk(world: World) -> None:
    pid, link, child = world.start(ID)
    client = world.attach(ID)
    client.expect(Live)
    client.expect_output(b"ready")
    os.kill(pid, signal.SIGTERM)
    assert client.expect(Ended).reason == "lost"
    client.expect_eof()
    link.expect_eof()
    world.gone(pid, child)
    assert (world.last_exit(ID) or {})["reason"] == "lost"
    assert world.output(ID) == b"ready\n"
    assert not world.socket(ID).exists()


def test_terminated_it_waits_for_one_who_takes_its_last_bytes(world: World) -> None:
    """More is queued than the kernel holds: the client still gets it all, and the end."""
    script = "stty raw -echo; echo rea''dy; read line; head -c 250000 /dev/zero; printf END; exec cat"
    pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    client = world.attach(ID)
    client.expect_output(b"ready\n")
    client.send(Input(0, b"\n"))
    wait_for(lambda: link.request("info")["seq"] == 250009)
    os.kill(pid, signal.SIGTERM)
    link.changed(lambda info: info["state"] == "ended")
    assert client.expect(Ended) == Ended(250009, "lost", None, None)
    assert client.output.endswith(b"END")
    world.gone(pid)


def much_behind(world: World) -> tuple[int, Link, Link]:
    """A custodian, its first link, and a client that has read nothing of 8 MB, which are in the log."""
    script = "stty raw -echo; echo rea''dy; head -c 8000000 /dev/zero; printf END; exec cat"
    pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    client = world.attach(ID)
    wait_for(lambda: link.request("info")["seq"] == 8000009)
    assert link.request("info")["clients"] == 1
    return pid, link, client


def test_terminated_it_brings_one_who_is_behind_to_the_end(world: World) -> None:
    """The child ends at once and the log is safe; a client that takes what it is given is given all, and told why."""
    pid, link, client = much_behind(world)
    os.kill(pid, signal.SIGTERM)
    link.changed(lambda info: info["state"] == "ended")
    assert (world.last_exit(ID) or {})["reason"] == "lost"
    assert client.expect(Ended) == Ended(8000009, "lost", None, None)
    assert client.output == b"ready\n" + bytes(8000000) + b"END"
    link.expect_eof()
    world.gone(pid)


def test_terminated_it_does_not_wait_for_one_who_takes_nothing(world: World) -> None:
    """It hangs up on him: he comes back for the rest, which is in the log."""
    pid, _link, client = much_behind(world)
    os.kill(pid, signal.SIGTERM)
    world.gone(pid)
    client.expect_eof()
    assert not any(isinstance(message, Ended) for message in client.messages)


def test_the_end_of_one_whose_log_is_on_no_disk_waits_to_be_asked(world: World) -> None:
    """Nobody was there and nothing could be written; what is in memory gets a last chance when it must go."""
    pid, link, _child = world.start(ID)
    link.close()
    client = world.attach(ID)
    client.expect_output(b"ready\n")
    folder = world.box.paths.session(ID)
    shutil.rmtree(folder)
    folder.touch()  # in the way
    client.send(Input(0, b"last words"))
    client.expect_output(b"last words")
    client.send(Detach())  # nobody watches: what was seen is brought to the disk, and found to be on none
    client.expect_eof()
    asking = world.connect(ID)
    wait_for(lambda: asking.request("info")["degraded"])
    asking.request("kill", force=True)
    wait_for(lambda: asking.request("info")["state"] == "ended")
    info = asking.request("info")
    assert (info["state"], info["exit_signal"], info["degraded"]) == ("ended", signal.SIGKILL, True)
    folder.unlink()
    os.kill(pid, signal.SIGTERM)
    world.gone(pid)
    assert (world.last_exit(ID) or {})["signal"] == signal.SIGKILL


def test_killed_its_child_is_hung_up_on(world: World, tmp_path: Path) -> None:
    script = f"trap 'echo hup > {tmp_path}/hup; exit' HUP; echo rea''dy; while :; do sleep 0.01; done"
    pid, _link, child = world.start(ID, "/bin/sh", "-c", script)
    wait_for(lambda: b"ready" in world.output(ID))
    os.kill(pid, signal.SIGKILL)
    wait_for((tmp_path / "hup").exists)
    world.gone(pid, child)
    assert world.last_exit(ID) is None, "nobody could note it"


def test_kill_takes_the_sessions_background_jobs_too(world: World) -> None:
    script = "set -m; trap '' HUP; sleep 1000 & echo job $! here; exec cat"
    _pid, link, child = world.start(ID, "/bin/sh", "-c", script)
    wait_for(lambda: b" here" in world.output(ID))
    job = int(world.output(ID).split(b"job ")[1].split()[0])
    link.request("kill", force=True)
    link.changed(lambda info: info["state"] == "ended")
    world.gone(child, job)


# --- the world changes ----------------------------------------------------------------------------------


def test_its_socket_comes_back(world: World) -> None:
    need_inotify()
    _pid, _link, child = world.start(ID)
    inode = world.socket(ID).lstat().st_ino
    shutil.rmtree(world.box.paths.runtime, ignore_errors=True)  # it comes back while we are at it
    wait_for(lambda: world.socket(ID).exists() and world.socket(ID).lstat().st_ino != inode)
    assert world.connect(ID).request("info")["pid"] == child


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


# --- hostile peers --------------------------------------------------------------------------------------


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


# --- the zygote -----------------------------------------------------------------------------------------


def test_twenty_custodians_quickly(world: World) -> None:
    """Asked for all at once, each with its own link."""
    zygote = world.start_zygote()
    links = []
    for number in range(20):
        ours, its = socket.socketpair()
        with its:
            zygote.send(Request(number, "fork", {"id": f"{number:08x}"}), its.fileno())
        links.append(world.open(ours))
    for number, link in enumerate(links):
        hello = link.expect(Hello)
        assert hello.about["session"] == f"{number:08x}"
        world.pids.append(int(hello.about["pid"]))
    pids = set(world.pids)
    assert len(pids) == 20
    assert all(sum(name.startswith("socket:") for name in fds_of(pid).values()) == 1 for pid in pids)
    assert world.zygote is not None
    assert not [n for n in fds_of(world.zygote.pid).values() if n.startswith("socket:")][1:], (
        "only its daemon"
    )
    for link in links:
        link.close()
    world.gone(*pids)
    assert alive(world.zygote.pid)


def test_bad_requests_do_not_end_the_zygote(world: World) -> None:
    zygote = world.start_zygote()
    assert isinstance(zygote.ask("fork", id=ID), Failure), "no descriptor came along"
    assert isinstance(zygote.ask("nonsense"), Failure)
    bad: list[dict[str, Any]] = [{}, {"id": 5}, {"id": "../../etc"}, {"id": "x" * 500}]
    ours, its = socket.socketpair()
    with its:
        for params in bad:
            assert isinstance(zygote.ask("fork", its.fileno(), **params), Failure), params
        assert isinstance(zygote.ask("nonsense", its.fileno()), Failure)
    world.open(ours, greet=False).expect_eof()
    zygote.send(Hello())
    _pid, link = world.fork(ID)
    assert link.expect(Hello).about["session"] == ID


def test_the_zygote_goes_with_its_daemon(world: World) -> None:
    _pid, link, _child = world.start(ID)
    assert world.zygote is not None and world._zygote_link is not None
    world._zygote_link.close()
    assert world.zygote.wait(DEADLINE) == 0
    assert link.request("info")["state"] == "running"


def test_the_commands_without_their_descriptor_say_so(world: World) -> None:
    for arguments in (["--zygote"], ["--zygote", "x"], ["--zygote", "999"], ["--custodian"],
                      ["--custodian", "--id", ID, "--fd", "999"], ["--custodian", "--id", ID]):  # fmt: skip
        done = world.box.toowld(*arguments, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_the_zygote_loads_nothing_that_it_need_not() -> None:
    script = "import sys; import toowld.custodian.zygote; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    heavy = {"asyncio", "subprocess", "ssl", "argparse", "json", "email", "tempfile", "typing"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith(("toowld.daemon", "toowld.log.reader"))}
