"""Many clients at once: who comes, goes, types, stalls or dies concerns nobody else."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from typing import Any

import pytest

from tests.daemon.steps import (
    COUNT,
    counted,
    listed,
    ls,
    numbers,
    running,
    shell,
    wait_displayed,
)
from tests.harness import Sandbox, Terminal, alive, wait_for
from toowld.client import Client
from toowld.daemon.connection import HELLO_TIMEOUT
from toowld.errors import ToowlError
from toowld.wire import Attached, Detached, Ended, Failure, Gap, Live, Output

DETACH = b"\x1cd"
FLAGS = pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])


def post_attach(client: Client, session: str, **params: Any) -> int:
    """Ask for an attachment; the answers are read with `receive`."""
    request = {
        "session": session,
        "client_id": os.urandom(8).hex(),
        "rows": 24,
        "cols": 80,
        "term": "xterm",
        "tty": None,
        "pid": os.getpid(),
        "read_only": False,
        "from_seq": None,
        "replay": True,
        "respawn": True,
    }
    return client.post("attach", {**request, **params})


def receive(client: Client, *kinds: type[Any]) -> Any:
    """The next message of one of these kinds."""
    while True:
        message = client.receive(timeout=20)
        if isinstance(message, kinds):
            return message


def clients(box: Sandbox, session: str) -> int:
    return int(box.info(session)["clients"])


@FLAGS
def test_two_see_the_same_and_both_may_type(sandbox: Sandbox, persistent: bool) -> None:
    """E1."""
    sandbox.up(persistent)
    shell(sandbox, "work")
    first, second = sandbox.attach_pty("work"), sandbox.attach_pty("work")
    wait_for(lambda: clients(sandbox, "work") == 2)
    first.send("printf 'by-%s\\n' first\r")
    for terminal in (first, second):
        terminal.expect("by-first\r\n")
    second.send("printf 'by-%s\\n' second\r")
    for terminal in (first, second):
        terminal.expect("by-second\r\n")
    assert "P attached" in sandbox.toowl("ls").stdout or not persistent
    assert ls(sandbox)["work"]["clients"] == 2


@FLAGS
def test_one_leaves_the_others_stay(sandbox: Sandbox, persistent: bool) -> None:
    """E2, Z6, Z14: by the chord, by the command, by a kill, by its terminal going away."""
    sandbox.up(persistent)
    info = shell(sandbox, "work")
    terminals = [sandbox.attach_pty("work") for _ in range(5)]
    wait_for(lambda: clients(sandbox, "work") == 5)
    terminals[0].wait_raw()
    terminals[0].send(DETACH)
    assert terminals[0].wait() == 0
    wait_for(lambda: clients(sandbox, "work") == 4)
    [number] = [
        client["client"]
        for client in sandbox.info("work")["client_list"]
        if client["pid"] == terminals[1].pid
    ]
    sandbox.toowl("detach", "work", "--client", str(number))
    assert terminals[1].wait() == 0
    assert "[detached" in terminals[1].text
    wait_for(lambda: clients(sandbox, "work") == 3)
    terminals[2].process.kill()
    wait_for(lambda: clients(sandbox, "work") == 2, what="the killed one to be noticed (G8)")
    terminals[3].close()
    wait_for(lambda: clients(sandbox, "work") == 1)
    terminals[4].send("printf 'still-%s\\n' here\r")
    terminals[4].expect("still-here\r\n")
    sandbox.toowl("detach", "work", "--all")
    assert terminals[4].wait() == 0
    wait_displayed(sandbox, "work", "detached")
    assert alive(info["pid"])


@FLAGS
def test_a_stopped_client_delays_nobody(sandbox: Sandbox, persistent: bool) -> None:
    """E5: neither the other client nor the shell; and it has every line or an announced gap when it goes on.

    Its terminal takes nothing either: as long as that does, and nobody else uses it, it is lent, and shows all.
    """
    sandbox.up(persistent)
    count = 150_000
    script = f"read -r go; for ((i=0; i<{count}; i++)); do printf 'count %d\\n' $i; done; read -r stop"
    info = sandbox.new("bash", "--norc", "-c", script, name="flood", rows=24, cols=80)
    slow = sandbox.attach_pty("flood")
    wait_for(lambda: clients(sandbox, "flood") == 1)
    fast = sandbox.attach_pty("flood")
    wait_for(lambda: clients(sandbox, "flood") == 2)
    slow.stall()
    os.kill(slow.pid, signal.SIGSTOP)
    fast.send("go\r")
    fast.expect(f"count {count - 1}\r\n", timeout=60)
    assert numbers(fast.output) == list(range(count))
    assert counted(sandbox, info["id"]) == list(range(count))
    assert f"count {count - 1}\r\n" not in slow.text
    os.kill(slow.pid, signal.SIGCONT)
    slow.go_on()
    slow.expect(f"count {count - 1}\r\n", timeout=60)
    assert numbers(slow.output) == list(range(count))


@FLAGS
def test_switching_under_a_flood_doubles_nothing(sandbox: Sandbox, persistent: bool) -> None:
    """Z4: A, B, A, B …, and each attachment gets a contiguous piece of one session."""
    sandbox.up(persistent)
    for name in ("a", "b"):
        sandbox.new("bash", "--norc", "-c", COUNT, name=name)
    for turn in range(50):
        with sandbox.client() as client:
            post_attach(client, "ab"[turn % 2], replay=turn % 3 == 0)
            seq = receive(client, Attached).seq
            got = bytearray()
            while len(got) < 5000:
                message = receive(client, Output, Live, Gap)
                assert not isinstance(message, Gap)
                if isinstance(message, Output):
                    assert message.seq == seq
                    seq += len(message.data)
                    got += message.data
        whole = numbers(bytes(got).partition(b"\n")[2])
        assert whole == list(range(whole[0], whole[0] + len(whole)))
    wait_for(lambda: {item["clients"] for item in listed(sandbox).values()} == {0})


def test_attach_and_detach_in_a_crowd(sandbox: Sandbox) -> None:
    """Z1: 8 threads come and go while sessions are killed, started again and removed; the count stays the truth."""
    sandbox.up()
    kept = sandbox.new("cat", name="kept")
    failures: list[BaseException] = []
    refused = 0

    def crowd(seed: int) -> None:
        nonlocal refused
        chance = random.Random(seed)
        for _ in range(40):
            with sandbox.client() as client:
                post_attach(client, chance.choice(["kept", "kept", "victim"]))
                message = receive(client, Attached, Failure)
                if isinstance(message, Failure):
                    refused += 1
                elif chance.random() < 0.5:
                    receive(client, Live, Ended, Detached)

    def guarded(seed: int) -> None:
        try:
            crowd(seed)
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    rounds = 0
    while any(thread.is_alive() for thread in threads):
        rounds += 1
        sandbox.new("cat", name="victim")
        with sandbox.client() as client:
            for method in ("kill", "remove"):
                try:  # the crowd may have started it again in between
                    client.request(method, session="victim", force=True, timeout=20)
                except ToowlError as error:
                    assert error.exit_status in (1, 3, 4), error
    for thread in threads:
        thread.join()
    assert not failures
    assert rounds > 1
    wait_for(lambda: {item["clients"] for item in listed(sandbox).values()} == {0}, what="the truth")
    assert ls(sandbox)["kept"]["pid"] == kept["pid"]
    # Nothing runs that is not listed, and nothing is listed as running that does not.
    kept_by = {
        item["id"]: item["custodian_pid"] for item in ls(sandbox).values() if item["state"] == "running"
    }
    wait_for(lambda: sandbox.custodians() == kept_by)
    children = {item["pid"] for item in ls(sandbox).values() if item["state"] == "running"}
    wait_for(lambda: {process.pid for process in running(sandbox, "cat")} == children)


def test_a_client_that_is_gone_before_it_is_attached(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    for _ in range(20):
        client = sandbox.client()
        post_attach(client, "work")
        client.close()
    wait_displayed(sandbox, "work", "detached")
    with sandbox.client() as client:  # and those that may still have been on their way
        client.request("detach", session="work", all=True)
    wait_displayed(sandbox, "work", "detached")


def test_what_was_typed_right_behind_the_request_is_not_lost(sandbox: Sandbox) -> None:
    """The bytes that the daemon had read already go along with the socket."""
    from toowld.wire import Input, encode

    sandbox.up()
    info = shell(sandbox, "work")
    with sandbox.client() as client:
        # One segment, so that the daemon surely reads both.
        from toowld.wire import Request

        request = Request(
            7,
            "attach",
            {
                "session": "work",
                "client_id": "abc",
                "rows": 24,
                "cols": 80,
                "term": "xterm",
                "tty": None,
                "pid": 1,
                "read_only": False,
                "from_seq": None,
                "replay": True,
                "respawn": True,
            },
        )
        client.socket.sendall(encode(request) + encode(Input(0, b"printf 'early-%s\\n' bird\r")))
        receive(client, Attached)
        wait_for(lambda: b"early-bird\r\n" in sandbox.output(info["id"]))


def test_a_refused_attach_leaves_a_connection_that_still_asks(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    with sandbox.client() as client:
        post_attach(client, "nobody")
        assert receive(client, Failure).code == "not-found"
        post_attach(client, "work", client_id="")
        assert isinstance(receive(client, Failure), Failure)
        post_attach(client, "work", rows=0)
        assert isinstance(receive(client, Failure), Failure)
        assert client.request("status")["pid"] == sandbox.daemon_pid
        post_attach(client, "work")
        receive(client, Live)
    wait_for(lambda: clients(sandbox, "work") == 0)


def test_unknown_requests_are_refused(sandbox: Sandbox) -> None:
    sandbox.up()
    with sandbox.client() as client:
        with pytest.raises(ToowlError, match="does not know the request 'levitate'"):
            client.request("levitate")
        with pytest.raises(ToowlError, match="'session' must be str"):
            client.request("info", session=7)
        assert client.request("status")["pid"] == sandbox.daemon_pid


def test_a_read_only_client_watches(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    viewer = sandbox.attach_pty("work", 10, 40, "--read-only")
    wait_for(lambda: clients(sandbox, "work") == 1)
    viewer.send("echo never\r")
    sandbox.send("work", b"printf 'seen-%s\\n' this; stty size\r")
    viewer.expect("seen-this")  # painted: its terminal is smaller than the session
    viewer.expect("24 80")
    assert b"never" not in sandbox.output(info["id"])
    viewer.send(DETACH)
    assert viewer.wait() == 0


def test_read_log_pages(sandbox: Sandbox) -> None:
    """The whole log through the daemon, in pages that continue each other."""
    sandbox.up()
    info = sandbox.new(
        "bash", "--norc", "-c", "for ((i=0; i<100000; i++)); do echo count $i; done", name="log"
    )
    wait_displayed(sandbox, "log", "ended (exited 0)")
    output, seq, pages = b"", 0, 0
    with sandbox.client() as client:
        while seq is not None:
            page = client.request("read_log", session="log", seq=seq, limit=1 << 18)
            assert page["gap"] is None
            output += b"".join(record[4] for record in page["records"] if record[0] == 1)
            seq, pages = page["next"], pages + 1
            assert sum(len(record[4]) for record in page["records"]) <= (1 << 18) + (1 << 16)
    assert pages > 2
    assert output == sandbox.output(info["id"])
    assert numbers(output) == list(range(100_000))


def test_many_connections_at_once(sandbox: Sandbox) -> None:
    """A burst of clients, most of them silent: the one that asks is answered."""
    sandbox.up()
    silent = []
    for _ in range(100):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(10)
        link.connect(str(sandbox.paths.daemon_socket))
        silent.append(link)
    with sandbox.client(timeout=HELLO_TIMEOUT / 2) as client:
        assert client.request("list")["sessions"] == []
    for link in silent:
        link.close()


def test_the_size_is_that_of_the_smallest(sandbox: Sandbox) -> None:
    """E7: recomputed when one leaves."""
    sandbox.up()
    shell(sandbox, "work")
    large = sandbox.attach_pty("work", 40, 120)
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (40, 120))
    small = sandbox.attach_pty("work", 24, 80)
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (24, 80))
    small.wait_raw()
    small.send(DETACH)
    assert small.wait() == 0
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (40, 120))
    large.send("stty size\r")
    large.expect("40 120\r\n")


@FLAGS
def test_the_size_is_that_of_the_one_used_last(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up()
    session = shell(sandbox, "work", persistent=persistent, size_policy="latest")["id"]
    large = sandbox.attach_pty("work", 40, 120)
    large.expect("bash")
    small = sandbox.attach_pty("work", 24, 80)
    small.expect("bash")

    def stty(terminal: Terminal, said: bytes) -> None:
        before = len(sandbox.output(session))
        terminal.send("stty size\r")
        wait_for(lambda: said + b"\r\n" in sandbox.output(session)[before:])

    stty(large, b"40 120")
    stty(small, b"24 80")
    stty(large, b"40 120")
    small.resize(20, 60)
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (20, 60))
    small.send(DETACH)
    assert small.wait() == 0
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (40, 120))


def test_a_size_policy_that_nobody_knows_is_refused(sandbox: Sandbox) -> None:
    sandbox.up()
    with pytest.raises(ToowlError, match="new: 'size_policy' must be 'smallest' or 'latest', not 'largest'"):
        shell(sandbox, "work", size_policy="largest")
    assert listed(sandbox) == {}


def test_a_custodian_that_is_killed_while_it_is_given_a_client(sandbox: Sandbox) -> None:
    """The client is shown what there was and how it ended, at once; nobody takes the session for a running one."""
    sandbox.up()
    info = sandbox.new("sleep", "999", name="work")
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    with sandbox.client() as client, sandbox.client() as other:
        post_attach(client, "work", respawn=False)
        for _ in range(2):
            other.request("status")  # by now the handover waits for somebody who does not take it
        os.kill(info["custodian_pid"], signal.SIGKILL)
        assert isinstance(receive(client, Attached, Failure), Attached)
        assert receive(client, Ended).reason == "lost"
    assert ls(sandbox)["work"]["display"] == "ended (lost)"
