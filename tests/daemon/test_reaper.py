"""Countdowns: when a session ends by itself, and all that must not end it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from tests.daemon.steps import displayed, listed, settings, shell, stopped, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.reaper import STORE_EVERY, Reaper
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.errors import CustodianUnreachable, ToowlError
from toowld.session import Record, State
from toowld.settings.file import File
from toowld.settings.resolve import Settings

HOUR, DAY = 3600.0, 86400.0
ENABLED = "[reaper]\nenabled = true\n"


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keeper:
    """Answers as it is told; ``error``: it does not."""

    hangs = False
    ages = False
    rest = None

    def __init__(self, clients: int = 0) -> None:
        self.clients = clients
        self.error: ToowlError | None = None

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float = 5
    ) -> Mapping[str, Any]:
        assert method == "info"
        if self.error is not None:
            raise self.error
        return {"clients": self.clients}

    async def hand_over(self, client: Any, unread: bytes, request_id: int, params: Mapping[str, Any]) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class World:
    """A registry, a reaper and a clock, without any process."""

    def __init__(self, folder: Path, text: str = ENABLED) -> None:
        self.folder = folder
        self.clock = Clock()
        self.settings = Settings(File("f", text))
        self.ended: list[str] = []
        self.refuses = False
        self.start()

    def start(self) -> None:
        """A daemon: all that is known is on disk."""
        self.registry = Registry(Store(self.folder), Bus())
        self.reaper = Reaper(self.registry, lambda: self.settings, self.kill, self.on_news, self.clock)
        for record in Store(self.folder).load_all()[0]:
            self._live(self.registry.add(record))

    def _live(self, entry: Entry, clients: int = 0) -> Entry:
        entry.keeper, entry.live = Keeper(clients), {"clients": clients}
        return entry

    async def session(self, name: str | None = None, clients: int = 0, **facts: Any) -> Entry:
        session_id = self.registry.fresh_id()
        record = Record(id=session_id, name=name, state=State.RUNNING, **facts)
        return self._live(await self.registry.create(record), clients)

    def attach(self, entry: Entry, clients: int) -> None:
        """What `News` does."""
        keeper = entry.keeper
        assert isinstance(keeper, Keeper)
        keeper.clients = clients
        entry.live = {"clients": clients}
        if entry.record.idle_left is not None:
            self.registry.observe(entry, idle_left=None)

    async def kill(self, entry: Entry, *, force: bool) -> None:
        assert not force and entry.lock.locked()
        if self.refuses:
            raise CustodianUnreachable("it can't be ended")
        self.ended.append(entry.record.label)
        self.registry.observe(
            entry, state=State.ENDED, end_reason="exited", end_requested=True, end_cause=entry.ending
        )

    def on_news(self, entry: Entry, keeper: Any, info: Any) -> None:
        if info["clients"]:
            self.attach(entry, info["clients"])

    async def after(self, seconds: float) -> list[str]:
        """Let time pass; returns who was ended at the tick then."""
        self.clock.now += seconds
        before = len(self.ended)
        await self.reaper.cycle()
        return self.ended[before:]


def run(steps: Callable[[World], Awaitable[None]], folder: Path, text: str = ENABLED) -> None:
    async def main() -> None:
        world = World(folder, text)
        await steps(world)
        await world.registry.settle()

    asyncio.run(main())


def test_with_and_without_a_name(tmp_path: Path) -> None:
    """G2, X4: an hour, or a day."""

    async def steps(world: World) -> None:
        await world.session()
        await world.session("named")
        assert await world.after(0) == []
        assert await world.after(HOUR - 1) == []
        assert len(await world.after(1)) == 1
        assert await world.after(DAY - HOUR - 1) == []
        assert await world.after(1) == ["named"]

    run(steps, tmp_path)


def test_off_unless_it_is_turned_on_or_said_for_the_session(tmp_path: Path) -> None:
    """X4, G1."""

    async def steps(world: World) -> None:
        await world.session()
        await world.session("own", settings={"idle_timeout": 60.0})
        await world.session("never", settings={"idle_timeout": 0.0})
        await world.after(0)
        assert await world.after(60) == ["own"]
        assert await world.after(1000 * DAY) == []
        world.settings = Settings(File("f", ENABLED))
        await world.after(0)
        assert await world.after(HOUR - 1) == [], "all of the time, from when it was turned on"
        assert len(await world.after(1)) == 1
        assert await world.after(1000 * DAY) == [], "0 is never"

    run(steps, tmp_path, "")


@pytest.mark.parametrize("text", ["", ENABLED], ids=["off", "on"])
def test_what_was_made_over_a_connection_has_two_days(tmp_path: Path, text: str) -> None:
    """X5: unless something narrower is said, for the connection too; and reading the settings anew counts at once."""

    async def steps(world: World) -> None:
        world.settings = Settings(File("f", f"{text}[connections.'me@host']\nidle_timeout = '1h'\n"))
        await world.session("remote", connection="me@other")
        await world.session("said", connection="me@host")
        await world.session("own", connection="me@host", settings={"idle_timeout": 60.0})
        await world.session("kept", connection="me@other", settings={"idle_timeout": 0.0})
        await world.session("visited", connection="me@other", clients=1)
        assert [one["key"] for one in world.reaper.remote()] == [
            "idle_timeout_remote", "idle_timeout", "idle_timeout", "idle_timeout", "idle_timeout_remote"
        ]  # fmt: skip
        await world.after(0)
        assert await world.after(60) == ["own"]
        assert await world.after(HOUR) == ["said"]
        assert await world.after(2 * DAY - HOUR - 61) == []
        assert await world.after(1) == ["remote"]
        end = "nobody was attached for 172800 s (idle_timeout_remote)"
        assert world.registry.find("remote").record.end_cause == end
        await world.session("later", connection="me@other")
        await world.after(0)
        world.settings = Settings(File("f", "[reaper]\nidle_timeout_remote = 0\n"))
        assert await world.after(1000 * DAY) == []
        assert [one["idle_timeout"] for one in world.reaper.remote()] == [0, 0, 0]

    run(steps, tmp_path, text)


def test_counts_only_while_nobody_is_attached(tmp_path: Path) -> None:
    """G2, G3: a visit cancels it; Z20: who is attached is never ended."""

    async def steps(world: World) -> None:
        entry = await world.session("work", clients=1)
        for _ in range(3):
            assert await world.after(10 * DAY) == []
        world.attach(entry, 0)
        await world.after(0)
        assert await world.after(DAY - 1) == []
        world.attach(entry, 1)
        world.attach(entry, 0)  # in between two ticks
        assert await world.after(30) == []
        assert await world.after(DAY - 1) == []
        assert await world.after(1) == ["work"]

    run(steps, tmp_path)


def test_what_remains_outlives_the_daemon(tmp_path: Path) -> None:
    """G3: the time in which no daemon runs does not count, and one that was killed loses a little of what did."""

    async def steps(world: World) -> None:
        await world.session("work")
        await world.after(0)
        await world.after(DAY / 2)
        world.reaper.save()
        await world.registry.settle()
        world.start()
        assert await world.after(30 * DAY) == []
        assert await world.after(DAY / 2 - 1) == []
        await world.registry.settle()
        world.start()  # killed: what it stored a while ago holds
        assert await world.after(0) == []
        assert await world.after(max(STORE_EVERY, DAY / 20)) == ["work"]

    run(steps, tmp_path)


def test_a_daemon_that_starts_gives_all_of_the_time_where_none_was_counted(tmp_path: Path) -> None:
    """Z20: nobody is attached yet, and the record says of no countdown."""

    async def steps(world: World) -> None:
        entry = await world.session("work", clients=1)
        await world.after(3 * DAY)
        assert entry.record.idle_left is None
        await world.registry.settle()
        world.start()
        assert await world.after(30) == []
        assert await world.after(30) == []
        assert await world.after(DAY - 31) == []
        assert await world.after(1) == ["work"]

    run(steps, tmp_path)


@pytest.mark.parametrize("stored", [-5.0, float("nan"), float("inf"), DAY + 1], ids=str)
def test_a_record_that_says_nonsense_means_all_of_the_time(tmp_path: Path, stored: float) -> None:
    """Z21."""

    async def steps(world: World) -> None:
        await world.session("work", idle_left=stored)
        assert await world.after(0) == []
        assert await world.after(DAY - 1) == []
        assert await world.after(1) == ["work"]

    run(steps, tmp_path)


def test_never_on_anything_unknown(tmp_path: Path) -> None:
    """Z21: a session of which nobody can tell who is attached waits, and goes on counting when that is known."""

    async def steps(world: World) -> None:
        entry = await world.session("work")
        await world.after(0)
        await world.after(DAY - 10)
        keeper = entry.keeper
        assert isinstance(keeper, Keeper)
        entry.keeper = None
        assert await world.after(DAY) == []
        entry.keeper = keeper
        entry.live = {}
        assert await world.after(DAY) == []
        entry.live = {"clients": 0}
        assert await world.after(0) == []
        assert await world.after(9) == []
        keeper.error = CustodianUnreachable("it does not answer")
        assert await world.after(100) == [], "it is asked before the end"
        keeper.error = None
        keeper.clients = 1
        assert await world.after(0) == [], "somebody has come just now"
        assert entry.record.idle_left is None
        world.attach(entry, 0)
        assert await world.after(0) == []
        assert await world.after(DAY) == ["work"]

    run(steps, tmp_path)


def test_what_can_not_be_ended_stays_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G5, Z5, Z25."""

    async def steps(world: World) -> None:
        entry = await world.session("work")
        await world.after(0)
        world.refuses = True
        for _ in range(3):
            assert await world.after(DAY) == []
            assert world.registry.find("work") is entry and entry.running
            assert entry.record.end_cause is None
        await world.registry.settle()
        assert [record.state for record in Store(tmp_path).load_all()[0]] == [State.RUNNING]
        world.refuses = False
        assert await world.after(30) == ["work"]
        assert entry.record.end_cause == "nobody was attached for 86400 s (idle_timeout_named)"

    run(steps, tmp_path)
    assert caplog.text.count("it can't be ended: trying again") == 1, "said once, not at every tick"


def test_one_that_is_just_started_or_ended_is_left_alone(tmp_path: Path) -> None:
    async def steps(world: World) -> None:
        entry = await world.session("work")
        await world.after(0)
        async with entry.lock:
            assert await world.after(DAY) == []
        assert await world.after(0) == ["work"]
        assert await world.after(DAY) == [], "and is ended once"

    run(steps, tmp_path)


def test_a_session_that_was_to_last_so_long(tmp_path: Path) -> None:
    """Whoever is attached; and over a restart of the daemon."""

    async def steps(world: World) -> None:
        entry = await world.session("try", clients=2, settings={"ttl": 600.0})
        await world.after(0)
        await world.after(300)
        world.reaper.save()
        assert entry.record.ttl_left == 300.0
        await world.registry.settle()
        world.start()
        again = world.registry.find("try")
        world.attach(again, 1)
        await world.after(1000)
        assert world.reaper.told(again) == {"ends_in": 300.0, "ends_unless_attached": False}
        assert await world.after(299) == []
        assert await world.after(1) == ["try"]
        assert again.record.end_cause == "it was to last 600 s (ttl)"

    run(steps, tmp_path, "")


def test_another_time_is_counted_from_its_beginning(tmp_path: Path) -> None:
    async def steps(world: World) -> None:
        entry = await world.session("work")
        await world.after(0)
        await world.after(DAY - 10)
        await world.registry.configure(entry, {"idle_timeout": 60.0}, lambda said: {})
        assert await world.after(0) == []
        assert await world.after(59) == []
        assert world.reaper.told(entry) == {"ends_in": 1.0, "ends_unless_attached": True}
        await world.registry.configure(entry, {"idle_timeout": 0.0}, lambda said: {})
        assert await world.after(DAY) == []
        assert entry.record.idle_left is None
        assert world.reaper.told(entry) == {"ends_in": None, "ends_unless_attached": False}

    run(steps, tmp_path)


def test_what_remains_is_stored_seldom(tmp_path: Path) -> None:
    """A tick of 30 s for a day must not be 2880 writes for each session."""

    async def steps(world: World) -> None:
        entry = await world.session("work")
        await world.after(0)
        begun = entry.record.version
        for _ in range(2879):
            await world.after(30)
        assert entry.running and entry.record.version - begun <= 20

    run(steps, tmp_path)


#: What may happen between two ticks: time passes, a visit, the daemon is stopped or killed, a keeper hangs.
_STEPS = st.one_of(
    st.integers(1, 400).map(lambda seconds: ("wait", seconds)),
    st.sampled_from([("attach", 0), ("detach", 0), ("stop", 0), ("crash", 0), ("hang", 0), ("answer", 0)]),
)


@settings_of_hypothesis(max_examples=40)
@given(st.lists(_STEPS, max_size=40))
@example([("wait", 400), ("wait", 400), ("attach", 0), ("detach", 0)])
def test_never_sooner_than_allowed_and_some_time_for_sure(steps: list[tuple[str, int]]) -> None:
    """Z20, Z21, G2, G3: an end takes all of the time, seen alone by a daemon, without a visit in between."""
    limit = 1000.0

    async def all_of_them(world: World) -> None:
        entry = await world.session("work", settings={"idle_timeout": limit})
        alone = 0.0  # at least so long has somebody seen it alone
        clients, hangs = 0, False
        keeper = entry.keeper

        def as_it_is() -> None:
            entry.keeper = None if hangs else keeper
            entry.live = {"clients": clients}

        for what, seconds in [*steps, ("answer", 0), ("detach", 0), *[("wait", 100)] * 40]:
            match what:
                case "wait":
                    ended = await world.after(seconds)
                    alone = 0.0 if clients else alone if hangs else alone + seconds
                    assert not ended or (alone >= limit and not clients and not hangs), (
                        alone,
                        clients,
                        hangs,
                    )
                    if ended:
                        return
                case "attach" | "detach":
                    clients = int(what == "attach")
                    assert isinstance(keeper, Keeper)
                    keeper.clients = clients
                    if clients:
                        alone = 0.0
                        world.registry.observe(entry, idle_left=None)  # `News` hears of each visit
                case "hang" | "answer":
                    hangs = what == "hang"
                case "stop" | "crash":
                    if what == "stop":
                        world.reaper.save()
                    await world.registry.settle()
                    world.start()
                    entry = world.registry.find("work")
                    keeper = entry.keeper
                    assert isinstance(keeper, Keeper)
                    keeper.clients = clients
            as_it_is()
        raise AssertionError("it was left alone for long enough")

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        run(all_of_them, Path(folder), "")


# --- real sessions --------------------------------------------------------------------------------------


def eager(box: Sandbox, more: str = "") -> None:
    box.configure(f"[daemon]\ntick = 0.05\nended_retention = 0.01\n[reaper]\n{more}")


def test_left_alone_a_session_ends_and_says_why(sandbox: Sandbox) -> None:
    eager(sandbox)
    sandbox.up()
    terminal = sandbox.terminal("toowl", "new", "-n", "visited", "--idle-timeout", "1", "--", "/bin/cat")
    wait_for(lambda: listed(sandbox).get("visited", {}).get("clients") == 1)
    sandbox.toowl("new", "-d", "-n", "work", "--idle-timeout", "1s", "--", "/bin/cat")
    sandbox.toowl("new", "-d", "-n", "later", "--idle-timeout", "1h", "--", "/bin/cat")
    shell(sandbox, "free")
    assert "unless somebody attaches" in sandbox.toowl("info", "later").stdout
    wait_displayed(sandbox, "work", "ended (timeout)")
    text = sandbox.toowl("info", "work").stdout
    assert "toowld ended it, as nobody was attached for 1 s (idle_timeout): `toowl attach work`" in text
    assert displayed(sandbox, "visited") == "attached" and displayed(sandbox, "free") == "detached"
    assert "ends" not in sandbox.toowl("info", "free").stdout.replace("extends", "")
    terminal.wait_raw()
    terminal.send("\x1cd")
    terminal.wait()
    wait_displayed(sandbox, "visited", "ended (timeout)")
    # It is kept for its retention, not for that of what somebody ended; and attaching starts it again.
    again = sandbox.attach_pty("work")
    again.expect("shell restarted")
    wait_for(lambda: sandbox.info("work")["record"]["end_cause"] is None)


def test_what_was_made_over_a_connection_ends_with_the_reaper_off(sandbox: Sandbox) -> None:
    """X5, and I1: the daemon's environment is a level too."""
    eager(sandbox)
    sandbox.up(TOOWLD_REAPER_IDLE_TIMEOUT_REMOTE="1s")
    shell(sandbox, "here")
    shell(sandbox, "remote", connection="me@host")
    assert sandbox.info("remote")["ends_in"] is not None
    wait_displayed(sandbox, "remote", "ended (timeout)")
    assert "(idle_timeout_remote)" in sandbox.info("remote")["sentence"]
    assert displayed(sandbox, "here") == "detached"


def test_one_that_can_not_be_asked_is_not_ended(sandbox: Sandbox) -> None:
    """Z21, G5: its custodian is stopped; when it goes on, so does the countdown."""
    eager(sandbox)
    sandbox.up()
    info = shell(sandbox, "work", settings={"idle_timeout": 1})
    with stopped(info["custodian_pid"]):
        wait_for(lambda: "unreachable" in sandbox.info("work")["display"])
        assert sandbox.info("work")["ends_in"] is None
        assert sandbox.toowl("info", "work").returncode == 0
    wait_displayed(sandbox, "work", "ended (timeout)")
    assert "nobody was attached" in sandbox.info("work")["record"]["end_cause"]


def test_a_daemon_that_starts_ends_nobody_who_is_attached(sandbox: Sandbox) -> None:
    """Z20, with the record of one whose time had run out."""
    eager(sandbox, "enabled = true\nidle_timeout_named = 1\n")
    sandbox.up()
    shell(sandbox, "work")
    terminal = sandbox.attach_pty("work")
    wait_for(lambda: sandbox.info("work")["clients"] == 1)
    sandbox.restart()
    wait_for(lambda: sandbox.info("work")["clients"] == 1)
    pid = sandbox.info("work")["pid"]
    terminal.send("printf 'I-am-%s\\n' here\r")
    terminal.expect("I-am-here")
    sandbox.toowl("set", "work", "ttl=1")
    wait_displayed(sandbox, "work", "ended (timeout)")
    assert sandbox.info("work")["record"]["pid"] == pid
    assert "it was to last 1 s" in sandbox.info("work")["record"]["end_cause"]


def test_settings_of_the_daemon_are_heeded_at_once(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.05)
    sandbox.up()
    shell(sandbox, "work")
    eager(sandbox, "enabled = true\nidle_timeout_named = '1s'\n")
    assert "reaper.enabled = true (was false): heeded at once" in sandbox.toowld("reload").stdout
    wait_displayed(sandbox, "work", "ended (timeout)")
