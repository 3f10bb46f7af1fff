"""What is heard of sessions: that a keeper's link broke, and only then that its process is gone."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from toowld.daemon import process
from toowld.daemon.answering import Answering
from toowld.daemon.entry import Entry, Keeper
from toowld.daemon.events import Bus
from toowld.daemon.news import News
from toowld.daemon.registry import Registry
from toowld.daemon.screens import Screens
from toowld.daemon.store import Store
from toowld.log import LogEnding, LogReader
from toowld.session import Record, State


@pytest.fixture
def custodian() -> Iterator[subprocess.Popen[bytes]]:
    """A process of which only the pid matters here."""
    with subprocess.Popen(["sleep", "999"]) as started:
        yield started
        started.kill()


class Office:
    """The news about one session whose custodian is that process."""

    def __init__(self, folder: Path, custodian: subprocess.Popen[bytes]) -> None:
        store = Store(folder)
        self.registry = Registry(store, Bus())
        self.news = News(self.registry, store, Answering(Screens(), store), Bus())
        self.keeper = cast(Keeper, object())
        record = Record(
            "0badcafe",
            persistent=True,
            state=State.RUNNING,
            custodian_pid=custodian.pid,
            custodian_started=process.started_at(custodian.pid),
            boot=process.boot_id(),
        )
        Store(folder).save(record)
        self.entry = self.registry.add(record)
        self.entry.keeper = self.keeper

    async def ended(self) -> str:
        """How the session is once nothing of it runs."""
        async with asyncio.timeout(20):
            await self.entry.gone.wait()
        await self.registry.settle()
        return self.entry.display()


@pytest.mark.parametrize("locked", [False, True], ids=["nobody waits", "somebody waits with the lock"])
def test_a_custodian_that_closes_its_link_before_it_is_gone(
    tmp_path: Path, custodian: subprocess.Popen[bytes], locked: bool
) -> None:
    """As every process does that dies. Whoever holds the lock waits for this very news: an attach, a kill."""

    async def scenario() -> str:
        office = Office(tmp_path, custodian)
        if locked:
            await office.entry.lock.acquire()
        office.news.on_lost(office.entry, office.keeper)
        assert office.entry.display() == "unreachable"
        custodian.kill()
        return await office.ended()

    assert asyncio.run(scenario()) == "ended (lost)"


def test_a_long_log_holds_nobody_up(
    tmp_path: Path, custodian: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it ends may take half a second to find out; others are served meanwhile."""
    served = threading.Event()

    def slow(reader: LogReader) -> LogEnding:
        assert served.wait(20), "the loop waited for the log"
        return LogEnding()

    monkeypatch.setattr(LogReader, "ending", slow)

    async def scenario() -> str:
        office = Office(tmp_path, custodian)
        custodian.kill()
        await asyncio.to_thread(custodian.wait)
        asyncio.get_running_loop().call_soon(served.set)
        office.news.on_lost(office.entry, office.keeper)
        return await office.ended()

    assert asyncio.run(scenario()) == "ended (lost)"


def test_one_that_has_a_successor_by_then(tmp_path: Path, custodian: subprocess.Popen[bytes]) -> None:
    """The session was ended and began again meanwhile: the old one's end says nothing about the new one."""

    async def scenario() -> Entry:
        office = Office(tmp_path, custodian)
        office.news.on_lost(office.entry, office.keeper)
        office.registry.observe(office.entry, state=State.STARTING, custodian_pid=1, custodian_started=0.0)
        custodian.kill()
        await asyncio.to_thread(custodian.wait)
        tasks: set[asyncio.Task[Any]] = asyncio.all_tasks() - {
            cast("asyncio.Task[Any]", asyncio.current_task())
        }
        await asyncio.wait(tasks, timeout=20)
        await office.registry.settle()
        return office.entry

    entry = asyncio.run(scenario())
    assert (entry.record.state, entry.record.end_reason) == (State.STARTING, None)
    assert not entry.gone.is_set()


def test_an_answer_that_was_overtaken_by_news_changes_nothing(
    tmp_path: Path, custodian: subprocess.Popen[bytes]
) -> None:
    """A11: what is told of a session carries when that was; older news is dropped, and told to nobody as a change."""

    def info(at: float | None, title: str, pid: int = 7) -> dict[str, Any]:
        told = {"state": "running", "pid": pid, "title": title, "last_active_at": 0.0}
        return told if at is None else {**told, "told_at": at}

    async def scenario() -> list[str]:
        office = Office(tmp_path, custodian)
        for news in (
            info(1.0, "one"),
            info(3.0, "three"),
            info(2.0, "two"),
            info(3.0, "three, too"),
            info(2.0, "of another child", pid=8),
            info(None, "of an older custodian"),
        ):
            office.news.on_news(office.entry, office.keeper, news)
            told.append(office.entry.live["title"])
        await office.registry.settle()
        return told

    told: list[str] = []
    assert asyncio.run(scenario()) == [
        "one", "three", "three", "three, too", "of another child", "of an older custodian",
    ]  # fmt: skip
