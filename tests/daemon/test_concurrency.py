"""Many at once, and a disk that is full or slow: what the daemon says stays equal to the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.daemon.conftest import Disk
from tests.daemon.crowd import Crowd, differences, settle
from tests.daemon.steps import displayed, listed, ls, settings, shell, stopped, wait_displayed
from tests.harness import Sandbox, alive, wait_for
from toowld import wire
from toowld.daemon.adopt import Adoption
from toowld.daemon.events import Bus
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.errors import ToowlError
from toowld.session import Record, State

USERS = 8

#: Of each user. About 300 operations a second are made on two cores, so this is 3 s; `make soak` has 1000 of each.
OPERATIONS = 120


def test_a_crowd_leaves_the_truth(sandbox: Sandbox) -> None:
    """G7, Z1, Z2: attach, detach, rename, kill, new, remove, restart and list from 8 processes."""
    sandbox.up()
    with Crowd(sandbox, USERS, OPERATIONS, seed=1) as crowd:
        report = crowd.reports()
        assert report["unexpected"] == []
        assert min(report["done"][name] for name in ("attach", "detach", "rename", "kill", "restart")) > 10
        assert settle(sandbox, crowd) == []
    assert settle(sandbox) == [], "they hung up, and nobody is attached"
    wait_for(lambda: sum(info["clients"] for info in listed(sandbox).values()) == 0)
    sandbox.restart()
    assert settle(sandbox) == [], "another daemon finds the same"


def test_only_one_reads_what_a_client_types(sandbox: Sandbox) -> None:
    """A custodian that hangs may take a client long after the daemon gave up, and told it so."""
    sandbox.up()
    info = shell(sandbox, "work")
    with sandbox.client() as client:
        with stopped(info["custodian_pid"]):
            client.post("attach", {"session": "work", "client_id": "one", "rows": 24, "cols": 80})
            answer = client.receive(timeout=20)
            assert isinstance(answer, wire.Failure)
            assert answer.code == "unreachable"
        client.socket.settimeout(20)
        assert client.socket.recv(1) == b"", "hung up on by both, not only by the daemon"
    assert settle(sandbox) == []
    assert sandbox.info("work")["clients"] == 0


def test_who_was_asked_too_late_says_nothing_of_who_runs_now(tmp_path: Path) -> None:
    """The custodian before was asked while it ended; by the time it failed to answer the session ran anew."""
    store = Store(tmp_path)
    registry = Registry(store, Bus())
    entry = registry.add(Record(id="aa11aa11", persistent=False, state=State.RUNNING))
    adoption = Adoption(tmp_path, registry, store, lifecycle=cast(Any, None))
    entry.keeper = cast(Any, object())
    adoption._mark_unreachable("aa11aa11")
    assert entry.record.state is State.RUNNING


# --- a full disk ----------------------------------------------------------------------------------------


def test_a_refused_change_changes_nothing(sandbox: Sandbox, disk: Disk) -> None:
    """Z2, Z26: rename, restart and respawn need the disk; without it all is as it was."""
    sandbox.up()
    sandbox.new("sleep", "1000", name="work")  # says nothing, so there is nothing to note about it
    ended = sandbox.new("sh", "-c", "exit 7", name="over")
    wait_displayed(sandbox, "over", "ended (exited 7)")
    assert settle(sandbox) == []
    before = {name: _steady(info) for name, info in ls(sandbox).items()}
    with disk.full(), sandbox.client() as client:
        for method, params in (
            ("rename", {"session": "work", "name": "other"}),
            ("rename", {"session": "over", "name": "other"}),
            ("restart", {"session": "over"}),
        ):
            with pytest.raises(ToowlError, match="make room"):
                client.request(method, **params)
            assert {name: _steady(info) for name, info in ls(sandbox).items()} == before
            assert differences(sandbox) == []
    sandbox.restart()
    assert {name: _steady(info) for name, info in ls(sandbox).items()} == before
    with sandbox.client() as client:
        client.request("rename", session="work", name="other")
        client.request("restart", session=ended["id"])
    assert settle(sandbox) == []


def test_a_full_disk_does_not_undo_a_reconnection(sandbox: Sandbox, disk: Disk) -> None:
    """Z3: what the new daemon finds out is true, though it can't be stored; and is stored later."""
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = shell(sandbox, "work")
    with disk.full():
        sandbox.restart()
        found = sandbox.info("work")
        assert (found["pid"], found["custodian_pid"]) == (info["pid"], info["custodian_pid"])
        assert found["display"] == "detached"
    assert settle(sandbox) == []


def test_what_happened_on_a_full_disk_is_stored_later(sandbox: Sandbox, disk: Disk) -> None:
    """Z2: an end can't be refused. It is shown at once, and on the disk as soon as there is room."""
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = sandbox.new("sh", "-c", "read line; exit 7", name="work")
    with disk.full():
        sandbox.send("work", b"\n")
        wait_displayed(sandbox, "work", "ended (exited 7)")
        assert differences(sandbox) != [], "the disk does not know yet"
    assert settle(sandbox) == []
    sandbox.restart()
    assert displayed(sandbox, "work") == "ended (exited 7)"
    assert not alive(info["custodian_pid"])


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_what_is_removed_does_not_come_back(sandbox: Sandbox, disk: Disk, persistent: bool) -> None:
    """Who still holds output that the full disk did not take must not bring it there after the removal."""
    sandbox.up()
    script = "read line; head -c 3000000 /dev/zero | tr '\\0' x; exit 7"
    info = sandbox.new("sh", "-c", script, name="work", persistent=persistent)
    with sandbox.client() as client:
        client.post("attach", {"session": "work", "client_id": "slow", "rows": 24, "cols": 80})
        assert isinstance(client.receive(timeout=20), wire.Attached)
        with disk.full():
            sandbox.send("work", b"\n")
            # It has not read a byte by then, so its session's keeper is still there for it.
            wait_displayed(sandbox, "work", "ended (exited 7)")
            sandbox.toowl("rm", "work")
        client.socket.settimeout(20)
        while client.socket.recv(1 << 20):
            pass
    wait_for(lambda: not (persistent and alive(info["custodian_pid"])))
    assert list(sandbox.paths.sessions.iterdir()) == []
    assert settle(sandbox) == []


def test_a_removal_that_fails_keeps_the_record(sandbox: Sandbox, disk: Disk) -> None:
    """Z5: neither who runs nor whose files can't be removed is forgotten."""
    sandbox.up()
    shell(sandbox, "work")
    sandbox.new("true", name="over")
    wait_displayed(sandbox, "over", "ended (exited 0)")
    with sandbox.client() as client, pytest.raises(ToowlError, match="is running"):
        client.request("remove", session="work")
    sandbox.toowl("kill", "work")
    wait_for(lambda: not sandbox.custodians())
    with disk.read_only(), sandbox.client() as client:
        for name in ("work", "over"):
            with pytest.raises(ToowlError, match="can't remove"):
                client.request("remove", session=name)
        assert set(ls(sandbox)) == {"work", "over"}
        assert differences(sandbox) == []
    sandbox.restart()
    assert set(ls(sandbox)) == {"work", "over"}
    sandbox.toowl("rm", "work", "over")
    assert settle(sandbox) == []


def _steady(info: dict[str, object]) -> dict[str, object]:
    names = ("id", "name", "display", "pid", "custodian_pid", "exit_code", "end_reason", "persistent")
    return {name: info[name] for name in names}
