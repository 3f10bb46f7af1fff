"""What is told of sessions: every event once, in order, and to whoever is slow, what was missed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.daemon.steps import shell
from tests.harness import DEADLINE, Sandbox, wait_for
from toowld.classes import replace
from toowld.client import Client
from toowld.daemon.connection import EVENTS_UNREAD, Connection
from toowld.daemon.differences import of_news, of_record
from toowld.daemon.events import Bus, Happening, Listener
from toowld.errors import SessionNotFound
from toowld.session import Record, State
from toowld.wire import Event, FrameDecoder, Hello

RECORD = Record("0badcafe", name="work", state=State.RUNNING, pid=7, version=3)


# -- numbers, the ring and listeners ---------------------------------------------------------------------


class Reader:
    """Takes as many events as it has room for."""

    def __init__(self, bus: Bus, room: int, since: int, run: str | None = None) -> None:
        self.room = room
        self.got: list[int | str] = []
        self.listener = Listener(
            bus, wants=self._wants, take=self._take, missed=self._missed, since=since, run=run
        )

    def _wants(self, happening: Happening) -> bool:
        return happening.name != "unwanted"

    def _take(self, happening: Happening) -> bool:
        assert self.room > 0, "it was full"
        self.got.append(happening.number)
        self.room -= 1
        return self.room > 0

    def _missed(self, count: int | None, number: int) -> None:
        self.got.append(f"missed {count} up to {number}")


def test_each_event_is_told_once_and_in_order() -> None:
    bus = Bus()
    bus.publish("bell", RECORD, {})
    reader = Reader(bus, 99, since=bus.last)
    bus.publish("bell", RECORD, {})  # before it begins, behind where it wants to begin
    reader.listener.start()
    bus.publish("unwanted", RECORD, {})
    bus.publish("bell", RECORD, {})
    assert reader.got == [2, 4]
    reader.listener.close()
    bus.publish("bell", RECORD, {})
    assert reader.got == [2, 4]


def test_who_comes_back_gets_what_is_kept_and_is_told_the_rest() -> None:
    bus = Bus(kept=3)
    for _ in range(5):
        bus.publish("bell", RECORD, {})
    found = {}
    for since in range(7):
        reader = found[since] = Reader(bus, 99, since=since, run=bus.run)
        reader.listener.start()
    assert found[0].got == ["missed 2 up to 2", 3, 4, 5]
    assert found[1].got == ["missed 1 up to 2", 3, 4, 5]
    assert found[2].got == [3, 4, 5]
    assert found[4].got == [5]
    assert found[5].got == []
    assert found[6].got == ["missed None up to 2", 3, 4, 5]  # such a number was never given


def test_numbers_of_another_daemon_are_not_ours() -> None:
    bus = Bus()
    reader = Reader(bus, 99, since=1, run="another")
    bus.publish("bell", RECORD, {})
    reader.listener.start()
    assert reader.got == ["missed None up to 0", 1]


@given(
    kept=st.integers(1, 5),
    since=st.integers(0, 3),
    steps=st.lists(st.one_of(st.just("publish"), st.just("unwanted"), st.integers(1, 4)), max_size=40),
)
def test_nothing_is_told_twice_and_nothing_is_missing_unsaid(
    kept: int, since: int, steps: list[str | int]
) -> None:
    bus = Bus(kept)
    for _ in range(3):
        bus.publish("bell", RECORD, {})
    unwanted: set[int] = set()
    reader = Reader(bus, 1, since)
    reader.listener.start()
    for step in [*steps, 999]:
        if isinstance(step, int):
            reader.room += step
            reader.listener.resume()
        else:
            bus.publish("unwanted" if step == "unwanted" else "bell", RECORD, {})
            if step == "unwanted":
                unwanted.add(bus.last)
    at = since
    for got in reader.got:
        if isinstance(got, int):
            assert got > at and unwanted >= set(range(at + 1, got)) and got not in unwanted
            at = got
        else:
            _, count, _, _, number = got.split()
            assert int(number) == at + int(count) and int(count) > 0
            at = int(number)
    assert unwanted >= set(range(at + 1, bus.last + 1))


def test_one_that_leaves_while_it_is_told() -> None:
    bus = Bus()
    for _ in range(3):
        bus.publish("bell", RECORD, {})
    told = []

    def take(happening: Happening) -> bool:
        told.append(happening.number)
        listener.close()
        return True

    listener = Listener(bus, wants=lambda _: True, take=take, missed=lambda *_: None, since=0)
    listener.start()
    assert told == [1]


# -- what happened, from how it was and how it is --------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        ({}, {"last_active_at": 9.0, "cwd": "/x", "rows": 9}, []),
        ({}, {"name": "other"}, [("renamed", {"before": "work"})]),
        ({}, {"tags": {"a": "b"}}, [("tagged", {"tags": {"a": "b"}})]),
        ({}, {"on_restore": "make"}, [("set", {"keys": ["on_restore"]})]),
        ({"settings": {"ttl": "1h"}}, {"settings": {"idle_timeout": "2h"}, "idle_left": 9.0},
         [("set", {"keys": ["idle_timeout", "ttl"]})]),
        ({"state": State.STARTING, "pid": None}, {"state": State.RUNNING, "pid": 8},
         [("started", {"pid": 8})]),
        ({"state": State.STARTING}, {"state": State.RUNNING, "pid": 8}, [("restarted", {"pid": 8})]),
        ({"state": State.ENDED}, {"state": State.STARTING, "env": {"A": "b"}}, []),
        ({"state": State.UNREACHABLE}, {"state": State.RUNNING}, []),
        ({}, {"state": State.ENDED, "end_reason": "exited", "exit_code": 3},
         [("ended", {"reason": "exited", "code": 3, "signal": None, "requested": False, "cause": None,
                     "error": None})]),
    ],
)  # fmt: skip
def test_what_a_record_tells(before: Mapping[str, Any], changes: Mapping[str, Any], told: list[Any]) -> None:
    was = replace(RECORD, **before)
    assert list(of_record(was, was.changed(**changes))) == told


QUIET = {
    "rows": 24, "cols": 80, "title": None, "bells": 1, "cwd": "/a", "cwd_url": None, "prompt": None, "commands": 0,
    "last_exit": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seq": 9}, []),
        ({"rows": 25}, [("resized", {"rows": 25, "cols": 80})]),
        ({"title": "t"}, [("title", {"title": "t"})]),
        ({"bells": 4}, [("bell", {"count": 3})]),
        ({"cwd": "/b"}, [("cwd", {"cwd": "/b", "url": None})]),
        ({"cwd": None}, []),  # it ends
        ({"cwd": "/b", "cwd_url": "file:///b"}, [("cwd", {"cwd": "/b", "url": "file:///b"})]),
        ({"prompt": "command"}, [("command-started", {})]),
        ({"prompt": "prompt", "last_exit": 0}, [("prompt", {"exit": 0})]),
        ({"prompt": "prompt", "commands": 2, "last_exit": 1},
         [("command-ended", {"exit": 1, "count": 2}), ("prompt", {"exit": 1})]),
    ],
)  # fmt: skip
def test_what_news_tells(changes: Mapping[str, Any], told: list[Any]) -> None:
    assert list(of_news(QUIET, {**QUIET, **changes})) == told


def test_of_a_session_that_begins_only_what_it_did_is_told() -> None:
    assert list(of_news({}, {**QUIET, "bells": 0})) == []
    assert list(of_news({}, QUIET)) == [("bell", {"count": 1})]


def test_an_older_custodian_tells_less() -> None:
    assert list(of_news({"rows": 24, "cols": 80, "cwd": "/"}, {"rows": 24, "cols": 80, "cwd": "/"})) == []


# -- over a connection -----------------------------------------------------------------------------------


def test_the_daemon_does_not_wait_for_a_client_that_does_not_read() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        bus = Bus(kept=50)

        class Server:
            def remember(self, connection: Connection) -> None: ...

            def forget(self, connection: Connection) -> None: ...

            async def answer(self, *_: object) -> Mapping[str, Any]:
                raise NotImplementedError

            async def attach(self, *_: object) -> None:
                raise NotImplementedError

        def missed(count: int | None, number: int) -> None:
            told.append((count, number))

        connection = Connection(ours, Server(), Hello())
        connection.follow(
            Listener(
                bus,
                wants=lambda _: True,
                take=lambda happening: connection.bring(bus.frame(happening)),
                missed=missed,
                since=0,
            )
        )
        told: list[tuple[int | None, int]] = []
        await asyncio.sleep(0)
        for _ in range(2000):
            bus.publish("tagged", RECORD, {"tags": {"key": "x" * 1000}})
        assert connection._socket.queued < EVENTS_UNREAD + 2000
        decoder = FrameDecoder()
        numbers: list[int] = []
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE):
            while not numbers or numbers[-1] != 2000:
                decoder.feed(await loop.sock_recv(theirs, 65536))
                while (message := decoder.next_message()) is not None:
                    if isinstance(message, Event):
                        numbers.append(message.data["number"])
        [(count, number)] = told
        assert count is not None
        given = numbers.index(number + 1)
        assert numbers == [*range(1, given + 1), *range(number + 1, 2001)]
        assert given + count == number
        connection.close()
        theirs.close()

    asyncio.run(scenario())


# -- as a client hears them ------------------------------------------------------------------------------


class Follower:
    """A client that listens; what it hears is read when it is asked for."""

    def __init__(self, client: Client, **params: Any) -> None:
        self.client = client
        self.start = client.request("subscribe", **params)
        self.heard: list[Event] = []

    def until(self, name: str) -> list[str]:
        """The names of all events up to the next one with this name."""
        names: list[str] = []
        while name not in names:
            message = self.client.receive(timeout=DEADLINE)
            assert isinstance(message, Event), message
            self.heard.append(message)
            names.append(message.name)
        return names


@contextmanager
def following(sandbox: Sandbox, **params: Any) -> Iterator[Follower]:
    with sandbox.client() as client:
        yield Follower(client, **params)


def said(sandbox: Sandbox, session: str, text: str) -> None:
    """Have a shell print that."""
    sandbox.send(session, f"printf '{text}'\n".encode())


@pytest.mark.parametrize("flag", [True, False], ids=["persistent", "standard"])
def test_a_life(sandbox: Sandbox, flag: bool) -> None:
    sandbox.up(flag)
    with following(sandbox) as follower, sandbox.client() as client:
        session = shell(sandbox, "work")["id"]
        assert follower.until("started") == ["created", "started"]
        with sandbox.client() as attached:
            attached.post("attach", {"session": session, "client_id": "me", "rows": 30, "cols": 90})
            assert sorted(follower.until("resized")) == ["attached", "resized"]
        follower.until("detached")
        assert follower.heard[-1].data["reason"].startswith("its connection was closed")
        said(sandbox, session, r"\033]0;title\007\007")
        names = follower.until("title")
        names += follower.until("bell") if "bell" not in names else []
        assert set(names) == {"title", "bell"}
        said(sandbox, session, r"\033]133;C\007")
        follower.until("command-started")
        said(sandbox, session, r"\033]133;D;3\007")
        assert follower.until("prompt") == ["command-ended", "prompt"]
        assert follower.heard[-2].data["exit"] == 3
        client.request("rename", session=session, name="play")
        client.request("tag", session=session, tags={"key": "value"})
        client.request("kill", session=session, force=True)
        assert follower.until("ended") == ["renamed", "tagged", "ended"]
        assert follower.heard[-1].data["signal"] == 9 and follower.heard[-1].data["requested"] is True
        client.request("restart", session=session)
        assert follower.until("restarted") == ["restarted"]
        client.request("kill", session=session, force=True)
        client.request("remove", session=session)
        assert follower.until("removed") == ["ended", "removed"]
    numbers = [event.data["number"] for event in follower.heard]
    assert numbers == list(range(follower.start["number"] + 1, numbers[-1] + 1))
    assert {event.data["run"] for event in follower.heard} == {follower.start["run"]}
    assert {event.data["session"] for event in follower.heard} == {session}
    versions = [event.data["version"] for event in follower.heard]
    assert versions == sorted(versions)
    assert follower.heard[0].data["name"] == "work" and follower.heard[-1].data["name"] == "play"

    with following(sandbox, since=numbers[2], run=follower.start["run"]) as again:
        again.until("removed")
    assert again.heard == follower.heard[3:]


def test_after_a_restart_of_the_daemon_it_is_said_that_some_were_missed(sandbox: Sandbox) -> None:
    sandbox.up()
    session = shell(sandbox, "work")["id"]
    with following(sandbox, since=0) as follower:
        follower.until("started")
    sandbox.restart()
    with following(sandbox, since=follower.start["number"], run=follower.start["run"]) as again:
        with sandbox.client() as client:
            client.request("rename", session=session, name="x")
        names = again.until("renamed")
    assert names[0] == "missed" and again.heard[0].data["count"] is None
    assert again.start["run"] != follower.start["run"]


def test_only_what_was_asked_for(sandbox: Sandbox) -> None:
    sandbox.up(False)
    one, two = shell(sandbox, "one")["id"], shell(sandbox, "two")["id"]
    with following(sandbox, sessions=["two"], names=["renamed"]) as follower, sandbox.client() as client:
        client.request("tag", session=two, tags={"key": "value"})
        client.request("rename", session=one, name="three")
        client.request("rename", session=two, name="four")
        assert follower.until("renamed") == ["renamed"]
        assert follower.heard[0].data["session"] == two
    with pytest.raises(SessionNotFound), following(sandbox, sessions=["one"]):
        raise AssertionError("it has another name now")


def test_a_custodian_that_hangs_is_told_of_and_that_it_answers_again(sandbox: Sandbox) -> None:
    sandbox.up()
    session = shell(sandbox, "work")["id"]
    pid = sandbox.custodians()[session]
    with following(sandbox) as follower:
        os.kill(pid, signal.SIGSTOP)
        try:
            with sandbox.client() as client:
                client.post("resize", {"session": session, "rows": 30, "cols": 90})
                assert follower.until("unreachable") == ["unreachable"]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "reachable" in follower.until("reachable")
    wait_for(lambda: sandbox.info(session)["display"] == "detached", what="it is well again")
