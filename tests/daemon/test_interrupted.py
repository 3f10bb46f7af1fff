"""What is left when the daemon dies in the middle of its work, and when its zygote is killed or hangs."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import psutil

from tests.daemon.steps import apart_from_zygote, displayed, ls, running, stopped, wait_displayed
from tests.harness import Sandbox, alive, wait_for

DETACH = b"\x1cd"


def zygote_of(box: Sandbox) -> int:
    with box.client() as client:
        return int(client.request("doctor")["zygote_pid"])


# --- the daemon dies in the middle ----------------------------------------------------------------------


def ask_and_leave(box: Sandbox, method: str, **params: Any) -> socket.socket:
    """Send a request, and don't wait for the answer."""
    client = box.client()
    client.post(method, params)
    link: socket.socket = client.socket
    return link


def test_the_daemon_dies_while_it_makes_sessions(sandbox: Sandbox) -> None:
    """No orphan, and no half record that gets in the way of the next start."""
    sandbox.up()
    request = {
        "argv": ["sleep", "4711"],
        "name": None,
        "cwd": "/",
        "env": dict(sandbox.env),
        "rows": 24,
        "cols": 80,
        "persistent": None,
    }
    for moment in range(8):
        links = [ask_and_leave(sandbox, "new", **request) for _ in range(4)]
        wait_for(lambda m=moment: len(list(sandbox.paths.sessions.iterdir())) >= m)  # type: ignore[misc]
        sandbox.kill9()
        for link in links:
            link.close()
        sandbox.up()
    kept = {item["id"]: item for item in ls(sandbox).values() if item["state"] == "running"}
    assert all(item["display"] in ("detached", "ended (lost)") for item in ls(sandbox).values())
    # Every child belongs to a session that is listed, and every custodian too.
    wait_for(lambda: {p.pid for p in running(sandbox, 4711)} == {item["pid"] for item in kept.values()})
    assert sandbox.custodians() == {key: item["custodian_pid"] for key, item in kept.items()}
    wait_for(lambda: len(apart_from_zygote(sandbox)) == 1 + 2 * len(kept), what="daemon and sessions only")
    with sandbox.client() as client:
        for session in client.request("list")["sessions"]:
            if session["state"] == "running":
                client.request("kill", session=session["id"], force=True)
            client.request("remove", session=session["id"])
    assert not ls(sandbox)
    assert not list(sandbox.paths.sessions.iterdir())


def test_the_daemon_dies_before_a_custodian_got_its_orders(sandbox: Sandbox) -> None:
    """The custodian was forked and waits for `start`: it must not wait for ever."""
    sandbox.up()
    zygote = zygote_of(sandbox)
    with stopped(zygote):
        link = ask_and_leave(
            sandbox,
            "new",
            argv=["sleep", "4711"],
            name="half",
            cwd="/",
            env={},
            rows=24,
            cols=80,
            persistent=None,
        )
        wait_displayed(sandbox, "half", "starting")
        sandbox.kill9()
        link.close()
    wait_for(lambda: not sandbox.processes(), what="zygote and custodian to go")
    sandbox.up()
    assert displayed(sandbox, "half") == "ended (lost)"
    terminal = sandbox.attach_pty("half")
    terminal.expect("shell instead) ")
    terminal.send("\r")
    wait_for(lambda: running(sandbox, 4711))
    terminal.send(DETACH)
    assert terminal.wait() == 0


def test_the_daemon_dies_while_it_kills(sandbox: Sandbox) -> None:
    """The custodian has its orders and carries them out."""
    sandbox.up()
    info = sandbox.new("sh", "-c", "trap '' HUP; echo ready; while :; do sleep 0.1; done", name="deaf")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    link = ask_and_leave(sandbox, "kill", session="deaf", force=False)
    with sandbox.client() as client:
        client.request("status")  # answered after the kill was passed on, over another connection
    sandbox.kill9()
    link.close()
    wait_for(lambda: not alive(info["pid"]))
    sandbox.up()
    wait_displayed(sandbox, "deaf", "ended (killed)")
    sandbox.toowl("rm", "deaf")


def test_a_new_whose_client_is_gone_is_finished(sandbox: Sandbox) -> None:
    sandbox.up()
    link = ask_and_leave(
        sandbox, "new", argv=["sleep", "99"], name="x", cwd="/", env={}, rows=24, cols=80, persistent=None
    )
    link.close()
    wait_displayed(sandbox, "x", "detached")


# --- the zygote -----------------------------------------------------------------------------------------


def test_a_killed_zygote_is_replaced(sandbox: Sandbox) -> None:
    sandbox.up()
    first = zygote_of(sandbox)
    os.kill(first, signal.SIGKILL)
    info = sandbox.new("sleep", "999", name="after")
    assert alive(info["pid"])
    second = zygote_of(sandbox)
    assert second != first
    assert psutil.Process(sandbox.daemon_pid).children() == [psutil.Process(second)], "no zombie either"
    sandbox.restart()
    assert ls(sandbox)["after"]["pid"] == info["pid"]


def test_a_zygote_that_hangs_is_replaced(sandbox: Sandbox) -> None:
    sandbox.up()
    first = zygote_of(sandbox)
    os.kill(first, signal.SIGSTOP)
    info = sandbox.new("sleep", "999", name="after")
    assert alive(info["pid"])
    assert zygote_of(sandbox) != first
    wait_for(lambda: not psutil.pid_exists(first))
    assert len(sandbox.custodians()) == 1


def test_a_stop_does_not_wait_for_a_zygote_that_hangs(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("sleep", "999")
    os.kill(zygote_of(sandbox), signal.SIGSTOP)
    assert sandbox.stop() == 0
    sandbox.assert_clean(allow=[info["pid"], info["custodian_pid"]])
    assert "Traceback" not in sandbox.daemon_text()
