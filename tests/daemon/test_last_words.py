"""What comes after the end of a child: the last bytes for those who are slow, and which ends are forgotten."""

from __future__ import annotations

import os
import signal
import time

import cbor2
import pytest

from tests.daemon.steps import ask, displayed, listed, settings, shell
from tests.harness import Sandbox, alive, wait_for
from toowld.client import Client
from toowld.wire import Ended, FrameDecoder, Output, Request, encode

SIZE = 3_000_000
FLOOD = ["sh", "-c", f"stty raw; read line; head -c {SIZE} /dev/zero | tr '\\0' a; exit 3"]


def slow_viewer(box: Sandbox, session: str) -> Client:
    """A client that is attached and has not read anything yet."""
    client: Client = box.client()
    params = {
        "session": session, "client_id": "slow", "rows": 24, "cols": 80, "term": "xterm", "tty": None,
        "pid": os.getpid(), "read_only": True, "from_seq": None, "replay": True, "respawn": False,
    }  # fmt: skip
    client.socket.sendall(encode(Request(99, "attach", params)))
    wait_for(lambda: listed(box)[session]["clients"] == 1)
    return client


def read_to_end(client: Client) -> tuple[bytes, Ended | None]:
    """All that still comes."""
    decoder, output, ended = FrameDecoder(), bytearray(), None
    client.socket.settimeout(20)
    while data := client.socket.recv(1 << 16):
        decoder.feed(data)
        for message in decoder.messages():
            if isinstance(message, Output):
                output += message.data
            elif isinstance(message, Ended):
                ended = message
    return bytes(output), ended


def flooded(box: Sandbox) -> tuple[Client, int]:
    """A session that has ended, and one who has still to get most of it. Returns that and the custodian."""
    info = box.new(*FLOOD, name="work")
    viewer = slow_viewer(box, "work")
    box.send("work", b"\n")
    wait_for(lambda: displayed(box, "work") == "ended (exited 3)")
    return viewer, info["custodian_pid"]


# --- the last bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_one_who_is_slow_gets_all_and_how_it_ended(sandbox: Sandbox, persistent: bool) -> None:
    settings(sandbox, tick=0.05)
    sandbox.up(persistent)
    viewer, custodian = flooded(sandbox)
    ended_at = listed(sandbox)["work"]["ended_at"]
    if persistent:
        assert alive(custodian), "it has still to serve somebody"
        wait_for(lambda: not sandbox.custodians(), what="it to be found no more")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.5)  # ten ticks: the daemon does not take it for alive again
    assert listed(sandbox)["work"]["ended_at"] == ended_at
    output, ended = read_to_end(viewer)
    assert output.endswith(b"a" * SIZE)
    assert ended == Ended(len(output), "exited", 3, None)
    if persistent:
        wait_for(lambda: not alive(custodian))
    viewer.close()


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_one_who_is_slow_keeps_nobody_from_removing(sandbox: Sandbox, persistent: bool) -> None:
    settings(sandbox, tick=0.05)
    sandbox.up(persistent)
    viewer, _ = flooded(sandbox)
    sandbox.toowl("rm", "work")
    assert not listed(sandbox)
    read_to_end(viewer)
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.3)  # some ticks: it does not come back
    assert not listed(sandbox)
    assert not [path for path in sandbox.paths.sessions.iterdir() if path.is_dir()]
    viewer.close()


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_one_who_is_slow_keeps_nobody_from_beginning_again(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(persistent)
    viewer, custodian = flooded(sandbox)
    sandbox.toowl("restart", "work", "--yes")
    assert displayed(sandbox, "work") == "detached"
    if persistent:
        wait_for(lambda: not alive(custodian))
    sandbox.send("work", b"\n")
    wait_for(lambda: displayed(sandbox, "work") == "ended (exited 3)")
    output = sandbox.output(sandbox.info("work")["id"])
    assert output.count(b"a" * SIZE) == 2
    viewer.close()


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_one_who_looks_at_an_ended_session_keeps_nobody_from_anything(
    sandbox: Sandbox, persistent: bool
) -> None:
    sandbox.up(persistent)
    first, _ = flooded(sandbox)
    read_to_end(first)
    first.close()
    client: Client = sandbox.client()
    params = {
        "session": "work",
        "client_id": "late",
        "rows": 24,
        "cols": 80,
        "replay": True,
        "respawn": False,
    }
    client.socket.sendall(encode(Request(99, "attach", params)))
    sandbox.toowl("restart", "work", "--yes")
    assert displayed(sandbox, "work") == "detached"
    sandbox.toowl("kill", "work")
    sandbox.toowl("rm", "work")
    assert not listed(sandbox)
    client.close()


# --- which ends are forgotten ---------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_an_end_by_a_signal_that_nobody_asked_for_is_not_forgotten(
    sandbox: Sandbox, persistent: bool
) -> None:
    """As at a shutdown, where every process gets one."""
    settings(sandbox, ended_retention=0, tick=0.05)
    sandbox.up(persistent)
    hit = sandbox.new("sleep", "999", name="hit")
    sandbox.new("sleep", "999", name="asked")
    os.kill(hit["pid"], signal.SIGTERM)
    wait_for(lambda: displayed(sandbox, "hit") == "ended (signal 15)")
    sandbox.toowl("kill", "asked")
    wait_for(lambda: "asked" not in listed(sandbox), what="the one that was asked for to be forgotten")
    sandbox.restart(persistent)
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.3)  # some ticks
    assert displayed(sandbox, "hit") == "ended (signal 15)"


@pytest.mark.parametrize("requested", [True, False])
def test_a_child_that_a_reboot_ended_is_lost(sandbox: Sandbox, requested: bool) -> None:
    """The daemon was gone already; the custodian has noted a signal, and the machine came up again."""
    sandbox.up()
    info = shell(sandbox, "work")
    ask(sandbox, info["id"], "$$")
    sandbox.kill9()
    if requested:
        with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as custodian:
            custodian.request("kill", force=True)
    else:
        os.kill(info["pid"], signal.SIGKILL)
    wait_for(lambda: not alive(info["custodian_pid"]))
    path = sandbox.paths.session(info["id"]) / "record"
    path.write_bytes(cbor2.dumps(cbor2.loads(path.read_bytes()) | {"boot": "another"}))
    sandbox.up()
    found = sandbox.info("work")
    assert found["display"] == ("ended (killed)" if requested else "ended (lost)")
    assert found["record"]["end_requested"] is requested
    assert found["error"] == (None if requested else "the machine was restarted")
