"""The zygote as a process: custodians in numbers, what it is asked wrongly, and when it goes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from tests.custodian.world import World, fds_of
from tests.harness import DEADLINE, REPOSITORY, alive
from toowld.wire import Failure, Hello, Request

ID = "0badcafe"


def test_twenty_custodians_quickly(world: World) -> None:
    """Asked for all at once, each with its own link."""
    zygote = world.start_zygote()
    links = []
    for number in range(20):
        ours, its = socket.socketpair()
        with its:
            zygote.send(Request(number, "fork", {"id": f"{number:08x}"}), its.fileno())
        links.append(world.open(ours))
    for number, link in enumerate(links):
        hello = link.expect(Hello)
        assert hello.about["session"] == f"{number:08x}"
        world.pids.append(int(hello.about["pid"]))
    pids = set(world.pids)
    assert len(pids) == 20
    assert all(sum(name.startswith("socket:") for name in fds_of(pid).values()) == 1 for pid in pids)
    assert world.zygote is not None
    sockets = [name for name in fds_of(world.zygote.pid).values() if name.startswith("socket:")]
    assert len(sockets) <= 2, "its daemon's, and its spare's"
    for link in links:
        link.close()
    world.gone(*pids)
    assert alive(world.zygote.pid)


def test_bad_requests_do_not_end_the_zygote(world: World) -> None:
    zygote = world.start_zygote()
    assert isinstance(zygote.ask("fork", id=ID), Failure), "no descriptor came along"
    assert isinstance(zygote.ask("nonsense"), Failure)
    bad: list[dict[str, Any]] = [{}, {"id": 5}, {"id": "../../etc"}, {"id": "x" * 500}]
    ours, its = socket.socketpair()
    with its:
        for params in bad:
            assert isinstance(zygote.ask("fork", its.fileno(), **params), Failure), params
        assert isinstance(zygote.ask("nonsense", its.fileno()), Failure)
    world.open(ours, greet=False).expect_eof()
    zygote.send(Hello())
    _pid, link = world.fork(ID)
    assert link.expect(Hello).about["session"] == ID


def test_the_zygote_goes_with_its_daemon(world: World) -> None:
    _pid, link, _child = world.start(ID)
    assert world.zygote is not None and world._zygote_link is not None
    world._zygote_link.close()
    assert world.zygote.wait(DEADLINE) == 0
    assert link.request("info")["state"] == "running"


def test_the_commands_without_their_descriptor_say_so(world: World) -> None:
    for arguments in (["--zygote"], ["--zygote", "x"], ["--zygote", "999"], ["--custodian"],
                      ["--custodian", "--id", ID, "--fd", "999"], ["--custodian", "--id", ID]):  # fmt: skip
        done = world.box.toowld(*arguments, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_the_zygote_loads_nothing_that_it_need_not() -> None:
    script = "import sys; import toowld.custodian.zygote; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    heavy = {"asyncio", "subprocess", "ssl", "argparse", "json", "email", "tempfile", "typing"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith(("toowld.daemon", "toowld.log.reader"))}
