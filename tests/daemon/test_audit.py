"""Q4: who did what to which session; one line each, and never what was typed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import Disk
from tests.daemon.steps import settings, shell, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.daemon.audit import _tty
from toowld.daemon.auditfile import MAX_WAITING, AuditFile


def lines(box: Sandbox) -> list[dict[str, Any]]:
    try:
        text = box.paths.audit.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def having(box: Sandbox, **wanted: Any) -> list[dict[str, Any]]:
    return [line for line in lines(box) if wanted.items() <= line.items()]


def waited(box: Sandbox, **wanted: Any) -> dict[str, Any]:
    found = wait_for(lambda: having(box, **wanted), what=f"a line with {wanted}")
    assert found is not None and len(found) == 1, found
    return found[0]


def much(box: Sandbox, session: str, times: int) -> None:
    with box.client() as client:
        for _ in range(times):
            client.request("send", session=session, data=b"")


def test_who_did_what_from_where(sandbox: Sandbox) -> None:
    sandbox.up()
    made = sandbox.toowl(
        "new", "-d", "-n", "work", "--env", "KEY=secret-1", "--", "sh", "-c", "read x; echo secret-2",
        SSH_CONNECTION="192.0.2.7 50000 192.0.2.1 22",
    ).stdout.strip()  # fmt: skip
    line = waited(sandbox, request="new")
    assert (line["session"], line["name"]) == (made, "work")
    assert line["by"]["uid"] == os.getuid() and line["by"]["ssh_from"] == "192.0.2.7"
    assert "tty" not in line["by"], "a test has none"
    assert line["at"].endswith("Z") and "T" in line["at"]
    terminal = sandbox.terminal("toowl", "attach", "work")
    attached = waited(sandbox, event="attached", session=made)
    asked = waited(sandbox, request="attach")
    assert asked["by"]["pid"] == attached["pid"] and asked["by"]["tty"] == attached["tty"]
    assert asked["by"]["tty"].startswith("/dev/pts/")
    terminal.wait_raw()
    terminal.send("\x1cd")
    terminal.wait()
    assert waited(sandbox, event="detached")["reason"] == "it detached"
    sandbox.toowl("set", "work", "size=latest")
    assert waited(sandbox, request="set")["settings"] == ["size"]
    sandbox.toowl("tag", "work", "note=secret-3")
    sandbox.toowl("send", "work", "--no-enter", "secret-4")
    assert waited(sandbox, request="send")["bytes"] == 8
    refused = sandbox.toowl("rm", "work", check=False)
    assert refused.returncode == 4 and "end it first" in waited(sandbox, request="remove")["refused"]
    sandbox.toowl("kill", "--force", "work")
    assert waited(sandbox, request="kill")["force"] is True
    ended = waited(sandbox, event="ended")
    assert (ended["signal"], ended["requested"]) == (9, True)
    sandbox.toowl("rm", "work")
    waited(sandbox, event="removed", session=made)
    sandbox.toowl("kill", "nobody", check=False)
    assert waited(sandbox, request="kill", session=None)["name"] == "nobody"
    before = len(lines(sandbox))
    sandbox.toowl("ls")
    sandbox.stop()
    assert [line.get("event") or line["request"] for line in lines(sandbox)[before:]] == ["daemon-stopped"]
    text = sandbox.paths.audit.read_text()
    assert "secret" not in text and "read x" not in text
    assert stat.S_IMODE(sandbox.paths.audit.stat().st_mode) == 0o600


def test_a_session_that_ended_by_itself_says_why(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.05)
    sandbox.up()
    shell(sandbox, "work", settings={"ttl": 1})
    assert waited(sandbox, event="ended")["cause"] == "it was to last 1 s (ttl)"


def test_it_is_turned_off_and_on_while_the_daemon_runs(sandbox: Sandbox) -> None:
    sandbox.configure("[audit]\nenabled = false\n")
    sandbox.up()
    shell(sandbox, "quiet")
    sandbox.configure("[audit]\nmax_bytes = 4096\nkeep = 2\n")
    sandbox.toowld("reload")
    much(sandbox, "quiet", 150)
    wait_for(lambda: sandbox.paths.audit.with_name("audit.jsonl.2").exists(), what="the second older file")
    for path in sandbox.paths.state.glob("audit.jsonl*"):
        assert path.stat().st_size <= 4096 and stat.S_IMODE(path.stat().st_mode) == 0o600
        for line in path.read_text().splitlines():
            assert json.loads(line)["request"] in ("send", "reload")


def test_a_full_disk_keeps_nobody_from_attaching(sandbox: Sandbox, disk: Disk) -> None:
    sandbox.up()
    shell(sandbox, "work")
    waited(sandbox, event="started")
    with disk.full():
        much(sandbox, "work", 60)  # there is room up to the end of a page
        for _ in range(3):
            terminal = sandbox.attach_pty("work")
            terminal.send("echo he''re\r")
            terminal.expect("here")
            terminal.send("\x1cd")
            terminal.wait()
        wait_for(lambda: "the audit log can't be written" in sandbox.daemon_text())
    assert sandbox.daemon_text().count("the audit log can't be written") == 1
    sandbox.toowl("kill", "work")
    wait_displayed(sandbox, "work", "ended (killed)")
    waited(sandbox, request="kill")
    assert waited(sandbox, event="lost")["count"] >= 6, "three came, and left"


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_what_is_no_file_of_ours_is_left_alone(sandbox: Sandbox, what: str) -> None:
    sandbox.paths.prepare()
    target = sandbox.root / "target"
    target.write_text("precious\n")
    if what == "folder":
        sandbox.paths.audit.mkdir()
    elif what == "link":
        sandbox.paths.audit.symlink_to(target)
    else:
        os.mkfifo(sandbox.paths.audit)
    sandbox.up()
    assert shell(sandbox, "work")["state"] == "running"
    wait_for(lambda: "the audit log can't be written" in sandbox.daemon_text())
    assert target.read_text() == "precious\n"


def test_no_more_waits_than_there_is_room_for(tmp_path: Path) -> None:
    """And what was left out is counted."""

    async def main() -> None:
        file = AuditFile(tmp_path / "audit.jsonl")
        for number in range(MAX_WAITING + 7):
            file.add({"at": "now", "number": number}, max_bytes=1 << 20, keep=1)
        await file.settle(10)

    asyncio.run(main())
    found = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["number"] for line in found[:-1]] == list(range(MAX_WAITING))
    assert found[-1] == {"at": "now", "event": "lost", "count": 7}


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_as_many_older_files_are_kept_as_are_wanted(tmp_path: Path, keep: int) -> None:
    async def main() -> None:
        file = AuditFile(tmp_path / "audit.jsonl")
        for number in range(6):
            file.add({"at": "now", "number": number, "room": "x" * 3000}, max_bytes=4096, keep=keep)
            await file.settle(10)

    asyncio.run(main())
    names = ["audit.jsonl", *(f"audit.jsonl.{number}" for number in range(1, keep + 1))]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [json.loads((tmp_path / name).read_text())["number"] for name in names] == list(
        range(5, 4 - keep, -1)
    )


def test_the_terminal_of_a_process_is_found_by_its_number() -> None:
    master, slave = pty.openpty()
    try:
        name, number = os.ttyname(slave), os.fstat(slave).st_rdev
        assert _tty(f"7 (a b) c) S 1 7 7 {number} 7 0") == name
    finally:
        os.close(master)
        os.close(slave)
    assert _tty("7 (sh) S 1 7 7 0 -1 0") is None
    assert _tty(f"7 (sh) S 1 7 7 {os.makedev(4, 2)} 7 0") == "/dev/tty2"
    assert _tty(f"7 (sh) S 1 7 7 {os.makedev(4, 65)} 7 0") == "/dev/ttyS1"
    assert _tty("") is None
