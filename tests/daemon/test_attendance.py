"""C9: who came and who left is in the daemon's log, with the time, the session's id, and why."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from typing import Any

import pytest

from tests.daemon.steps import shell
from tests.harness import Sandbox, wait_for
from toowld.client import Client
from toowld.daemon.attendance import at_once, changes
from toowld.wire import Attached, Output, encode

# --- in words -------------------------------------------------------------------------------------------


def info(*clients: int, left: Iterable[tuple[int, str]] = (), again: bool = False) -> dict[str, Any]:
    there = [{"client": number, "pid": 7, "tty": "/dev/pts/1", "again": again} for number in clients]
    return {"client_list": there, "departures": [list(one) for one in left]}


@pytest.mark.parametrize(
    ("before", "now", "wanted"),
    [
        ({}, info(), []),
        (info(1), info(1), []),
        ({}, info(1), ["client 1 connected (/dev/pts/1, pid 7), 1 attached"]),
        (info(1), info(1, 2, again=True), ["client 2 reconnected (/dev/pts/1, pid 7), 2 attached"]),
        (
            info(1, 2),
            info(2, left=[(1, "client")]),
            ["client 1 disconnected (it detached), 1 attached"],
        ),
        (
            info(1, left=[]),
            info(2, left=[(1, "replaced")], again=True),
            [
                "client 1 disconnected (it came over another connection), 1 attached",
                "client 2 reconnected (/dev/pts/1, pid 7), 1 attached",
            ],
        ),
        (  # too quick for the news to tell of it while it was there
            info(1, left=[(2, "closed")]),
            info(1, left=[(2, "closed"), (3, "Connection reset by peer")]),
            [
                "client 3 connected, and is gone again",
                "client 3 disconnected (its connection was closed before it had read all), 1 attached",
            ],
        ),
        (info(1), {"client_list": []}, ["client 1 disconnected (reason unknown), 0 attached"]),
    ],
)
def test_what_changed(before: dict[str, Any], now: dict[str, Any], wanted: list[str]) -> None:
    assert [visit.text for visit in changes(before, now)] == wanted


def test_all_at_once() -> None:
    assert [visit.text for visit in at_once(info(1, 3), "it is gone")] == [
        "client 1 disconnected (it is gone), 0 attached",
        "client 3 disconnected (it is gone), 0 attached",
    ]


# --- in the log -----------------------------------------------------------------------------------------


class Log:
    """The daemon's lines about one session, read in order."""

    def __init__(self, box: Sandbox, session: str) -> None:
        self._box = box
        self._session = session
        self._at = 0

    def expect(self, text: str) -> None:
        """The next line about the session."""
        line = wait_for(
            lambda: self.lines()[self._at : self._at + 1], what=f"{text!r} after {self.lines()[: self._at]}"
        )[0]
        assert re.fullmatch(rf"[\d-]{{10}} [\d:]{{8}},\d{{3}} INFO session {self._session}:? {text}", line), (
            line
        )
        self._at += 1

    def lines(self) -> list[str]:
        return [line for line in self._box.daemon_text().splitlines() if f"session {self._session}" in line]


def attach(box: Sandbox, session: str, client_id: str) -> Client:
    """A client of its own kind: no terminal, no pid."""
    client: Client = box.client()
    client.post("attach", {"session": session, "client_id": client_id})
    while not isinstance(client.receive(timeout=20), Attached):
        pass
    return client


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_all_four_events(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up()
    session = shell(sandbox, "work", persistent=persistent)["id"]
    log = Log(sandbox, session)
    log.expect("registered: " + ("persistent" if persistent else "standard"))

    user = sandbox.attach_pty("work")
    log.expect(rf"client 1 connected \(/dev/pts/\d+, pid {user.pid}\), 1 attached")
    user.wait_raw()
    user.send("\x1cd")
    log.expect(r"client 1 disconnected \(it detached\), 0 attached")

    user = sandbox.attach_pty("work")
    log.expect(r"client 2 connected \(.*\), 1 attached")
    os.kill(user.pid, signal.SIGKILL)
    log.expect(r"client 2 disconnected \(its connection was closed.*\), 0 attached")

    first = attach(sandbox, session, "me")
    log.expect(r"client 3 connected \(no terminal\), 1 attached")
    second = attach(sandbox, session, "me")
    log.expect(r"client 3 disconnected \(it came over another connection\), 1 attached")
    log.expect(r"client 4 reconnected \(no terminal\), 1 attached")
    first.close()
    second.close()
    log.expect(r"client 4 disconnected \(its connection was closed.*\), 0 attached")
    third = attach(sandbox, session, "me")
    log.expect(r"client 5 reconnected \(no terminal\), 1 attached")
    sandbox.toowl("detach", "work", "--all")
    log.expect(r"client 5 disconnected \(detached from elsewhere\), 0 attached")
    third.close()

    rude = attach(sandbox, session, "rude")
    log.expect(r"client 6 connected \(no terminal\), 1 attached")
    rude.post("info", {})  # refused, and no reason to part
    rude.socket.sendall(encode(Output(0, b"x")))
    log.expect(r"client 6 disconnected \(protocol error: a client does not send Output\), 0 attached")
    rude.close()

    last = attach(sandbox, session, "last")
    log.expect(r"client 7 connected \(no terminal\), 1 attached")
    sandbox.toowl("send", "work", "exit 3")
    log.expect(r"client 7 disconnected \(the session ended\), 0 attached")
    log.expect("ended: exited, code 3, signal None")
    last.close()


def test_a_new_daemon_says_who_is_there(sandbox: Sandbox) -> None:
    """They were attached all the time: they did not come now."""
    sandbox.up()
    session = shell(sandbox, "work")["id"]
    log = Log(sandbox, session)
    user = attach(sandbox, session, "me")
    log.expect("registered: persistent")
    log.expect(r"client 1 connected \(no terminal\), 1 attached")
    sandbox.restart()
    log.expect(r"reconnected to its custodian, pid \d+, 1 attached")
    user.close()
    log.expect(r"client 1 disconnected \(its connection was closed.*\), 0 attached")


def test_when_its_keeper_is_killed(sandbox: Sandbox) -> None:
    sandbox.up()
    found = shell(sandbox, "work")
    log = Log(sandbox, found["id"])
    user = attach(sandbox, found["id"], "me")
    log.expect("registered: persistent")
    log.expect(r"client 1 connected \(no terminal\), 1 attached")
    os.kill(found["custodian_pid"], signal.SIGKILL)
    log.expect(r"client 1 disconnected \(its keeper is gone\), 0 attached")
    log.expect("ended: lost, .*")
    user.close()
