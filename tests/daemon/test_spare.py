"""The custodian that waits for the next session, as users and their daemons have it."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.custodian.world import quiet, spare_of
from tests.daemon.steps import apart_from_zygote, ls, shell
from tests.harness import Sandbox, alive, wait_for
from toowld.custodian.zygote import QUIET


def zygote_of(box: Sandbox) -> psutil.Process:
    with box.client() as client:
        return psutil.Process(int(client.request("doctor")["zygote_pid"]))


def test_the_next_session_has_it(sandbox: Sandbox) -> None:
    """And is one like all others: it outlives its daemon, is adopted, and goes on with newer code."""
    sandbox.up()
    shell(sandbox, "first")
    spare = spare_of(zygote_of(sandbox)).pid
    shell(sandbox, "work")
    assert ls(sandbox)["work"]["custodian_pid"] == spare
    assert sandbox.custodians()[ls(sandbox)["work"]["id"]] == spare
    child = ls(sandbox)["work"]["pid"]
    sandbox.restart()
    assert ls(sandbox)["work"]["display"] == "detached"
    assert "work" in sandbox.toowld("upgrade", "work").stdout
    assert (ls(sandbox)["work"]["custodian_pid"], ls(sandbox)["work"]["pid"]) == (spare, child)
    terminal = sandbox.attach_pty("work")
    terminal.send("printf 'st%s\\n' ill; exit 3\r")
    terminal.expect("still\r\n")
    assert terminal.wait() == 3
    wait_for(lambda: not alive(spare))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_the_daemon(sandbox: Sandbox, signum: signal.Signals) -> None:
    """It is nobody's custodian: what is left are those of sessions, and the next daemon sees no other."""
    sandbox.up()
    shell(sandbox, "work")
    spare = spare_of(zygote_of(sandbox)).pid
    sandbox.signal(signum)
    wait_for(lambda: not alive(spare), what="the end of the spare")
    wait_for(lambda: len(sandbox.processes()) == 2, what="custodian and shell only")
    sandbox.up()
    assert {name: item["display"] for name, item in ls(sandbox).items()} == {"work": "detached"}


def test_a_killed_zygote_takes_it_along(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "first")
    zygote = zygote_of(sandbox)
    spare = spare_of(zygote).pid
    os.kill(zygote.pid, signal.SIGKILL)
    wait_for(lambda: not alive(spare), what="the end of the spare")
    shell(sandbox, "second")
    another = spare_of(zygote_of(sandbox)).pid
    shell(sandbox, "third")
    assert ls(sandbox)["third"]["custodian_pid"] == another


def test_standard_sessions_have_none(sandbox: Sandbox) -> None:
    """It would be memory for nothing."""
    sandbox.up(False)
    shell(sandbox, "work")
    zygote = zygote_of(sandbox)
    wait_for(lambda: quiet(zygote.pid, QUIET / 1000 * 15) == 0)  # it has improved itself
    assert zygote.children() == []


def test_one_that_fails_does_not_cost_the_next_its_own(sandbox: Sandbox) -> None:
    """A session that can't be started has a custodian too; it goes, and the next one has another."""
    sandbox.up()
    shell(sandbox, "first")
    before = apart_from_zygote(sandbox)
    spare = spare_of(zygote_of(sandbox)).pid
    assert sandbox.toowl("new", "-d", "--", "/nope", check=False).returncode == 1
    wait_for(lambda: not alive(spare))
    wait_for(lambda: apart_from_zygote(sandbox) == before)
    assert spare_of(zygote_of(sandbox)).pid != spare
