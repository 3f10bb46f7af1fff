"""What happens in a session is none of its daemon's business: shells and their output outlive every death of it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal

import psutil
import pytest

from tests.daemon.steps import (
    COUNT,
    COUNT_BY_MS,
    DEATHS,
    ask,
    complete,
    counted,
    displayed,
    listed,
    ls,
    numbers,
    open_files,
    settings,
    shell,
    wait_displayed,
)
from tests.harness import PAINTED, Sandbox, alive, peer_pid, wait_for


@pytest.mark.parametrize("death", DEATHS)
def test_the_same_shell_after_each_kind_of_death(sandbox: Sandbox, death: str) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    session = info["id"]
    sandbox.send(session, b"cd /var/tmp; KEPT=treasure; sleep 999 &\r")
    before = ask(sandbox, session, "$$ $PWD $KEPT $(jobs -p)")
    pid, cwd, kept, job = before.split()
    assert (int(pid), cwd, kept) == (info["pid"], "/var/tmp", "treasure")
    DEATHS[death](sandbox)
    assert alive(int(pid))
    assert alive(int(job))
    sandbox.up()
    assert ask(sandbox, session, "$$ $PWD $KEPT $(jobs -p)") == before
    after = ls(sandbox)["work"]
    assert (after["id"], after["pid"], after["display"]) == (session, info["pid"], "detached")
    assert after["custodian_pid"] == info["custodian_pid"]
    assert after["cwd"] == "/var/tmp"


def test_ten_deaths_leave_no_hole_and_no_double(sandbox: Sandbox) -> None:
    """In the scrollback, and on the terminal of a client that is attached throughout."""
    sandbox.up()
    info = sandbox.new("bash", "--norc", "-c", COUNT_BY_MS, name="count")
    terminal = sandbox.attach_pty("count", cols=200)
    terminal.expect("count 20\r\n")
    chance = random.Random(7)
    for _ in range(10):
        seen = len(numbers(terminal.output))
        wanted = seen + chance.randrange(1, 60)
        wait_for(lambda wanted=wanted: len(numbers(terminal.output)) >= wanted)  # type: ignore[misc]
        sandbox.kill9()
        seen = len(numbers(terminal.output))
        wait_for(lambda seen=seen: len(numbers(terminal.output)) > seen + 10, what="counting alone")  # type: ignore[misc]
        sandbox.up()
    assert sandbox.info("count")["clients"] == 1
    assert sandbox.info("count")["pid"] == info["pid"]
    terminal.send(b"\x1cd")
    assert terminal.wait() == 0
    on_terminal = complete(terminal)
    # An attach shows the scrollback first, so the terminal has everything from the beginning.
    assert on_terminal == list(range(len(on_terminal)))
    assert len(on_terminal) > 200
    in_log = counted(sandbox, info["id"])
    assert in_log == list(range(len(in_log)))
    assert len(in_log) >= len(on_terminal)
    captured = numbers(sandbox.toowl("capture", "count", "--raw").stdout.encode())
    assert captured[: len(in_log)] == in_log


def test_fifty_sessions_are_in_the_first_list(sandbox: Sandbox) -> None:
    sandbox.up()
    pids = {f"s{n}": sandbox.new("sleep", "999", name=f"s{n}")["pid"] for n in range(50)}
    assert len(sandbox.custodians()) == 50
    assert not any("ptmx" in link for link in open_files(sandbox.daemon_pid).values()), (
        "the daemon owns a PTY"
    )
    sandbox.kill9()
    sandbox.up()
    rows = [line.split() for line in sandbox.toowl("ls").stdout.splitlines()[1:]]
    assert {(row[1], row[2], row[3]) for row in rows} == {(name, "P", "detached") for name in pids}
    assert {name: item["pid"] for name, item in ls(sandbox).items()} == pids


def test_a_custodian_is_on_its_own(sandbox: Sandbox) -> None:
    """Its own process session, title, nothing of the daemon's open; and it stays when the daemon goes."""
    sandbox.up()
    info = sandbox.new("sleep", "999")
    custodian = psutil.Process(info["custodian_pid"])
    assert os.getsid(custodian.pid) == custodian.pid
    assert custodian.cmdline()[0] == f"toowld --custodian {info['id']}"
    assert custodian.children() == [psutil.Process(info["pid"])]
    files = open_files(custodian.pid)
    assert any("ptmx" in link for link in files.values())
    assert not any("toowld.lock" in link or "record" in link for link in files.values())
    assert [files[fd] for fd in (0, 1, 2)] == ["/dev/null"] * 3
    zygote = custodian.ppid()
    sandbox.kill9()
    wait_for(lambda: not alive(zygote), what="the zygote to go with the daemon")
    assert alive(custodian.pid)
    assert alive(info["pid"])


def test_one_custodian_dies_alone(sandbox: Sandbox) -> None:
    sandbox.up()
    victim = sandbox.new("bash", "--norc", "-c", COUNT_BY_MS, name="victim")
    other = shell(sandbox, "other")
    wait_for(lambda: len(counted(sandbox, victim["id"])) > 20)
    os.kill(victim["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "victim", "ended (lost)")
    found = ls(sandbox)
    assert (found["victim"]["end_reason"], found["victim"]["exit_code"]) == ("lost", None)
    assert (found["other"]["display"], found["other"]["pid"]) == ("detached", other["pid"])
    assert ask(sandbox, other["id"], "$$") == str(other["pid"])
    target = sandbox.root / "victim.cast"
    sandbox.toowl("export", "victim", "-o", str(target))
    assert "count 20" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    wait_for(lambda: not alive(victim["pid"]), what="the child of a dead custodian to be hung up on")
    assert sandbox.daemon_text().count("ended: lost") == 1


def test_a_child_that_ends_while_the_daemon_is_away(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "job")
    sandbox.send("job", b"read -r wait; printf 'last%s\\n' words; exit 5\r")
    wait_for(lambda: b"exit 5" in sandbox.output(info["id"]))
    sandbox.kill9()
    # Through the custodian's own socket, as nobody else is there.
    from toowld.client import Client

    with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as client:
        client.request("send", data=b"go\r")
    wait_for(lambda: not alive(info["custodian_pid"]), what="the custodian to go when it is not needed")
    assert not sandbox.paths.custodian_socket(info["id"]).exists()
    sandbox.up()
    job = ls(sandbox)["job"]
    assert (job["display"], job["end_reason"], job["exit_code"]) == ("ended (exited 5)", "exited", 5)
    assert "lastwords" in sandbox.toowl("capture", "job", "--scrollback").stdout
    assert "P ended (exited 5)" in sandbox.toowl("ls").stdout


def test_a_custodian_makes_its_socket_again(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    path = sandbox.paths.custodian_socket(info["id"])
    sandbox.kill9()
    path.unlink()
    wait_for(lambda: peer_pid(path) == info["custodian_pid"], what="the socket to come back")
    assert path.stat().st_mode & 0o777 == 0o600
    # With the daemon down, by the custodian itself.
    terminal = sandbox.attach_pty("work")
    terminal.expect("directly")
    terminal.send("printf 'al%s\\n' one\r")
    terminal.expect("alone\r\n")
    terminal.send(b"\x1cd")
    assert terminal.wait() == 0
    sandbox.up()
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


def test_the_whole_runtime_folder_goes_away(sandbox: Sandbox) -> None:
    """As at a logout without linger: nothing is left of the folder, neither socket nor lock."""
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = shell(sandbox, "work")
    # Out of the way first: the custodian makes its socket again faster than a folder is emptied.
    gone = sandbox.paths.runtime.rename(sandbox.root / "gone")
    shutil.rmtree(gone)
    wait_for(lambda: peer_pid(sandbox.paths.daemon_socket) == sandbox.daemon_pid, what="the daemon's socket")
    path = sandbox.paths.custodian_socket(info["id"])
    wait_for(lambda: peer_pid(path) == info["custodian_pid"], what="the custodian's socket")
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])
    second = sandbox.toowld(check=False)
    assert second.returncode == 4
    assert f"pid {sandbox.daemon_pid}" in second.stderr


def test_the_daemon_keeps_only_a_reference(sandbox: Sandbox) -> None:
    """20 MB of output go past it: its memory stays as it was (B5)."""
    sandbox.forks = False  # a fork begins with less memory
    sandbox.up()
    daemon = psutil.Process(sandbox.daemon_pid)
    sandbox.new("true", name="warm-up")
    wait_displayed(sandbox, "warm-up", "ended (exited 0)")
    before = daemon.memory_info().rss
    sandbox.new("sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 20000000", name="big")
    wait_displayed(sandbox, "big", "ended (exited 0)")
    assert sandbox.info("big")["seq"] >= 20_000_000
    assert daemon.memory_info().rss - before < 8 << 20


def test_a_hundred_looks_change_nothing(sandbox: Sandbox) -> None:
    """Finding sessions again and again must not start anything anew (Z7)."""
    settings(sandbox, tick=0.01)
    sandbox.up()
    info = shell(sandbox, "work")
    with sandbox.client() as client:
        for _ in range(100):
            [item] = client.request("list")["sessions"]
            assert (item["pid"], item["custodian_pid"]) == (info["pid"], info["custodian_pid"])
    sandbox.restart()
    assert sandbox.info("work")["pid"] == info["pid"]
    assert len(sandbox.custodians()) == 1


def test_who_joins_a_flood_late_gets_each_byte_once(sandbox: Sandbox) -> None:
    """Picture, then replay, then live, and no seam between them (E4, Z16)."""
    sandbox.up()
    flood = sandbox.new("bash", "--norc", "-c", COUNT, name="flood")
    wait_for(lambda: sandbox.info("flood")["seq"] > 200_000)
    for _ in range(3):
        terminal = sandbox.attach_pty("flood", cols=200)
        wait_for(lambda t=terminal: len(numbers(t.output)) > 30_000)  # type: ignore[misc]
        terminal.send(b"\x1cd")
        assert terminal.wait() == 0
        picture, _, shown = terminal.output.partition(PAINTED)
        shown = shown[: shown.rindex(b"[detached from flood]")].rpartition(b"\r\n")[0]
        before, found, behind = sandbox.output(flood["id"]).partition(shown[:1000])
        assert found and (found + behind).startswith(shown)
        # The picture ends in the middle of a line wherever a read of the PTY did.
        rows = re.sub(rb"\x1b\[[\d;?]*[A-Za-z]|^\r", b"", picture).split(b"\r\n")
        assert rows == before.removesuffix(b"\r").split(b"\r\n")[-len(rows) :]


def test_a_daemon_that_was_stopped_comes_back_to_the_same_links(sandbox: Sandbox) -> None:
    """SIGSTOP is not death: custodians wait, nothing is adopted twice."""
    sandbox.up()
    info = shell(sandbox, "work")
    os.kill(sandbox.daemon_pid, signal.SIGSTOP)
    terminal_answer = re.compile(rb"on-my-own")
    from toowld.client import Client

    with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as client:
        client.request("send", data=b"printf 'on-my%s\\n' -own\r")
    wait_for(lambda: terminal_answer.search(sandbox.output(info["id"])))
    os.kill(sandbox.daemon_pid, signal.SIGCONT)
    assert displayed(sandbox, "work") == "detached"
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


def test_many_ended_sessions_are_there_at_once(sandbox: Sandbox) -> None:
    sandbox.up()
    for n in range(30):
        sandbox.new("true", name=f"e{n}")
    wait_for(lambda: all(item["state"] == "ended" for item in listed(sandbox).values()))
    sandbox.stop()
    sandbox.up()
    assert len(ls(sandbox)) == 30
