"""What each of the simple commands asks of the daemon, and what it makes of the answer. The daemon is scripted."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.client.scripted import ScriptedDaemon, one_line, run, session
from tests.harness import Sandbox
from toowld import errors

# -- the simple ones --------------------------------------------------------------------------------------

ASKED = [
    (["rename", "x", "new name"], "rename", {"session": "x", "name": "new name"}),
    (["tag", "x", "a=b=c", "d="], "tag", {"session": "x", "tags": {"a": "b=c", "d": None}}),
    (["set", "x", "size=latest", "persistent="], "set",
     {"session": "x", "settings": {"size": "latest", "persistent": None}}),
    (["detach", "x", "--all"], "detach", {"session": "x", "client": None, "all": True}),
    (["detach", "x", "--client", "3"], "detach", {"session": "x", "client": 3, "all": False}),
    (["kill", "x"], "kill", {"session": "x", "force": False}),
    (["kill", "--force", "x"], "kill", {"session": "x", "force": True}),
    (["rm", "x"], "remove", {"session": "x"}),
    (["restart", "x", "--yes"], "restart", {"session": "x", "persistent": None, "force": False}),
    (["restart", "x", "--yes", "--standard"], "restart", {"session": "x", "persistent": False, "force": False}),
    (["restart", "--force", "x", "--yes"], "restart", {"session": "x", "persistent": None, "force": True}),
    (["resize", "x", "120x40"], "resize", {"session": "x", "rows": 40, "cols": 120}),
    (["send", "x", "make", "test"], "send", {"session": "x", "data": b"make test\r"}),
    (["send", "x", "--no-enter", "a  b"], "send", {"session": "x", "data": b"a  b"}),
    (["send", "x"], "send", {"session": "x", "data": b"\r"}),
    (["send", "x", "--", "-v", "--keys"], "send", {"session": "x", "data": b"-v --keys\r"}),
    (["send", "x", "--keys", "C-c", "Up", "Enter"], "send", {"session": "x", "data": b"\x03\x1b[A\r"}),
    (["send", "--keys", "x", "-"], "send", {"session": "x", "data": b"-"}),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "method", "params"), ASKED, ids=[" ".join(row[0]) for row in ASKED])
def test_asks(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], method: str, params: dict[str, Any]
) -> None:
    daemon.answers[method] = {**session(), "notices": [], "detached": 1}
    assert run(sandbox, *argv) == (0, "", "")
    assert daemon.asked == [(method, params)]


INSIDE = [
    (["info"], "info", {"session": "2f3a9c1b"}),
    (["detach", "--all"], "detach", {"session": "2f3a9c1b"}),
    (["kill"], "kill", {"session": "2f3a9c1b"}),
    (["rename", "me"], "rename", {"session": "2f3a9c1b", "name": "me"}),
    (["set", "size=latest"], "set", {"session": "2f3a9c1b", "settings": {"size": "latest"}}),
    (["tag", "a=1"], "tag", {"session": "2f3a9c1b", "tags": {"a": "1"}}),
]


@pytest.mark.parametrize(("argv", "method", "params"), INSIDE, ids=[" ".join(row[0]) for row in INSIDE])
def test_inside_a_session(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], method: str, params: dict[str, Any]
) -> None:
    daemon.answers[method] = {**session(), "notices": [], "detached": 1}
    assert run(sandbox, *argv, TOOWL_SESSION="2f3a9c1b")[0] == 0
    assert params.items() <= daemon.params(method).items()
    status, _, err = run(sandbox, *argv)
    assert status == 2
    assert "which session" in err and one_line(err)


MISTAKES = [
    ["rename", "a", "b", "c"], ["rename"], ["tag", "x", "y"], ["set", "x", "y"],
    ["config"], ["config", "check", "--session", "x"],
    ["detach", "x", "--all", "--client", "1"],
    ["detach", "x", "--client", "me"],
    ["rm"], ["restart"], ["reconnect"], ["resize", "x"], ["resize", "x", "80"], ["resize", "x", "0x24"],
    ["resize", "x", "80x99999"],
    ["send"], ["send", "x", "--keys"], ["send", "x", "--keys", "Entr"], ["send", "x", "--stdin", "text"],
    ["send", "x", "--no-enter"], ["send", "x", "--stdin", "--keys"], ["send", "x", "-v"],
    ["capture"], ["capture", "x", "--lines", "0"], ["capture", "x", "--lines", "-3"],
    ["capture", "x", "--lines", "many"],
    ["export", "x"], ["export", "x", "-o", "f", "--format", "1"],
    ["export", "x", "-o", "f", "--idle-limit", "0"],
    ["export", "x", "-o", "f", "--idle-limit", "nan"], ["info", "a", "b"], ["info", "x", "--jso"],
    ["version", "x"],
]  # fmt: skip


@pytest.mark.parametrize("argv", MISTAKES, ids=" ".join)
def test_mistakes(sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str]) -> None:
    status, out, err = run(sandbox, *argv)
    assert (status, out) == (2, "")
    assert one_line(err)
    assert daemon.asked == []


def test_several_are_all_tried(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if params["session"] == "gone":
            raise errors.SessionNotFound('session "gone" not found')
        if params["session"] == "busy":
            raise errors.RefusedError('session "busy" will not end')
        return {}

    daemon.answers |= {"kill": answer, "remove": answer}
    for command in ("kill", "rm"):
        daemon.asked.clear()
        status, out, err = run(sandbox, command, "a", "gone", "b", "busy", "a")
        assert (status, out) == (3, "")
        assert err == 'toowl: session "gone" not found\ntoowl: session "busy" will not end\n'
        assert [params["session"] for _, params in daemon.asked] == ["a", "gone", "b", "busy"]
    assert run(sandbox, "rm", "busy", "gone")[0] == 4


def test_detach_of_nobody(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"detach": {"detached": 0}, "info": {**session(), "client_list": []}}
    for option in ([], ["--all"]):
        status, out, err = run(sandbox, "detach", "x", *option)
        assert (status, out) == (0, "")
        assert "nobody" in err


def test_detach_without_saying_whom(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"detach": {"detached": 1}, "info": {**session(), "client_list": [{"client": 4}]}}
    assert run(sandbox, "detach", "x") == (0, "", "")
    assert daemon.params("detach") == {"session": "x", "client": 4, "all": False}
    daemon.answers["info"] = {**session(name="x"), "client_list": [{"client": 4}, {"client": 5}]}
    status, out, err = run(sandbox, "detach", "x")
    assert (status, out) == (4, "")
    assert one_line(err) and "--client" in err and "--all" in err
    assert daemon.params("detach")["client"] == 4  # asked once only, before


def test_notices_are_told(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["rename"] = {**session(), "notices": ["dev is taken: dev-150623"]}
    assert run(sandbox, "rename", "x", "dev") == (0, "", "toowl: dev is taken: dev-150623\n")


def test_send_stdin(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["send"] = {}
    data = bytes(range(256)) * 1000
    assert run(sandbox, "send", "x", "--stdin", input=data) == (0, "", "")
    pieces = [params["data"] for _, params in daemon.asked]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 16


def test_send_bytes_that_are_not_utf8(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["send"] = {}
    subprocess.run([sys.executable, "-m", "toowl", "send", "x", b"\xff\xc3\xa4"], env=sandbox.env, check=True)
    assert daemon.params("send")["data"] == b"\xff\xc3\xa4\r"


# -- restart ----------------------------------------------------------------------------------------------


def test_restart_without_a_terminal_is_refused(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"info": session(name="work"), "restart": {"notices": []}}
    status, _, err = run(sandbox, "restart", "work")
    assert status == 4
    assert one_line(err) and '"work"' in err and "--yes" in err
    assert [method for method, _ in daemon.asked] == ["info"]


def test_restart_of_what_has_ended_needs_no_question(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"info": session(state="ended"), "restart": {"notices": []}}
    assert run(sandbox, "restart", "work") == (0, "", "")


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 4), ("\n", 4), ("\x04", 4)])
def test_restart_asks(sandbox: Sandbox, daemon: ScriptedDaemon, typed: str, status: int) -> None:
    daemon.answers |= {"info": session(name="work", command="vim \x1b[2J"), "restart": {"notices": []}}
    terminal = sandbox.terminal("toowl", "restart", "work")
    terminal.expect("[y/N]")
    terminal.send(typed)
    assert terminal.wait() == status
    assert "vim" in terminal.text and "\x1b" not in terminal.text
    assert ("restart" in [method for method, _ in daemon.asked]) == (status == 0)
