"""G7: what is in memory and what is on disk, while somebody changes the disk by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.daemon.steps import ask, listed, ls, settings, shell, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.daemon.consistency import compare
from toowld.daemon.events import Bus
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.session import Record, State
from toowld.session.record import decode


def test_what_was_removed_or_put_back_by_hand(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.05, ended_retention="'1h'")
    sandbox.up()
    ended = sandbox.new("true", name="ended")
    info = shell(sandbox, "work")
    wait_displayed(sandbox, "ended", "ended (exited 0)")
    folder, aside = sandbox.paths.session(ended["id"]), sandbox.root / "aside"
    wait_for(
        lambda: decode((folder / "record").read_bytes()).version == listed(sandbox)["ended"]["version"],
        what="the disk to have all that is known",
    )
    folder.rename(aside)
    wait_for(lambda: set(listed(sandbox)) == {"work"}, what="the session to be forgotten")
    aside.rename(folder)
    wait_for(lambda: "ended" in listed(sandbox), what="the session to be found again")
    assert ls(sandbox)["ended"]["display"] == "ended (exited 0)"
    # What runs is true, whatever the disk says.
    record = sandbox.paths.session(info["id"]) / "record"
    record.unlink()
    wait_for(record.exists, what="the record to be written again")
    assert ask(sandbox, info["id"], "$((6*7))") == "42"
    sandbox.restart()
    assert sandbox.info("work")["pid"] == info["pid"]


def test_a_record_that_says_running_and_has_no_custodian(sandbox: Sandbox) -> None:
    """From a backup, say: it is shown as lost, with its name made unique."""
    settings(sandbox, tick=0.05)
    sandbox.up()
    info = shell(sandbox, "work")
    folder = sandbox.paths.session(info["id"])
    record = (folder / "record").read_bytes()
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "work", "ended (lost)")
    sandbox.toowl("rm", "work")
    again = shell(sandbox, "work")
    folder.mkdir(mode=0o700)
    (folder / "record").write_bytes(record)
    wait_for(lambda: len(listed(sandbox)) == 2)
    [name] = set(ls(sandbox)) - {"work"}
    wait_for(lambda: listed(sandbox)[name]["display"] == "ended (lost)")
    assert name.startswith("work-") and ls(sandbox)[name]["id"] == info["id"]
    assert sandbox.info("work")["pid"] == again["pid"]


def test_a_custodian_without_a_record_is_taken_in_and_one_that_dies_is_noticed(sandbox: Sandbox) -> None:
    """G7, G12: at the next tick, without anybody asking."""
    settings(sandbox, tick=0.05)
    sandbox.up()
    info, victim = shell(sandbox, "work"), shell(sandbox, "victim")
    sandbox.kill9()
    shutil.rmtree(sandbox.paths.session(info["id"]))
    sandbox.up()
    assert sandbox.info("work")["pid"] == info["pid"]
    os.kill(victim["custodian_pid"], signal.SIGKILL)
    wait_for(lambda: f"session {victim['id']} ended: lost" in sandbox.daemon_text())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_one_that_is_just_being_made_or_removed_is_left_alone(store: Store) -> None:
    """Hundreds of turns of the race: what is listed may be old by the time that it is looked at."""

    async def main() -> None:
        registry = Registry(store, Bus())
        done = asyncio.Event()

        async def come_and_go() -> None:
            for number in range(60):
                entry = await registry.create(Record(id=f"{number:08x}", state=State.ENDED))
                assert registry.get(entry.record.id) is entry
                await asyncio.sleep(0)
                assert registry.get(entry.record.id) is entry, "dropped while it was made"
                if number % 2:
                    await registry.forget(entry)
            done.set()

        task = asyncio.create_task(come_and_go())
        turns = 0
        while not done.is_set():
            await compare(registry, store)
            turns += 1
        await task
        await registry.settle()
        assert turns > 3
        assert {entry.record.id for entry in registry} == {f"{number:08x}" for number in range(0, 60, 2)}
        assert store.stored() == {entry.record.id for entry in registry}

    asyncio.run(main())


def test_a_folder_that_can_not_be_read_says_nothing(store: Store, tmp_path: Path) -> None:
    """Z21: of a disk that is gone, nothing follows."""

    async def main() -> None:
        registry = Registry(store, Bus())
        await registry.create(Record(id="00000001", state=State.ENDED))
        tmp_path.rename(tmp_path.with_name("away"))
        await compare(registry, store)
        assert [entry.record.id for entry in registry] == ["00000001"]

    asyncio.run(main())
