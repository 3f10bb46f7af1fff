"""What sessions are called, in which order they are listed, and several of them at once."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import cbor2

from tests.daemon.steps import listed, ls, shell
from tests.harness import Sandbox, wait_for


def test_one_name_for_many(sandbox: Sandbox) -> None:
    """H4, Z26: made and renamed at the same moment, and found on the disk: each gets its own, and is told."""
    sandbox.up()
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: sandbox.new("/bin/cat", name="dev"), range(8)))
    assert len({info["name"] for info in made}) == 8
    assert sum(info["name"] == "dev" and not info["notices"] for info in made) == 1
    assert all(info["name"] == "dev" or "is taken" in info["notices"][0] for info in made)

    def rename(session: str) -> str:
        done = sandbox.toowl("rename", session, "ops")
        assert ("is taken" in done.stderr) == (listed_names()[session] != "ops")
        return listed_names()[session]

    def listed_names() -> dict[str, str]:
        return {item["id"]: item["name"] for item in listed(sandbox).values()}

    with ThreadPoolExecutor(4) as threads:
        renamed = list(threads.map(rename, [info["id"] for info in made[:4]]))
    assert len(set(renamed)) == 4 and renamed.count("ops") == 1
    names = listed_names()
    sandbox.restart()
    assert listed_names() == names


def test_a_name_that_two_records_have(sandbox: Sandbox) -> None:
    """A folder that somebody copied, or brought back from a backup."""
    sandbox.up()
    first = sandbox.new("/bin/cat", name="dev")
    sandbox.stop()
    twin = sandbox.paths.session("ffffffff")
    shutil.copytree(sandbox.paths.session(first["id"]), twin)
    record = cbor2.loads((twin / "record").read_bytes())
    (twin / "record").write_bytes(
        cbor2.dumps(record | {"id": twin.name, "state": "ended", "end_reason": "lost"})
    )
    sandbox.up()
    found = {item["id"]: item["name"] for item in listed(sandbox).values()}
    assert found[first["id"]] == "dev" and re.fullmatch(r"dev-\d{6}", found[twin.name])
    sandbox.restart()
    assert {item["id"]: item["name"] for item in listed(sandbox).values()} == found


def test_who_was_used_last_comes_first(sandbox: Sandbox) -> None:
    """H5, Z29: by attaching, typing and leaving; to look at a list, or at a session, is not to use it."""
    sandbox.up()
    for name in ("one", "two", "three"):
        shell(sandbox, name)
    assert list(ls(sandbox)) == ["three", "two", "one"]
    sandbox.send("one", b"true\r")
    wait_for(lambda: next(iter(listed(sandbox))) == "one", what="the one that was typed into")
    terminal = sandbox.attach_pty("two")
    wait_for(lambda: next(iter(listed(sandbox))) == "two", what="the one that was attached")
    terminal.wait_raw()
    terminal.send(b"\x1cd")
    assert terminal.wait() == 0
    before = ls(sandbox)
    assert list(before) == ["two", "one", "three"]
    for argv in (("ls",), ("info", "three"), ("capture", "three"), ("logs", "three"), ("ls", "--names")):
        sandbox.toowl(*argv)
    sandbox.restart()
    assert {name: item["last_active_at"] for name, item in ls(sandbox).items()} == {
        name: item["last_active_at"] for name, item in before.items()
    }
    assert next(iter(json.loads(sandbox.toowl("ls", "--json", "--sort", "name").stdout)))["name"] == "one"


def test_a_group_of_real_ones(sandbox: Sandbox) -> None:
    sandbox.up()
    for name in ("web-1", "web-2", "db"):
        sandbox.new("/bin/cat", name=name)
    sandbox.toowl("tag", "-f", "name=web-*", "--yes", "tier=front")
    assert {name: item["tags"] for name, item in ls(sandbox).items()} == {
        "web-1": {"tier": "front"}, "web-2": {"tier": "front"}, "db": {}
    }  # fmt: skip
    terminal = sandbox.attach_pty("web-1")
    wait_for(lambda: listed(sandbox)["web-1"]["clients"] == 1, what="it to be attached")
    sandbox.toowl("detach", "-f", "tier=front", "-y")
    assert terminal.wait() == 0 and "[detached from web-1]" in terminal.text
    sandbox.toowl("kill", "-f", "tier=front", "-y")
    assert {name: item["display"] for name, item in ls(sandbox).items()} == {
        "web-1": "ended (killed)", "web-2": "ended (killed)", "db": "detached"
    }  # fmt: skip
    again = sandbox.toowl("kill", "-f", "tier=front", "-y", check=False)
    assert again.returncode == 3 and "2 fit, and nothing is to be done" in again.stderr
    sandbox.toowl("rm", "-f", "tier=front", "-f", "state=killed", "-y")
    assert list(ls(sandbox)) == ["db"]
