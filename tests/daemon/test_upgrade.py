"""``toowld upgrade``: what people and their terminals see of it, and what they are told when it can't be."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.client.test_lending_live import RAW, shown
from tests.daemon.steps import COUNT_BY_MS, ask, complete, ls, shell
from tests.harness import REPOSITORY, Sandbox, holds, wait_for
from toowld import __version__
from toowld.wire import Request, encode

OLD = "0.0.9"


def old_package(box: Sandbox, *, features: bool = True) -> str:
    """A folder with this package, and what is compiled of it, as it may have been before; for PYTHONPATH."""
    folder = box.root / "old"
    for name in ("toowld", "toowl"):
        shutil.copytree(REPOSITORY / name, folder / name)
    change(folder / "toowld/__init__.py", f'"{__version__}"', f'"{OLD}"')
    if not features:
        change(folder / "toowld/custodian/keeper.py", 'FEATURES = ("Upgrade", ', 'FEATURES = ("Aging", ')
    return str(folder)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_terminal_that_is_attached_sees_nothing_of_it(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("bash", "-c", COUNT_BY_MS, name="count")
    terminal = sandbox.attach_pty("count")
    terminal.expect("count 50\r\n")
    for _ in range(3):
        done = sandbox.toowld("upgrade", "count")
        assert done.stdout == f"count: kept by toowl {__version__}, goes on as {__version__}\n"
        terminal.expect(f"count {complete(terminal)[-1] + 100}\r\n")
    assert sandbox.info("count")["custodian_pid"] == info["custodian_pid"]
    terminal.send(b"\x1cd")
    terminal.expect("detached")
    found = complete(terminal)
    assert found == list(range(found[0], found[0] + len(found)))


def test_a_terminal_that_is_lent_goes_back_and_is_lent_again(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("/bin/sh", "-c", f"{RAW}exec cat", name="x")
    terminal = shown(sandbox.attach_pty("x"))
    tty = terminal.name
    for number in range(3):
        wait_for(partial(holds, info["custodian_pid"], tty), what="the terminal to be lent")
        text = b"<%d>" % number
        for at in range(len(text)):
            if at == 1:
                sandbox.toowld("upgrade", "x")
            terminal.send(text[at : at + 1])
        terminal.expect(text)
    assert terminal.output.count(b"<") == 3
    terminal.send(b"\x1cd")
    terminal.expect("detached")


def test_from_an_older_toowl(sandbox: Sandbox) -> None:
    """What is shown before and after, and that all of it is the same session."""
    sandbox.up(PYTHONPATH=old_package(sandbox))
    one = shell(sandbox, "one")["id"]
    shell(sandbox, "two")
    pid = ask(sandbox, one, "$$")
    sandbox.restart()
    shell(sandbox, "new")
    before = {item["name"]: item["custodian_version"] for item in ls(sandbox).values()}
    assert before == {"one": OLD, "two": OLD, "new": __version__}
    table = sandbox.terminal("toowl", "ls")
    table.expect("2 kept by another version of toowl: `toowld upgrade --all`")
    assert table.text.count(f"detached, toowl {before['one']}") == 2
    assert sandbox.toowl("ls").stderr == "", "a script is not told"
    told = sandbox.toowl("info", "one").stdout
    assert f"{OLD}; `toowld upgrade {one}` has it go on with {__version__}" in told
    doctor = " ".join(sandbox.toowld("doctor", check=False).stdout.split())
    assert f"toowl {OLD} keeps" in doctor and "toowld upgrade --all: they go on with" in doctor
    dry = sandbox.toowld("upgrade", "--all", "--dry-run").stdout
    assert sorted(dry.splitlines()) == [
        f"{name}: kept by toowl {OLD}, could go on as {__version__}" for name in ("one", "two")
    ]
    shutil.rmtree(sandbox.root / "old")  # as a package manager does: what runs needs none of its files
    done = sandbox.toowld("upgrade", "--all").stdout
    assert sorted(done.splitlines()) == [
        f"{name}: kept by toowl {OLD}, goes on as {__version__}" for name in ("one", "two")
    ]
    assert {item["custodian_version"] for item in ls(sandbox).values()} == {__version__}
    nothing = sandbox.toowld("upgrade", "--all").stdout
    assert nothing == f"nothing to do: every session is kept by toowl {__version__}\n"
    assert ask(sandbox, one, "$$") == pid
    sandbox.restart()
    assert {item["custodian_version"] for item in ls(sandbox).values()} == {__version__}
    assert ask(sandbox, one, "$$") == pid
    assert "versions" in (healthy := sandbox.toowld("doctor", check=False).stdout) and OLD not in healthy


def test_one_that_is_too_old_goes_on_as_it_is(sandbox: Sandbox) -> None:
    sandbox.up(PYTHONPATH=old_package(sandbox, features=False))
    session = shell(sandbox, "old")["id"]
    sandbox.restart()
    done = sandbox.toowld("upgrade", "--all", check=False)
    assert done.returncode == 4
    assert done.stderr == (
        f"toowld: session old: its custodian (toowl {OLD}) is too old to be upgraded in place: it goes on as it is\n"
    )
    assert ask(sandbox, session, "still here") == "still here"
    doctor = " ".join(sandbox.toowld("doctor", check=False).stdout.split())
    assert f"nothing has to be done; a session started anew is kept by {__version__}" in doctor


def test_a_package_that_was_only_half_installed(sandbox: Sandbox) -> None:
    """On the disk is other code than runs: the session goes on, and the reason is told."""
    folder = old_package(sandbox)
    sandbox.up(PYTHONPATH=folder)
    session = shell(sandbox, "s")["id"]
    change(Path(folder) / "toowld/session/engine.py", "class Session:", "class Sess:")
    done = sandbox.toowld("upgrade", "s", check=False, PYTHONPATH=folder)
    assert done.returncode == 1
    assert "the new code can't keep session" in done.stderr and "'Session'" in done.stderr
    assert done.stderr.endswith(f": toowl {OLD} goes on keeping it\n") and done.stderr.count("\n") == 1
    assert ask(sandbox, session, "still here") == "still here"


def test_what_can_not_be_upgraded_says_so(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "standard", persistent=False)
    sandbox.new("true", name="over")
    wait_for(lambda: sandbox.info("over")["state"] == "ended")
    done = sandbox.toowld("upgrade", "standard", "over", "nobody", check=False)
    first, second, third = done.stderr.splitlines()
    assert done.returncode == 4
    assert first == "toowld: session standard is a standard session: it lives in the daemon, and ends with it"
    assert second.startswith("toowld: session over is ended (exited 0)")
    assert third.startswith('toowld: session "nobody" not found')
    for wrong in ((), ("--all", "standard")):
        assert sandbox.toowld("upgrade", *wrong, check=False).returncode == 2


def test_one_that_does_not_answer(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "stopped")
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    try:
        assert sandbox.info("stopped")["state"] == "unreachable"
        done = sandbox.toowld("upgrade", "stopped", check=False)
    finally:
        os.kill(info["custodian_pid"], signal.SIGCONT)
    assert done.returncode == 4
    assert done.stderr == (
        "toowld: session stopped: its custodian does not answer: it goes on as it is: see `toowld doctor`\n"
    )
    wait_for(lambda: sandbox.info("stopped")["state"] == "running")
    sandbox.toowld("upgrade", "stopped")


def test_the_daemon_is_to_be_upgraded_first(sandbox: Sandbox) -> None:
    sandbox.up(PYTHONPATH=old_package(sandbox))
    done = sandbox.toowld("upgrade", "--all", check=False)
    assert done.returncode == 4
    assert done.stderr.startswith(
        f"toowld: the daemon is toowl {OLD}, and this is {__version__}: restart it first ("
    )


def trying(info: dict[str, Any]) -> bool:
    """Whether the custodian has another child than the session's."""
    return [child.pid for child in psutil.Process(info["custodian_pid"]).children()] != [info["pid"]]


@pytest.mark.parametrize("when", ["asked", "tried", "executed"])
def test_the_daemon_dies_in_the_middle(sandbox: Sandbox, when: str) -> None:
    """The new code waits for us while it is tried: on a busy machine that is over before it is seen."""
    tried, go_on = sandbox.root / "tried", sandbox.root / "go-on"
    os.mkfifo(go_on)
    folder = old_package(sandbox)
    first = "    with socket.socket(fileno=control_fd) as control:\n"
    waits = f"    open({str(tried)!r}, 'w').close(); open({str(go_on)!r}).close()\n"
    if when != "asked":
        change(Path(folder) / "toowld/custodian/successor.py", first, waits + first)
    sandbox.up(PYTHONPATH=folder)
    info = shell(sandbox, "s")
    pid = ask(sandbox, info["id"], "$$")
    client = sandbox.client()
    client.socket.sendall(encode(Request(5, "upgrade", {"session": "s"})))
    if when != "asked":
        wait_for(tried.exists)
    if when == "executed":
        go_on.write_bytes(b"")
        wait_for(lambda: not trying(info))
    sandbox.restart()
    client.close()
    assert sandbox.info("s")["custodian_pid"] == info["custodian_pid"]
    assert ask(sandbox, info["id"], "$$") == pid
    if when == "tried":
        go_on.write_bytes(b"")
    wait_for(lambda: not trying(info))
    sandbox.toowld("upgrade", "s")
