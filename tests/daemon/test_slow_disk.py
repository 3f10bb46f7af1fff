"""Z13: a disk that takes its time holds up who needs it, and nobody else.

No time is measured: while `Hanging` is entered, no fsync of the daemon ends at all.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.crowd import settle
from tests.daemon.steps import ask, displayed, listed, ls, running, settings, shell, stopped, wait_displayed
from tests.harness import Sandbox, alive, machine_cannot, need_program, wait_for
from toowld import wire
from toowld.session import State
from toowld.session.record import decode


class Hanging:
    """The kernel keeps every thread of a process that calls fsync or fdatasync, as long as this is entered.

    The rest of the process goes on: strace holds up one thread at a time.

    Args:
        calls: others that keep it instead.
    """

    def __init__(self, pid: int, trace: Path, calls: str = "fsync,fdatasync") -> None:
        self._pid = pid
        self._trace = trace
        self._calls = calls

    def __enter__(self) -> Hanging:
        options = [
            "-f",
            "-o",
            str(self._trace),
            "-e",
            f"trace={self._calls}",
            "-e",
            f"inject={self._calls}:delay_enter=3600s",
        ]
        self._strace = subprocess.Popen(["strace", *options, "-p", str(self._pid)], stderr=subprocess.PIPE)
        assert self._strace.stderr is not None
        said = self._strace.stderr.readline()
        if b"attached" not in said:
            self.__exit__()
            machine_cannot(f"trace a process: {said.decode().strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._strace.kill()  # what it held goes on
        self._strace.wait()
        assert self._strace.stderr is not None
        self._strace.stderr.close()

    def wait(self, count: int = 1) -> None:
        """Until so many calls hang."""
        wait_for(
            lambda: (
                self._trace.exists()
                and len(re.findall(r"^\d+ +\w+\(", self._trace.read_text(), re.MULTILINE)) >= count
            ),
            what=f"{count} calls that hang",
        )


@pytest.fixture
def clients(sandbox: Sandbox) -> Iterator[Any]:
    """Makes connections, and closes them."""
    made = []

    def client() -> Any:
        made.append(sandbox.client())
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def hanging(sandbox: Sandbox, tmp_path: Path) -> Any:
    need_program("strace")
    return lambda *calls: Hanging(sandbox.daemon_pid, tmp_path / "trace", *calls)


def answer(client: Any, request: int) -> Any:
    while True:
        message = client.receive(timeout=20)
        if isinstance(message, wire.Response | wire.Failure) and message.id == request:
            assert isinstance(message, wire.Response), message
            return message.result


def attach(client: Any, session: str) -> None:
    client.post("attach", {"session": session, "client_id": "me", "rows": 24, "cols": 80})
    assert isinstance(client.receive(timeout=20), wire.Attached)


def new(*argv: str, name: str) -> dict[str, Any]:
    """The parameters of a session to be made."""
    return {
        "argv": list(argv), "name": name, "cwd": "/", "env": {}, "persistent": None, "rows": 24, "cols": 80,
    }  # fmt: skip


def tick(box: Sandbox) -> None:
    """Wait until the daemon has looked around once more: what nobody listens on is removed then."""
    path = box.paths.custodian_socket("00000000")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    wait_for(lambda: not path.exists(), what="a tick")


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_the_others_do_not_wait(sandbox: Sandbox, clients: Any, hanging: Any, persistent: bool) -> None:
    """Z13: while one session's record is stored, another one is attached, listed, asked and typed into."""
    sandbox.up(persistent)
    one, two = shell(sandbox, "one"), shell(sandbox, "two")
    waiting = clients()
    with hanging() as disk:
        request = waiting.post("rename", {"session": "one", "name": "other"})
        disk.wait()
        attach(clients(), "two")
        assert ls(sandbox)["two"]["display"] == "attached"
        assert ask(sandbox, two["id"], "$$") == str(two["pid"])
        attach(clients(), "one")
        assert sandbox.info("one")["id"] == one["id"], "it has the old name until the new one is stored"
    assert answer(waiting, request)["name"] == "other"
    assert set(ls(sandbox)) == {"other", "two"}
    assert settle(sandbox) == []


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_a_session_that_begins_or_ends_holds_up_nobody(
    sandbox: Sandbox, clients: Any, hanging: Any, persistent: bool
) -> None:
    """What waits for the disk is begun only then; what has ended is so at once, and once."""
    settings(sandbox, tick=0.05)
    sandbox.up()
    shell(sandbox, "two")
    over = sandbox.new("sh", "-c", "read line; exit 7", name="over", persistent=persistent)
    waiting = clients()
    with hanging() as disk:
        request = waiting.post("new", new("sleep", "999", name="one"))
        disk.wait()
        sandbox.send("over", b"\n")
        wait_displayed(sandbox, "over", "ended (exited 7)")
        disk.wait(2)
        assert not persistent or over["id"] in sandbox.custodians(), "it goes when its end is stored"
        ended_at = ls(sandbox)["over"]["ended_at"]
        for _ in range(3):
            tick(sandbox)
        assert ls(sandbox)["over"]["ended_at"] == ended_at
        attach(clients(), "two")
        assert set(listed(sandbox)) == {"two", "over"}
    assert answer(waiting, request)["display"] == "detached"
    wait_for(lambda: not (persistent and alive(over["custodian_pid"])))
    assert settle(sandbox) == []
    sandbox.restart()
    assert displayed(sandbox, "over") == "ended (exited 7)"


def test_that_it_runs_is_told_before_that_is_synced(sandbox: Sandbox, clients: Any, hanging: Any) -> None:
    """The session itself is; that it runs is known to whoever comes after a crash, if not after a power cut."""
    sandbox.up()
    waiting = clients()
    zygote = waiting.request("doctor")["zygote_pid"]
    with contextlib.ExitStack() as until_forked:
        until_forked.enter_context(stopped(zygote))
        request = waiting.post("new", new("sleep", "999", name="one"))
        wait_displayed(sandbox, "one", "starting")  # it is stored by now
        with hanging() as disk:
            until_forked.close()
            made = answer(waiting, request)
            disk.wait()
            assert displayed(sandbox, "one") == "detached"
            assert sandbox.daemon is not None
            sandbox.daemon.kill()  # it dies when strace lets go
    sandbox.daemon.wait(20)
    sandbox.up()
    (found,) = ls(sandbox).values()
    assert (found["display"], found["pid"]) == ("detached", made["pid"])


@pytest.mark.parametrize("stops", [False, True], ids=["and goes on", "and is told to stop"])
def test_nothing_runs_before_it_is_stored_whose_it_is(
    sandbox: Sandbox, clients: Any, hanging: Any, stops: bool
) -> None:
    """Whoever comes after a crash knows the custodian by then, whether that has a socket or not."""
    sandbox.up()
    two = shell(sandbox, "two")
    waiting = clients()
    zygote = waiting.request("doctor")["zygote_pid"]
    with contextlib.ExitStack() as until_forked:
        until_forked.enter_context(stopped(zygote))
        request = waiting.post("new", new("sleep", "4711", name="one"))
        wait_displayed(sandbox, "one", "starting")
        (session_id,) = {path.name for path in sandbox.paths.sessions.iterdir()} - {two["id"]}
        with hanging("rename") as disk:
            until_forked.close()
            disk.wait()
            assert ask(sandbox, two["id"], "$$") == str(two["pid"])
            assert session_id not in sandbox.custodians() and not running(sandbox, 4711)
            if stops:
                assert sandbox.daemon is not None
                sandbox.daemon.send_signal(signal.SIGTERM)
                wait_for(lambda: not sandbox.paths.daemon_socket.exists())
    if stops:
        assert sandbox.daemon is not None
        sandbox.daemon.wait(20)
        assert [path.name for path in sandbox.paths.sessions.iterdir()] == [two["id"]]
        assert not running(sandbox, 4711)
        return
    made = answer(waiting, request)
    assert [process.pid for process in running(sandbox, 4711)] == [made["pid"]]


def test_its_first_record_says_who_keeps_it(sandbox: Sandbox, clients: Any, hanging: Any) -> None:
    """So nothing more has to be written before its program starts."""
    sandbox.up()
    first = sandbox.paths.session(sandbox.new("sleep", "999")["id"])  # the zygote is there
    wait_for(lambda: decode((first / "record").read_bytes()).state is State.RUNNING)
    wait_for(lambda: not list(first.glob("record?*")), what="all to be stored")
    waiting = clients()
    with hanging() as disk:
        request = waiting.post("new", new("sleep", "4711", name="one"))
        disk.wait()
        (path,) = sandbox.paths.sessions.glob("*/record~")
        record = decode(path.read_bytes())
        assert record.custodian_pid is not None and alive(record.custodian_pid)
        assert not running(sandbox, 4711) and record.id not in sandbox.custodians()
    assert answer(waiting, request)["custodian_pid"] == record.custodian_pid


def test_a_name_is_taken_while_a_custodian_is_forked(sandbox: Sandbox, clients: Any) -> None:
    """Of two who want it at the same time the second gets another one."""
    sandbox.up()
    first, second = clients(), clients()
    with stopped(first.request("doctor")["zygote_pid"]):
        requests = [
            (client, client.post("new", new("sleep", "99", name="dev"))) for client in (first, second)
        ]
        wait_for(lambda: len(listed(sandbox)) == 2)
    names = [answer(client, request)["name"] for client, request in requests]
    assert len(set(names)) == 2 and "dev" in names


def test_a_name_is_taken_while_it_is_on_its_way(sandbox: Sandbox, clients: Any, hanging: Any) -> None:
    """H4: two who want the same name at the same time."""
    sandbox.up()
    ids = [shell(sandbox, name)["id"] for name in ("one", "two")]
    first, second = clients(), clients()
    with hanging() as disk:
        requests = [(first, first.post("rename", {"session": "one", "name": "dev"}))]
        disk.wait()
        requests.append((second, second.post("rename", {"session": "two", "name": "dev"})))
        disk.wait(2)
    names = [answer(client, request)["name"] for client, request in requests]
    assert names[0] == "dev"
    assert re.fullmatch(r"dev-\d{6}", names[1])
    sandbox.restart()
    assert [ls(sandbox)[name]["id"] for name in names] == ids


def test_what_happens_to_a_session_while_it_is_renamed(sandbox: Sandbox, clients: Any, hanging: Any) -> None:
    """Its record is written twice, one after the other, and says both."""
    sandbox.up()
    info = sandbox.new("sh", "-c", "read line; exit 7", name="one")
    waiting = clients()
    with hanging() as disk:
        request = waiting.post("rename", {"session": "one", "name": "other"})
        disk.wait()
        sandbox.send("one", b"\n")
        wait_displayed(sandbox, "one", "ended (exited 7)")
    assert answer(waiting, request)["name"] == "other"
    assert settle(sandbox) == []
    sandbox.restart()
    assert displayed(sandbox, "other") == "ended (exited 7)"
    assert sandbox.info("other")["id"] == info["id"]


def test_a_daemon_is_told_to_stop_meanwhile(sandbox: Sandbox, clients: Any, hanging: Any) -> None:
    """What is on its way gets there before another daemon may begin; what was not begun is not begun any more."""
    sandbox.up()
    info = shell(sandbox, "one")
    waiting, other = clients(), clients()
    with hanging() as disk:
        waiting.post("rename", {"session": "one", "name": "other"})
        other.post("new", new("sleep", "4711", name="new"))
        disk.wait(2)
        assert sandbox.daemon is not None
        sandbox.daemon.send_signal(signal.SIGTERM)
        wait_for(lambda: not sandbox.paths.daemon_socket.exists())
        refused = sandbox.toowld(check=False)
        assert refused.returncode == 4 and "running already" in refused.stderr
    sandbox.daemon.wait(20)
    assert [path.name for path in sandbox.paths.sessions.iterdir()] == [info["id"]]
    sandbox.up()
    assert set(ls(sandbox)) == {"other"}
    assert not running(sandbox, 4711)


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_who_comes_while_the_end_is_on_its_way(
    sandbox: Sandbox, clients: Any, tmp_path: Path, persistent: bool
) -> None:
    """Nobody was left to tell it, so the engine is done before the disk is. Who comes sees what an end looks like."""
    need_program("strace")
    sandbox.up()
    over = sandbox.new("sh", "-c", "read line; echo bye; exit 7", name="over", persistent=persistent)
    late = clients()
    with Hanging(over["custodian_pid"] if persistent else sandbox.daemon_pid, tmp_path / "trace") as disk:
        sandbox.send("over", b"\n")
        disk.wait()
        late.post("attach", {"session": "over", "client_id": "late", "respawn": False})
        listed(sandbox)  # asks whoever keeps the session: the attach has got there before
    assert isinstance(late.receive(timeout=20), wire.Attached)
    while not isinstance(message := late.receive(timeout=20), wire.Ended):
        assert isinstance(message, wire.Output | wire.Live), message
    assert message.code == 7
