"""What a daemon makes of keepers that do not answer: never killed or replaced, and back as soon as they go on."""

from __future__ import annotations

import os
import signal
import socket
import time

from tests.daemon.steps import ask, displayed, listed, ls, settings, shell, skipped, stopped, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.daemon.broker import REFRESH_TIMEOUT


def test_a_stopped_custodian_is_never_replaced_and_comes_back(sandbox: Sandbox) -> None:
    """Z12: reaching it failed, but the work in it is not lost for that."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        assert displayed(sandbox, "work") == "unreachable"
        assert "P unreachable" in sandbox.toowl("ls").stdout
        attach = sandbox.attach_pty("work")
        assert attach.wait() == 4
        assert "does not answer" in attach.text
        for command in (("send", "work", "x"), ("rm", "work"), ("restart", "work", "--yes")):
            done = sandbox.toowl(*command, check=False)
            assert done.returncode == 4, done
            assert len(done.stderr.splitlines()) == 1
        with sandbox.client() as client:
            [custodian] = client.request("doctor")["custodians"]
        assert (custodian["pid"], custodian["state"]) == (info["custodian_pid"], "unreachable")
        assert set(sandbox.custodians()) == {info["id"]}
    wait_displayed(sandbox, "work", "detached")
    after = ls(sandbox)["work"]
    assert (after["pid"], after["custodian_pid"]) == (info["pid"], info["custodian_pid"])
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])
    assert not skipped(sandbox)


def test_one_that_was_stopped_is_back_as_soon_as_it_goes_on(sandbox: Sandbox) -> None:
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        assert displayed(sandbox, "work") == "unreachable"
    wait_displayed(sandbox, "work", "detached")
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])
    assert not skipped(sandbox)


def test_one_that_is_killed_while_it_is_waited_for_can_be_restored(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    sandbox.up()
    assert displayed(sandbox, "work") == "unreachable"
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "work", "ended (lost)")
    sandbox.attach_pty("work").expect("--- restored; new shell ---")
    assert displayed(sandbox, "work") == "attached"


def test_stopped_and_killed_are_told_apart(sandbox: Sandbox) -> None:
    """C4, Z17: no answer is not death."""
    sandbox.up()
    infos = {name: sandbox.new("sleep", "999", name=name) for name in ("stopped", "killed")}
    with stopped(infos["stopped"]["custodian_pid"]):
        os.kill(infos["killed"]["custodian_pid"], signal.SIGKILL)
        wait_displayed(sandbox, "killed", "ended (lost)")
        wait_displayed(sandbox, "stopped", "unreachable")
        found = ls(sandbox)
        assert (found["stopped"]["state"], found["stopped"]["end_reason"]) == ("unreachable", None)
    wait_displayed(sandbox, "stopped", "detached")


def test_a_list_is_not_held_up_twice_by_who_does_not_answer(sandbox: Sandbox) -> None:
    sandbox.up()
    infos = [sandbox.new("sleep", "999", name=f"s{n}") for n in range(4)]
    for info in infos:
        os.kill(info["custodian_pid"], signal.SIGSTOP)
    assert {item["display"] for item in listed(sandbox).values()} == {"unreachable"}
    begun = time.monotonic()
    for _ in range(10):
        assert {item["state"] for item in listed(sandbox).values()} == {"unreachable"}
    assert time.monotonic() - begun < 10 * REFRESH_TIMEOUT
    for info in infos:
        os.kill(info["custodian_pid"], signal.SIGCONT)
    wait_for(lambda: {item["display"] for item in listed(sandbox).values()} == {"detached"})


def test_a_stopped_custodian_without_a_record(sandbox: Sandbox) -> None:
    """Nothing is known of it until it answers; then everything is."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "precious")
    sandbox.kill9()
    (sandbox.paths.session(info["id"]) / "record").unlink()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        item = ls(sandbox)[info["id"]]
        assert (item["display"], item["custodian_pid"]) == ("unreachable", info["custodian_pid"])
        assert sandbox.toowl("rename", info["id"], "guess", check=False).returncode == 4
        assert not (sandbox.paths.session(info["id"]) / "record").exists()
    wait_displayed(sandbox, "precious", "detached")
    assert ls(sandbox)["precious"]["pid"] == info["pid"]
    assert set(ls(sandbox)) == {"precious"}


def test_a_guess_that_proves_wrong_is_forgotten(sandbox: Sandbox) -> None:
    """Somebody who listens on a socket like a custodian's, never answers, and goes."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    path = sandbox.paths.custodian_socket("0badf00d")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        wait_displayed(sandbox, "0badf00d", "unreachable")
    wait_for(lambda: not listed(sandbox))
    assert not sandbox.paths.session("0badf00d").exists()
    sandbox.restart()
    assert not ls(sandbox)


def test_a_renamed_session_is_told_its_name_when_it_answers(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = shell(sandbox, "old")
    with stopped(info["custodian_pid"]):
        done = sandbox.toowl("rename", "old", "new")
        assert done.stderr == ""
        sandbox.kill9()
    sandbox.up()
    assert set(ls(sandbox)) == {"new"}
    from toowld.client import Client

    def told() -> str:
        with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as client:
            return str(client.request("info")["record"]["name"])

    wait_for(lambda: told() == "new")


def test_what_a_stopped_custodian_was_asked_in_vain_is_not_done_later(sandbox: Sandbox) -> None:
    """The user was told that it failed, and may have typed it again or thought better of it."""
    sandbox.up()
    info = sandbox.new("cat", name="typist")
    with stopped(info["custodian_pid"]):
        late = sandbox.toowl("send", "typist", "too late", check=False)
        assert late.returncode == 4, late.stderr
    wait_displayed(sandbox, "typist", "detached")
    sandbox.toowl("send", "typist", "in time")
    wait_for(lambda: b"in time" in sandbox.output(info["id"]))
    assert "too late" not in sandbox.toowl("capture", "typist", "--scrollback").stdout
