"""A custodian that goes on with other code: nothing of its session is lost, and nothing happens if that code is bad.

The other code is, mostly, this code again, executed anew; what is wrong with it otherwise, each test says.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.custodian.world import Link, World, fds_of, status_of
from tests.harness import DEADLINE, wait_for
from toowld import __version__
from toowld.custodian.keeper import FEATURES
from toowld.session import Record
from toowld.wire import (
    Attached,
    Detach,
    Ended,
    Failure,
    Gap,
    Hello,
    Input,
    InputAck,
    Live,
    Output,
    Ping,
    Pong,
    Request,
    Response,
    encode,
)

ID = "0badcafe"

#: This code, as the daemon has it run.
SAME = (sys.executable, "-P", "-m", "toowld")

#: Counts, as fast as it can.
COUNTER = ("/bin/sh", "-c", "stty -opost; i=0; while :; do echo $i; i=$((i+1)); done")

BOTH = pytest.mark.parametrize("how", ["fork", "execute"])


def ask(world: World, link: Link, *argv: str, **params: Any) -> Response | Failure:
    return link.ask("upgrade", argv=list(argv or SAME), env=world.box.env, **params)


def upgrade(world: World, link: Link) -> None:
    answer = ask(world, link)
    assert isinstance(answer, Response), answer
    assert answer.result == {"build": __version__, "features": list(FEATURES)}


def python(*lines: str) -> tuple[str, ...]:
    """A program that is our code but for some lines before it runs."""
    rest = "from toowld.custodian.__main__ import main; sys.exit(main(sys.argv[2:]))"
    return (sys.executable, "-P", "-c", "\n".join(["import os, sys, time", *lines, rest]))


def started(pid: int) -> float:
    return psutil.Process(pid).create_time()


class Aside:
    """Something that goes on in a thread, until it is `stop`ped or done; what fails there fails the test."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised by `join`
                self._error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


# --- what stays -----------------------------------------------------------------------------------------


@BOTH
def test_the_process_its_child_and_all_that_it_has_open_stay(world: World, how: str) -> None:
    pid, link, child = world.start(ID, how=how)
    client = world.attach(ID)
    client.expect_output(b"ready")
    client.expect(Live)
    before = (started(pid), os.getsid(pid), status_of(pid)["SigIgn"], len(fds_of(pid)))
    info = dict(link.request("info"))
    for number in range(3):
        upgrade(world, link)
        assert (started(pid), os.getsid(pid), status_of(pid)["SigIgn"], len(fds_of(pid))) == before
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")
        assert title == f"toowld --custodian {ID}".encode()
        assert int(status_of(pid)["SigBlk"], 16) == 0
        client.send(Input(2 * number, b"%d\n" % number))
        client.expect_output(b"%d\n" % number)
    moved = ("seq", "log_bytes", "last_active_at", "output_at", "told_at")
    after = dict(link.request("info"))
    for told in (info, after):
        assert told["client_list"][0].pop("typed_at") < time.time() + 1
    assert after == dict(info) | {name: after[name] for name in moved}
    assert info["pid"] == child and psutil.Process(child).ppid() == pid
    assert sum(isinstance(message, Attached) for message in client.messages) == 1, "no need to attach anew"
    assert world.output(ID) == bytes(client.output) == b"ready\n0\n1\n2\n"
    assert [fd for fd in fds_of(child) if fd > 2] == []


def test_the_end_of_a_child_is_known_to_whoever_took_over(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "read line; exit 7")
    client = world.attach(ID)
    client.expect(Live)
    upgrade(world, link)
    client.send(Input(0, b"\n"))
    assert client.expect(Ended).code == 7
    assert link.changed(lambda info: info["state"] == "ended")["exit_code"] == 7
    link.request("shutdown")
    world.gone(pid)
    last = world.last_exit(ID)
    assert last is not None and last["code"] == 7


def test_a_child_that_ends_meanwhile(world: World) -> None:
    """While the new code is tried, or while it starts: its parent hears of it either way."""
    for number in range(3):
        session = f"{number:08x}"
        pid, link, child = world.start(session)
        link.send(Request(50, "upgrade", {"argv": list(SAME), "env": world.box.env}))
        os.kill(child, signal.SIGKILL)
        assert link.changed(lambda info: info["state"] == "ended")["exit_signal"] == signal.SIGKILL
        link.request("shutdown")
        world.gone(pid)


def test_being_told_to_end_meanwhile(world: World) -> None:
    pid, link, child = world.start(ID)
    client = world.attach(ID)
    client.expect(Live)
    link.send(Request(50, "upgrade", {"argv": list(SAME), "env": world.box.env}))
    os.kill(pid, signal.SIGTERM)
    assert client.expect(Ended).reason == "lost"
    link.changed(lambda info: info["state"] == "ended")
    link.close()
    world.gone(pid, child)
    assert world.last_exit(ID) is not None


def test_its_socket_is_listened_on_and_comes_back(world: World) -> None:
    _pid, link, _child = world.start(ID)
    upgrade(world, link)
    assert world.connect(ID).request("info")["state"] == "running"
    os.unlink(world.socket(ID))  # noqa: PTH108
    wait_for(world.socket(ID).exists)
    assert world.connect(ID).request("info")["state"] == "running"


def test_links_go_on_and_hear_the_news(world: World) -> None:
    _pid, link, _child = world.start(ID)
    other = world.connect(ID)
    other.request("subscribe")
    upgrade(world, link)
    assert other.changed(lambda info: True)["build"] == __version__
    link.request("set_name", name="renamed")
    assert other.changed(lambda info: info["record"]["name"] == "renamed")
    upgrade(world, other)
    record = Record.from_packed(dict(link.request("info")["record"]))
    assert (record.name, record.id) == ("renamed", ID)


def test_half_a_message_is_kept(world: World) -> None:
    """Of a client, and of a link; with it, what came along of descriptors for a handover."""
    _pid, link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect(Live)
    ping = encode(Ping(5))
    client.sock.sendall(encode(Ping(4)) + ping[:3])
    wait_for(lambda: client._first(lambda m: m if m == Pong(4) else None))
    other = world.connect(ID)
    ours, its = socket.socketpair()
    attach = {"client_id": "d", "rows": 24, "cols": 80, "from_seq": 0}
    params = {"attach": attach, "unread": b"", "request_id": 9}
    frame = encode(Request(8, "handover", params))
    other.request("info")
    with its:
        socket.send_fds(other.sock, [frame[:10]], [its.fileno()])
    upgrade(world, link)
    client.sock.sendall(ping[3:])
    assert wait_for(lambda: client._first(lambda m: m if m == Pong(5) else None))
    other.sock.sendall(frame[10:])
    assert world.open(ours, greet=False).expect(Attached).seq == 0


# --- nothing lost, nothing twice ------------------------------------------------------------------------


def test_output_has_no_hole_over_ten_upgrades_in_a_flood(world: World) -> None:
    pid, link, _child = world.start(ID, *COUNTER)
    client = world.attach(ID)
    seqs: list[tuple[int, int]] = []
    enough = threading.Event()

    def read() -> None:
        while not enough.is_set():
            message = client._next()
            client.messages.clear()
            assert message is not None and not isinstance(message, Gap), message
            if isinstance(message, Output):
                seqs.append((message.seq, len(message.data)))

    reader = Aside(read)
    open_before = len(fds_of(pid))
    try:
        for _ in range(10):
            upgrade(world, link)
        assert len(fds_of(pid)) == open_before
        end = link.request("info")["seq"]
        wait_for(lambda: len(client.output) > end)
    finally:
        enough.set()
        reader.join()
    at = 0
    for seq, length in seqs:
        assert seq == at
        at += length
    lines = bytes(client.output).split(b"\n")[:-1]
    assert [int(line) for line in lines] == list(range(len(lines)))
    client.send(Detach())
    client.expect_eof()
    assert world.output(ID).startswith(bytes(client.output))


def test_a_client_that_takes_nothing_is_served_later(world: World) -> None:
    _pid, link, _child = world.start(ID, *COUNTER)
    client = world.attach(ID, read_only=True)
    wait_for(lambda: link.request("info")["seq"] > 1 << 20)
    upgrade(world, link)
    upgrade(world, link)
    client.until(lambda: len(client.output) > 2 << 20)
    lines = bytes(client.output).split(b"\n")[:-1]
    assert [int(line) for line in lines] == list(range(len(lines)))
    assert not any(isinstance(message, Gap) for message in client.messages)


def test_what_is_typed_meanwhile_arrives_once(world: World) -> None:
    _pid, link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect_output(b"ready")
    pieces = [b"<%06d>" % number for number in range(4000)]
    done = threading.Event()

    def type_them() -> None:
        at = 0
        for piece in pieces:
            client.send(Input(at, piece))
            at += len(piece)
            done.wait(0.0005)  # as people do: over all of it, not at once

    typing = Aside(type_them)
    reading = Aside(lambda: client.until(lambda: pieces[-1] in client.output[-64:]))
    for _ in range(5):
        upgrade(world, link)
    typing.join()
    reading.join()
    text = b"".join(pieces)
    assert bytes(client.output).partition(b"ready\n")[2] == text or bytes(client.output).endswith(text)
    assert bytes(client.output).count(b"<") == len(pieces)
    client.until(lambda: InputAck(len(text)) in client.messages)


def test_input_that_the_child_did_not_read_waits_on(world: World) -> None:
    """More than the kernel takes: the rest is our queue's, and is not acknowledged before it is gone."""
    script = "stty raw -echo; echo rea''dy; read go < fifo; exec cat"
    os.mkfifo(world.box.home / "fifo")
    _pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    client = world.attach(ID)
    client.expect_output(b"ready")
    text = b"".join(b"%07d\n" % number for number in range(20000))
    client.send(Input(0, text[:80000]))
    client.expect(InputAck)
    upgrade(world, link)
    client.send(Input(80000, text[80000:]))
    upgrade(world, link)
    assert InputAck(len(text)) not in client.messages
    with (world.box.home / "fifo").open("w") as fifo:
        fifo.write("go\n")
    client.until(lambda: InputAck(len(text)) in client.messages and client.output.endswith(text[-8:]))
    assert bytes(client.output).endswith(text)


def test_a_resent_input_is_known(world: World) -> None:
    _pid, link, _child = world.start(ID)
    client = world.attach(ID, "me")
    client.expect_output(b"ready")
    client.send(Input(0, b"once"))
    client.expect_output(b"once")
    client.close()
    upgrade(world, link)
    again = world.attach(ID, "me")
    assert again.expect(Attached).input_seq == 4
    again.send(Input(0, b"once, and more"))
    again.expect_output(b", and more")
    assert again.output.count(b"once") == 1


def test_a_session_that_is_being_ended_still_ends(world: World) -> None:
    """The next signal is due later, by whoever is there then."""
    script = "trap '' HUP; echo rea''dy; while :; do sleep 1; done"
    pid, link, child = world.start(ID, "/bin/sh", "-c", script)
    world.attach(ID).expect_output(b"ready")
    link.request("kill", force=False)
    upgrade(world, link)
    ended = link.changed(lambda info: info["state"] == "ended")
    assert (ended["exit_signal"], ended["end_requested"]) == (signal.SIGTERM, True)
    link.request("shutdown")
    world.gone(pid, child)


def test_a_log_without_a_disk_goes_on_in_memory(world: World) -> None:
    _pid, link, _child = world.start(ID)
    client = world.attach(ID, "one")
    client.expect_output(b"ready")
    folder = world.box.paths.session(ID)
    shutil.rmtree(folder)
    folder.touch()  # in the way
    client.send(Input(0, b"lost"))
    client.expect_output(b"lost")
    client.send(Detach())  # which brings the log to the disk, and there it is seen
    wait_for(lambda: link.request("info")["degraded"])
    seq = link.request("info")["seq"]
    world.attach(ID, "two").send(Input(0, b"kept, "))
    wait_for(lambda: link.request("info")["seq"] == seq + 6)
    upgrade(world, link)
    assert link.request("info")["degraded"]
    again = world.attach(ID, "three", from_seq=seq)
    again.expect_output(b"kept, ")
    again.send(Input(0, b"and on"))
    again.expect_output(b"kept, and on")
    upgrade(world, link)
    folder.unlink()
    wait_for(lambda: not link.request("info")["degraded"])
    assert world.output(ID).endswith(b"kept, and on")


# --- code that can't take over --------------------------------------------------------------------------

_NEW = "the new code can't keep session 0badcafe: "
_STAYS = f": toowl {__version__} goes on keeping it"

BROKEN = {
    "no such program": (("/does/not/exist",), "/does/not/exist: No such file or directory"),
    "no program": (("/etc/passwd",), "/etc/passwd: Permission denied"),
    "a broken package": (python("raise ImportError('half installed')"), "ImportError: half installed"),
    "a silent end": (python("sys.exit(0)"), "it ended without a word"),
    "an older one": ((sys.executable, "-c", "raise SystemExit('no such option')"), "no such option"),
    "a state that it can't read": (
        python("import toowld.custodian.successor as s", "s.FORM = 0"),
        f"ValueError: what it leaves is of form 1, and this is toowl {__version__}",
    ),
    "a bug on this state": (
        python("from toowld.session.inputs import InputQueue as Q", "Q.thaw = lambda state: state['nix']"),
        "KeyError: 'nix'",
    ),
    "a second look that fails": (
        python(
            "import toowld.custodian.successor as s",
            "looks = iter(['ok 9', 'no second thoughts'])",
            "s._attempt = lambda fd: next(looks)",
        ),
        "second thoughts",
    ),
    "a death between the looks": (
        python(
            "import toowld.custodian.successor as s, itertools",
            "looks = itertools.count()",
            "s._attempt = lambda fd: 'ok 9' if next(looks) == 0 else os.abort()",
        ),
        "it ended without a word",
    ),
}


@pytest.mark.parametrize(("argv", "reason"), BROKEN.values(), ids=BROKEN)
def test_code_that_is_broken_changes_nothing(world: World, argv: tuple[str, ...], reason: str) -> None:
    pid, link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect_output(b"ready")
    before = len(fds_of(pid))
    answer = ask(world, link, *argv)
    assert isinstance(answer, Failure)
    assert (answer.code, answer.text) == ("upgrade-failed", f"{_NEW}{reason}{_STAYS}")
    wait_for(lambda: len(fds_of(pid)) == before, what="all to be closed")
    wait_for(lambda: psutil.Process(pid).children() == [psutil.Process(_child)], what="no zombie to stay")
    client.send(Input(0, b"on"))
    client.expect_output(b"on")
    assert [fd for fd in fds_of(pid) if fd > 2 and _inheritable(pid, fd)] == []
    assert int(status_of(pid)["SigBlk"], 16) == 0
    upgrade(world, link)


def _inheritable(pid: int, fd: int) -> bool:
    flags = next(
        line.split()[1]
        for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
        if line.startswith("flags:")
    )
    return not int(flags, 8) & os.O_CLOEXEC


@pytest.mark.parametrize("at", ["import time; time.sleep(1000)", "os.kill(os.getpid(), 19)"])
def test_code_that_hangs_is_given_up(world: World, at: str) -> None:
    pid, link, child = world.start(ID)
    answer = ask(world, link, *python(at), expires=time.monotonic() + 2)
    assert isinstance(answer, Failure)
    assert answer.text == f"{_NEW}it did not say in time whether it could{_STAYS}"
    wait_for(lambda: psutil.Process(pid).children() == [psutil.Process(child)])
    upgrade(world, link)


def test_code_that_is_gone_when_it_is_to_be_executed(world: World, tmp_path: Path) -> None:
    """The exec itself fails: too late for the check, not for us."""
    pid, link, _child = world.start(ID)
    client = world.attach(ID)
    client.expect_output(b"ready")
    program = tmp_path / "new"
    program.write_text(f'#!/bin/sh\nrm "$0"\nexec {" ".join(SAME)} "$@"\n')
    program.chmod(0o700)
    answer = ask(world, link, str(program))
    assert isinstance(answer, Failure)
    assert answer.text == f"{_NEW}{program}: No such file or directory{_STAYS}"
    assert [fd for fd in fds_of(pid) if fd > 2 and _inheritable(pid, fd)] == []
    assert int(status_of(pid)["SigBlk"], 16) == 0
    client.send(Input(0, b"on"))
    client.expect_output(b"on")
    upgrade(world, link)


def test_without_a_free_descriptor_it_is_refused(world: World) -> None:
    pid, link, _child = world.start(ID)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = fds_of(pid)
    for spare in range(5):  # of us, or of the process that tries: it has our limit
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(before) + spare, limits[1]))
        answer = ask(world, link)
        assert isinstance(answer, Failure)
        assert answer.text.startswith(_NEW) and f"Too many open files{_STAYS}" in answer.text
        wait_for(lambda: fds_of(pid) == before)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    upgrade(world, link)


def test_a_log_that_is_not_what_it_was_is_told(world: World) -> None:
    _pid, link, _child = world.start(ID)
    world.attach(ID).expect_output(b"ready")
    segment = next(world.box.paths.session(ID).glob("*.log"))
    os.truncate(segment, segment.stat().st_size - 1)
    answer = ask(world, link)
    assert isinstance(answer, Failure) and "ValueError: the log can be read up to byte" in answer.text


def test_a_dry_run_only_looks(world: World) -> None:
    pid, link, child = world.start(ID)
    before = fds_of(pid)
    answer = ask(world, link, dry_run=True)
    assert answer == Response(answer.id, {"build": __version__})
    wait_for(lambda: fds_of(pid) == before)
    wait_for(lambda: psutil.Process(pid).children() == [psutil.Process(child)])
    answer = ask(world, link, "/does/not/exist", dry_run=True)
    assert isinstance(answer, Failure)


def test_one_at_a_time(world: World) -> None:
    pid, link, child = world.start(ID)
    other = world.connect(ID)
    link.send(Request(50, "upgrade", {"argv": list(python("time.sleep(1000)")), "env": {}, "dry_run": True}))
    trying = wait_for(lambda: checking(pid, child))
    assert trying is not None
    answer = ask(world, other, dry_run=True)
    assert isinstance(answer, Failure) and answer.text.startswith(f"session {ID} is being upgraded already")
    os.kill(trying, signal.SIGKILL)
    link.expect(Failure)


@pytest.mark.parametrize(
    "params",
    [{}, {"argv": []}, {"argv": ["x"]}, {"argv": ["x"], "env": {"a=b": "c"}}, {"argv": [1], "env": {}}],
)
def test_requests_that_make_no_sense(world: World, params: dict[str, Any]) -> None:
    _pid, link, _child = world.start(ID)
    answer = link.ask("upgrade", **params)
    assert isinstance(answer, Failure)
    assert link.request("info")["state"] == "running"


# --- deaths in between ----------------------------------------------------------------------------------


def checking(pid: int, child: int) -> int | None:
    """The process in which the new code is tried."""
    others = [process.pid for process in psutil.Process(pid).children() if process.pid != child]
    return others[0] if others else None


def test_the_process_that_tries_is_killed(world: World) -> None:
    pid, link, child = world.start(ID)
    link.send(Request(50, "upgrade", {"argv": list(python("time.sleep(1000)")), "env": world.box.env}))
    trying = wait_for(lambda: checking(pid, child))
    assert trying is not None
    os.kill(trying, signal.SIGKILL)
    assert link.expect(Failure).text == f"{_NEW}it ended without a word{_STAYS}"
    upgrade(world, link)


SLOW = (
    "import toowld.custodian.successor as s",
    "attempt = s._attempt",
    "s._attempt = lambda fd: (time.sleep(0.2), attempt(fd))[1]",
)


@pytest.mark.parametrize("code", [SLOW, ("time.sleep(1000)",)], ids=["slow", "hangs"])
def test_the_custodian_is_killed_while_its_successor_is_tried(world: World, code: tuple[str, ...]) -> None:
    """The session is lost, as ever then; the process that tried goes too, also if it hangs, and nothing is left."""
    pid, link, child = world.start(ID)
    link.send(Request(50, "upgrade", {"argv": list(python(*code)), "env": world.box.env}))
    trying = wait_for(lambda: checking(pid, child))
    assert trying is not None
    link.request("info")  # it is held by then
    os.kill(pid, signal.SIGKILL)
    world.gone(pid, child, trying)


def test_whoever_asked_is_gone(world: World) -> None:
    pid, link, child = world.start(ID)
    other = world.connect(ID)
    other.expect(Hello)
    memory = Path(f"/proc/{pid}/auxv")  # where things are in it: another place after each exec
    before = memory.read_bytes()
    other.send(Request(1, "upgrade", {"argv": list(SAME), "env": world.box.env}))
    other.close()
    wait_for(lambda: memory.read_bytes() != before)
    assert link.request("info")["pid"] == child
