"""Old and new beside each other: what was released works with the code of today, and the other way round.

README.md tells what lies here. To these tests, an old program is a real one: run from its zip, as a process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import cbor2
import pytest

from tests.daemon.steps import COUNT_BY_MS, complete
from tests.frozen.noise import UNKNOWN, Noise, frame
from tests.harness import REPOSITORY, Sandbox, Terminal, wait_for
from toowld import __version__
from toowld.custodian.loop import EpollLoop
from toowld.host import SessionHost
from toowld.wire import Attached, FrameDecoder, InputAck, Message, Output, Pong

HERE = Path(__file__).parent
ZIPS = sorted(HERE.glob("*.zip"))
STATES = sorted(HERE.glob("*.state"))

RAW_CAT = ("/bin/sh", "-c", "stty raw -echo; printf rea; printf 'dy\\r\\n'; exec cat")


@pytest.fixture(scope="session", params=ZIPS, ids=[path.stem for path in ZIPS])
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the old code is, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(folder)
    return str(folder)


def version_in(folder: str) -> str:
    return (Path(folder) / "toowld/__init__.py").read_text().partition('__version__ = "')[2].partition('"')[0]


class User:
    """Somebody with one of the two, at the daemon of ``runtime``."""

    def __init__(self, box: Sandbox, folder: str, runtime: Path | None = None) -> None:
        self._box = box
        self._folder = folder
        self._runtime = str(runtime or box.paths.runtime)

    def toowl(self, *args: str) -> str:
        done = self._box.toowl(*args, PYTHONPATH=self._folder, TOOWL_RUNTIME_DIR=self._runtime)
        return done.stdout

    def toowld(self, *args: str) -> str:
        done = self._box.toowld(*args, PYTHONPATH=self._folder, TOOWL_RUNTIME_DIR=self._runtime)
        return done.stdout

    def terminal(self, *args: str) -> Terminal:
        return self._box.terminal("toowl", *args, PYTHONPATH=self._folder, TOOWL_RUNTIME_DIR=self._runtime)

    def info(self, session: str) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self.toowl("info", session, "--json"))
        return info

    def attach(self, session: str, *options: str) -> Terminal:
        terminal = self.terminal("attach", session, *options)
        terminal.expect("ready")
        return terminal

    def use(self, session: str) -> None:
        """Do all that one does with a session that echoes what is typed, but for ending it."""
        listed = {item["id"]: item for item in json.loads(self.toowl("ls", "--json"))}
        assert listed[session]["state"] == "running"
        terminal = self.attach(session)
        terminal.send("he")
        terminal.send("llo\r\n")
        terminal.expect("hello")
        self.toowl("send", session, "<sent>")
        terminal.expect("<sent>")
        terminal.resize(30, 100)
        wait_for(lambda: (self.info(session)["rows"], self.info(session)["cols"]) == (30, 100))
        viewer = self.attach(session, "--read-only")
        terminal.send("seen by two\r\n")
        viewer.expect("seen by two")
        self.toowl("detach", session, "--all")
        assert terminal.wait() == viewer.wait() == 0
        for name, *rest in (("capture",), ("capture", "--raw"), ("logs",), ("search", "hello")):
            assert "hello" in self.toowl(name, session, *rest)
        assert '"version": 2' in self.toowl("export", session, "-o", "-")
        name = listed[session]["name"]
        self.toowl("rename", session, f"{name}x")
        assert self.info(session)["name"] == f"{name}x"
        self.toowl("rename", session, name)

    def end(self, session: str) -> None:
        self.toowl("kill", session)
        assert self.info(session)["state"] == "ended"
        self.toowl("rm", session)
        assert session not in self.toowl("ls")


MIXTURES = [mixture for mixture in product(("old", "new"), repeat=3) if len(set(mixture)) == 2]


@pytest.mark.parametrize(("custodian", "daemon", "client"), MIXTURES, ids=["-".join(m) for m in MIXTURES])
def test_any_mixture_works(sandbox: Sandbox, old: str, custodian: str, daemon: str, client: str) -> None:
    folders = {"old": old, "new": str(REPOSITORY)}
    sandbox.up(PYTHONPATH=folders[custodian])
    info = sandbox.new(*RAW_CAT, name="s")
    session, pid = info["id"], info["pid"]
    sandbox.kill9()
    sandbox.up(PYTHONPATH=folders[daemon])
    found = sandbox.info(session)
    assert (found["pid"], found["custodian_version"]) == (pid, version_in(folders[custodian]))
    user = User(sandbox, folders[client])
    user.use(session)
    assert sandbox.info(session)["pid"] == pid
    user.end(session)


@pytest.mark.parametrize("client", ["old", "new"])
def test_an_old_custodian_is_upgraded_under_its_clients(sandbox: Sandbox, old: str, client: str) -> None:
    sandbox.up(PYTHONPATH=old)
    counting = sandbox.new("bash", "-c", COUNT_BY_MS, name="count")
    echoing = sandbox.new(*RAW_CAT, name="s")
    sandbox.restart()
    user = User(sandbox, old if client == "old" else str(REPOSITORY))
    terminal = user.terminal("attach", "count")
    terminal.expect("count 50\r\n")
    was = version_in(old)
    doctor = " ".join(sandbox.toowld("doctor", check=False).stdout.split())
    assert f"toowl {was} keeps" in doctor and "toowld upgrade --all" in doctor
    done = sandbox.toowld("upgrade", "--all").stdout
    assert sorted(done.splitlines()) == [
        f"{name}: kept by toowl {was}, goes on as {__version__}" for name in ("count", "s")
    ]
    terminal.expect(f"count {complete(terminal)[-1] + 100}\r\n")
    terminal.send(b"\x1cd")
    terminal.expect("detached")
    found = complete(terminal)
    assert found == list(range(found[0], found[0] + len(found)))
    for before in (counting, echoing):
        after = sandbox.info(before["id"])
        for what in ("pid", "custodian_pid", "state"):
            assert after[what] == before[what]
        assert after["custodian_version"] == __version__
    user.use(echoing["id"])
    sandbox.restart()
    user.end(echoing["id"])
    user.end(counting["id"])


def test_the_way_back_loses_nothing(sandbox: Sandbox, old: str) -> None:
    """Whoever goes back to an old package: its daemon has custodians of the new one, and may try to change that."""
    sandbox.up()
    info = sandbox.new(*RAW_CAT, name="s")
    sandbox.kill9()
    sandbox.up(PYTHONPATH=old)
    done = sandbox.toowld("upgrade", "s", check=False, PYTHONPATH=old)
    assert done.returncode == 0 or "goes on keeping it" in done.stderr
    assert sandbox.info("s")["pid"] == info["pid"]
    User(sandbox, old).use(info["id"])
    sandbox.restart()
    sandbox.toowld("upgrade", "s")
    User(sandbox, str(REPOSITORY)).use(info["id"])
    assert sandbox.info("s")["pid"] == info["pid"]


def test_what_the_older_side_does_not_know_is_told_in_a_line(sandbox: Sandbox, old: str) -> None:
    """And nothing is done by halves: settings that an old daemon would ignore are refused."""
    sandbox.up(PYTHONPATH=old)
    info = sandbox.new(*RAW_CAT, name="s")
    for words in (
        ("set", "s", "size=latest"), ("config", "show"), ("new", "-d", "--ttl", "2h", "--", "cat"),
        ("events",), ("events", "-f", "name=s"), ("wait", "s", "--exit"), ("reconnect", "s"),
    ):  # fmt: skip
        refused = sandbox.toowl(*words, check=False)
        assert refused.returncode == 4 and len(refused.stderr.splitlines()) == 1
        assert "upgrade the older side" in refused.stderr or "too old for ttl" in refused.stderr
    assert [item["name"] for item in json.loads(sandbox.toowl("ls", "--json").stdout)] == ["s"]
    assert sandbox.toowl("wait", "s", "--match", "^ready$", "--from", "0").stdout == "ready\n"
    assert sandbox.toowl("wait", "s", "--screen", "^ready$").stdout == "ready\n"
    ran = sandbox.toowl("run", "-n", "ran", "--", "sh", "-c", "echo out; exit 3", check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("out\n", "", 3)
    sandbox.restart()
    for awaited in (
        ("--idle", "0.1"), ("--input",), ("--screen", "ready"), ("--match", "ready", "--from", "0"),
    ):  # fmt: skip
        sandbox.toowl("wait", "s", *awaited, "--timeout", "20")  # of an old custodian by a new daemon
    told = sandbox.toowl("set", "s", "size=latest", "idle_timeout=12h").stderr
    assert "heeded when its program is next started" in told, "its custodian is the old one"
    assert sandbox.info("s")["pid"] == info["pid"] and 0 < sandbox.info("s")["ends_in"] <= 43200
    sandbox.toowl("restart", "s", "--yes")
    assert sandbox.toowl("set", "s", "size=").stderr == ""


# --- the state ------------------------------------------------------------------------------------------


def includes(new: Any, old: Any) -> bool:
    """Whether all of ``old`` is in ``new``: maps may have more keys."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and includes(new[key], value) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(new) == len(old) and all(map(includes, new, old))
    return bool(new == old)


@pytest.mark.parametrize("path", STATES, ids=[path.stem for path in STATES])
def test_what_an_old_custodian_leaves_is_understood(path: Path) -> None:
    """All of it: what would be left again is the same."""
    state = cbor2.loads(path.read_bytes())["host"]
    others: dict[int, int] = {}  # our descriptor -> the one that it stands for
    ends: list[socket.socket] = []

    def take(fd: int) -> int:
        ours, other = socket.socketpair()
        ends.append(other)
        others[ours.fileno()] = fd
        return ours.detach()

    host = SessionHost.thaw(state, take, EpollLoop(), on_changed=lambda: None, on_finished=lambda: None)
    again = host.freeze(others.__getitem__)
    assert includes(again, state)
    host._clients.close()
    host._terminal.close()
    assert host.log._fd >= 0  # type: ignore[union-attr]
    os.close(host.log._fd)  # type: ignore[union-attr]
    for sock in ends:
        sock.close()


@pytest.mark.parametrize("path", STATES, ids=[path.stem for path in STATES])
def test_and_could_be_taken_over(path: Path) -> None:
    """As an old custodian asks it: in another process."""
    ours, its = socket.socketpair()
    state = os.memfd_create("state")
    os.write(state, path.read_bytes())
    argv = [sys.executable, "-P", "-m", "toowld", "--custodian", "--id", "0badcafe"]
    process = subprocess.Popen(
        [*argv, "--state", str(state), "--check", str(its.fileno())], pass_fds=[state, its.fileno()]
    )
    its.close()
    with ours:
        for _ in range(2):
            assert ours.recv(4096) == f"ok {__version__}\n".encode()
            ours.send(b"?")
        ours.recv(4096)
    os.close(state)
    assert process.wait(20) == 0


# --- what nobody knows yet ------------------------------------------------------------------------------


def test_a_later_version_that_says_more_is_understood(sandbox: Sandbox) -> None:
    """On all ways: client to daemon, daemon to custodian, client to session, and back."""
    sandbox.up()
    info = sandbox.new(*RAW_CAT, name="s")
    session = info["id"]
    sandbox.kill9()
    real = sandbox.paths.runtime
    between, near = sandbox.root / "b", sandbox.root / "n"
    for folder in (between, between / "custodians", near, near / "custodians"):
        folder.mkdir(mode=0o700)
    sock = f"custodians/{session}.sock"
    to_custodian = {between / sock: real / sock}
    to_daemon = {near / "toowld.sock": between / "toowld.sock", near / sock: real / sock}
    with Noise(to_custodian) as inner, Noise(to_daemon) as outer:
        sandbox.env["TOOWL_RUNTIME_DIR"] = str(between)
        sandbox.up(wait=False)
        wait_for(lambda: (between / "toowld.sock").exists())
        user = User(sandbox, str(REPOSITORY), near)
        user.use(session)
        assert user.toowld("upgrade", "s").startswith("s: kept by")
        user.use(session)
        assert inner.messages > 20 and outer.messages > 50
        user.end(session)


def test_messages_that_nobody_knows_end_nothing(sandbox: Sandbox) -> None:
    """To the daemon, to a custodian, and to a session: each goes on, and answers what came behind."""
    sandbox.up()
    info = sandbox.new(*RAW_CAT, name="s")
    for path in (sandbox.paths.daemon_socket, sandbox.paths.custodian_socket(info["id"])):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(os.fspath(path))
            hello = frame([0, 1, 99, {"role": "client", "features": ["Telepathy"], "new": {"a": [1]}}, "new"])
            request = frame([16, 1, "read_minds", {}, "new"])
            params = {"session": "s", "client_id": "me", "rows": 24, "cols": 80, "from_seq": 0, "new": None}
            attach = frame([16, 2, "attach", params, 5])
            sock.sendall(hello + UNKNOWN + request + UNKNOWN + frame([17, 77, {}]) + attach)
            typed = [frame([2, 0, b"unknown", "new"]), frame([4, 24, 80, 3, "pixels"]), frame([11, 5, "new"])]
            sock.sendall(UNKNOWN.join([b"", *typed, b""]))
            told = read_until(sock, Pong(5), InputAck(7), b"unknown")
            assert any(isinstance(message, Attached) for message in told)
    assert sandbox.info("s")["pid"] == info["pid"]


def read_until(sock: socket.socket, *wanted: Message | bytes) -> list[Message]:
    """All messages up to those that are wanted; bytes are of output."""
    decoder = FrameDecoder()
    told: list[Message] = []
    missing = list(wanted)
    while missing:
        data = sock.recv(65536)
        assert data, f"the connection ended: {told[-3:]}"
        decoder.feed(data)
        for message in decoder.messages():
            told.append(message)
            for want in list(missing):
                if message == want or (
                    isinstance(want, bytes) and isinstance(message, Output) and want in message.data
                ):
                    missing.remove(want)
    return told
