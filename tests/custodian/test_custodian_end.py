"""How a custodian goes: after its child's end, terminated, and killed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.custodian.world import Link, World
from tests.harness import alive, wait_for
from toowld.wire import Detach, Ended, Input, Live

ID = "0badcafe"


def test_the_end_waits_for_the_daemon_to_note_it(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "read line; exit 7")
    client = world.attach(ID)
    client.send(Input(0, b"\n"))
    assert client.expect(Ended).code == 7
    client.expect_eof()
    news = link.changed(lambda info: info["state"] == "ended")
    assert (news["end_reason"], news["exit_code"]) == ("exited", 7)
    assert alive(pid) and world.socket(ID).exists()
    assert link.request("info")["state"] == "ended"
    link.request("shutdown")
    link.expect_eof()
    world.gone(pid)
    assert not world.socket(ID).exists()
    assert (world.last_exit(ID) or {})["code"] == 7


def test_the_end_without_a_daemon_is_in_the_log(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "read line; exit 7")
    link.close()
    silent = world.connect(ID, greet=False)
    client = world.attach(ID)
    client.send(Input(0, b"\n"))
    client.expect(Ended)
    world.gone(pid)
    silent.expect_eof()
    assert (world.last_exit(ID) or {})["code"] == 7
    assert not world.socket(ID).exists()


def test_a_daemon_that_dies_before_it_noted_the_end(world: World) -> None:
    pid, link, _child = world.start(ID, "/bin/sh", "-c", "exit 7")
    link.changed(lambda info: info["state"] == "ended")
    link.close()
    world.gone(pid)


def test_terminated_it_tells_everybody_and_brings_the_log_to_disk(world: World) -> None:
    pid, link, child = world.start(ID)
    client = world.attach(ID)
    client.expect(Live)
    client.expect_output(b"ready")
    os.kill(pid, signal.SIGTERM)
    assert client.expect(Ended).reason == "lost"
    client.expect_eof()
    link.expect_eof()
    world.gone(pid, child)
    assert (world.last_exit(ID) or {})["reason"] == "lost"
    assert world.output(ID) == b"ready\n"
    assert not world.socket(ID).exists()


def test_terminated_it_waits_for_one_who_takes_its_last_bytes(world: World) -> None:
    """More is queued than the kernel holds: the client still gets it all, and the end."""
    script = "stty raw -echo; echo rea''dy; read line; head -c 250000 /dev/zero; printf END; exec cat"
    pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    client = world.attach(ID)
    client.expect_output(b"ready\n")
    client.send(Input(0, b"\n"))
    wait_for(lambda: link.request("info")["seq"] == 250009)
    os.kill(pid, signal.SIGTERM)
    link.changed(lambda info: info["state"] == "ended")
    assert client.expect(Ended) == Ended(250009, "lost", None, None)
    assert client.output.endswith(b"END")
    world.gone(pid)


def much_behind(world: World) -> tuple[int, Link, Link]:
    """A custodian, its first link, and a client that has read nothing of 8 MB, which are in the log."""
    script = "stty raw -echo; echo rea''dy; head -c 8000000 /dev/zero; printf END; exec cat"
    pid, link, _child = world.start(ID, "/bin/sh", "-c", script)
    client = world.attach(ID)
    wait_for(lambda: link.request("info")["seq"] == 8000009)
    assert link.request("info")["clients"] == 1
    return pid, link, client


def test_terminated_it_brings_one_who_is_behind_to_the_end(world: World) -> None:
    """The child ends at once and the log is safe; a client that takes what it is given is given all, and told why."""
    pid, link, client = much_behind(world)
    os.kill(pid, signal.SIGTERM)
    link.changed(lambda info: info["state"] == "ended")
    assert (world.last_exit(ID) or {})["reason"] == "lost"
    assert client.expect(Ended) == Ended(8000009, "lost", None, None)
    assert client.output == b"ready\n" + bytes(8000000) + b"END"
    link.expect_eof()
    world.gone(pid)


def test_terminated_it_does_not_wait_for_one_who_takes_nothing(world: World) -> None:
    """It hangs up on him: he comes back for the rest, which is in the log."""
    pid, _link, client = much_behind(world)
    os.kill(pid, signal.SIGTERM)
    world.gone(pid)
    client.expect_eof()
    assert not any(isinstance(message, Ended) for message in client.messages)


def test_the_end_of_one_whose_log_is_on_no_disk_waits_to_be_asked(world: World) -> None:
    """Nobody was there and nothing could be written; what is in memory gets a last chance when it must go."""
    pid, link, _child = world.start(ID)
    link.close()
    client = world.attach(ID)
    client.expect_output(b"ready\n")
    folder = world.box.paths.session(ID)
    shutil.rmtree(folder)
    folder.touch()  # in the way
    client.send(Input(0, b"last words"))
    client.expect_output(b"last words")
    client.send(Detach())  # nobody watches: what was seen is brought to the disk, and found to be on none
    client.expect_eof()
    asking = world.connect(ID)
    wait_for(lambda: asking.request("info")["degraded"])
    asking.request("kill", force=True)
    wait_for(lambda: asking.request("info")["state"] == "ended")
    info = asking.request("info")
    assert (info["state"], info["exit_signal"], info["degraded"]) == ("ended", signal.SIGKILL, True)
    folder.unlink()
    os.kill(pid, signal.SIGTERM)
    world.gone(pid)
    assert (world.last_exit(ID) or {})["signal"] == signal.SIGKILL


def test_killed_its_child_is_hung_up_on(world: World, tmp_path: Path) -> None:
    script = f"trap 'echo hup > {tmp_path}/hup; exit' HUP; echo rea''dy; while :; do sleep 0.01; done"
    pid, _link, child = world.start(ID, "/bin/sh", "-c", script)
    wait_for(lambda: b"ready" in world.output(ID))
    os.kill(pid, signal.SIGKILL)
    wait_for((tmp_path / "hup").exists)
    world.gone(pid, child)
    assert world.last_exit(ID) is None, "nobody could note it"


def test_kill_takes_the_sessions_background_jobs_too(world: World) -> None:
    script = "set -m; trap '' HUP; sleep 1000 & echo job $! here; exec cat"
    _pid, link, child = world.start(ID, "/bin/sh", "-c", script)
    wait_for(lambda: b" here" in world.output(ID))
    job = int(world.output(ID).split(b"job ")[1].split()[0])
    link.request("kill", force=True)
    link.changed(lambda info: info["state"] == "ended")
    world.gone(child, job)
