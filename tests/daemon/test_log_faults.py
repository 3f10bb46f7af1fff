"""Real custodians whose disk fails: the session goes on, says so, and is written again when that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import Sandbox, holds, machine_cannot, need_program, wait_for
from toowld.log import GapMark, LogReader
from toowld.wire import SEQ_LEAP

#: Prints what it is told to: a count of lines of 100 bytes.
PRINTER = ("sh", "-c", "stty -echo; echo ready; while read n; do seq -f %099.0f $n; done")


@pytest.fixture
def small(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The state folder on a disk of 1 MiB."""
    if os.geteuid() != 0:
        machine_cannot("mount a small disk without root")
    state = sandbox.paths.state
    state.mkdir(parents=True, mode=0o700)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "toowl-test", str(state)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        machine_cannot(f"mount: {done.stderr.strip()}")
    try:
        yield sandbox
    finally:
        sandbox.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


def remount(sandbox: Sandbox, options: str) -> None:
    """Again while somebody just tries to write (EBUSY)."""
    command = ["mount", "-o", f"remount,{options}", str(sandbox.paths.state)]
    wait_for(
        lambda: subprocess.run(command, capture_output=True).returncode == 0, what="the disk to be remounted"
    )


def printer(sandbox: Sandbox, name: str, persistent: bool | None = None) -> dict[str, Any]:
    """A session with `PRINTER` in it, which has turned off the echo."""
    info = sandbox.new(*PRINTER, name=name, persistent=persistent)
    printed(sandbox, name, 7)
    return info


def printed(sandbox: Sandbox, session: str, seq: int) -> None:
    wait_for(lambda: sandbox.info(session)["seq"] >= seq, what=f"output up to {seq}")


def line(number: int) -> bytes:
    return b"%099d\r\n" % number


@pytest.mark.parametrize("persistent", [True, False])
def test_a_full_disk(small: Sandbox, persistent: bool) -> None:
    small.up()
    info = printer(small, "full", persistent=persistent)
    mark = "P" if persistent else "-"
    assert re.search(rf"full +{mark} detached  ", small.toowl("ls").stdout)
    small.send("full", b"20000\n")
    printed(small, "full", 7 + 20_000 * 101)
    found = small.info("full")
    assert found["degraded"] and "No space left" in found["log_error"]
    assert re.search(rf"full +{mark} detached, degraded  ", small.toowl("ls").stdout)
    text = small.toowl("info", "full").stdout
    assert "No space left" in text and "make room" in text
    doctor = small.toowld("doctor", check=False).stdout
    assert "can't be written" in doctor and "writing resumes by itself" in doctor
    terminal = small.attach_pty("full")  # what the disk does not have comes from memory
    terminal.expect(line(20_000))
    remount(small, "size=16m")
    wait_for(lambda: not small.info("full")["degraded"], what="the log to be on the disk again")
    assert small.output(info["id"]) == b"ready\r\n" + b"".join(line(n) for n in range(1, 20_001))
    assert re.search(rf"full +{mark} attached  ", small.toowl("ls").stdout)
    assert json.loads(small.toowl("ls", "--json").stdout)


def text(first: int, last: int) -> str:
    return "".join(f"{number:099d}\n" for number in range(first, last + 1))


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_what_is_only_in_memory_is_found(small: Sandbox, persistent: bool) -> None:
    """By whatever looks at the past, as long as somebody keeps it; also with the daemon down."""
    small.up(persistent)
    info = printer(small, "full")
    small.send("full", b"20000\n")
    printed(small, "full", 7 + 20_000 * 101)
    assert small.info("full")["degraded"]
    assert len(small.output(info["id"])) < 1 << 20, "the files hold less than half of it"

    def look() -> None:
        done = small.toowl("capture", "full", "--scrollback")
        assert (done.stdout, done.stderr) == ("ready\n" + text(1, 20_000), "")
        assert small.toowl("capture", "full").stdout.rstrip().endswith("20000")  # its screen
        assert small.toowl("capture", "full", "--lines", "3").stdout == text(19_998, 20_000)
        assert small.toowl("logs", "full", "--raw").stdout.endswith(f"{20_000:099d}\r\n")
        assert f"{19_999:099d}" in small.toowl("search", "full", "0019999$").stdout
        cast = small.toowl("export", "full", "-o", "-").stdout
        output = "".join(json.loads(row)[2] for row in cast.splitlines()[1:] if json.loads(row)[1] == "o")
        assert output.endswith(f"{20_000:099d}\r\n")

    look()
    if persistent:
        small.kill9()
        look()
        small.up()
    remount(small, "size=16m")
    wait_for(lambda: not small.info("full")["degraded"], what="the log to be on the disk again")
    look()


def ended_on_a_full_disk(small: Sandbox) -> dict[str, Any]:
    """A session whose last words are in memory only."""
    small.new("sh", "-c", "stty -echo; echo ready; read n; seq -f %099.0f $n; exit 3", name="full")
    printed(small, "full", 7)
    running = small.info("full")
    small.send("full", b"20000\n")
    wait_for(lambda: small.info("full")["display"] == "ended (exited 3)")
    return running


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_the_end_of_a_session_waits_for_the_disk(small: Sandbox, persistent: bool) -> None:
    small.up(persistent)
    info = ended_on_a_full_disk(small)

    def look() -> None:
        assert re.search(r"full +. ended \(exited 3\), degraded  ", small.toowl("ls").stdout)
        assert "make room" in small.toowl("info", "full").stdout
        refused = small.toowl("restart", "full", "--yes", check=False)
        assert refused.returncode == 4 and "not on the disk yet: No space left" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        attach = small.attach_pty("full")
        assert attach.wait() == 4 and "not on the disk yet: No space left" in attach.text
        looking = small.attach_pty("full", 24, 80, "--no-respawn")
        looking.expect("exited with status 3")
        assert line(20_000) in looking.output and b"no longer held" not in looking.output
        done = small.toowl("capture", "full", "--scrollback")
        assert (done.stdout, done.stderr) == ("ready\n" + text(1, 20_000), "")

    look()
    if persistent:
        small.kill9()
        assert small.toowl("capture", "full", "--scrollback").stdout == "ready\n" + text(1, 20_000)
        small.up()
        look()
    remount(small, "size=16m")
    wait_for(lambda: not small.info("full")["degraded"], what="the log to be on the disk")
    assert small.output(info["id"]) == b"ready\r\n" + b"".join(line(n) for n in range(1, 20_001))
    done = small.toowl("capture", "full", "--scrollback")
    assert (done.stdout, done.stderr) == ("ready\n" + text(1, 20_000), "")
    wait_for(lambda: not small.custodians(), what="its custodian to go")
    small.toowl("restart", "full", "--yes")
    wait_for(lambda: small.output(info["id"]).endswith(b"ready\r\n"))


def test_who_waits_for_the_disk_is_found_by_the_next_daemon_and_not_taken_for_running(
    sandbox: Sandbox,
) -> None:
    sandbox.up()
    info = printer(sandbox, "limit")
    custodian = psutil.Process(sandbox.custodians()[info["id"]])
    custodian.rlimit(psutil.RLIMIT_FSIZE, (10_000, -1))
    sandbox.send("limit", b"1000\n\x04")
    wait_for(lambda: sandbox.info("limit")["display"] == "ended (exited 0)")
    before = sandbox.info("limit")
    assert before["degraded"] and before["seq"] == 7 + 101_000
    sandbox.restart(kill=False)  # so that the end is in the record
    found = sandbox.info("limit")
    same = ("state", "display", "ended_at", "degraded", "seq")
    assert [found[key] for key in same] == [before[key] for key in same]
    custodian.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
    wait_for(lambda: not sandbox.custodians(), what="its custodian to go")
    wait_for(lambda: not sandbox.info("limit")["degraded"])
    assert sandbox.output(info["id"]) == b"ready\r\n" + b"".join(line(n) for n in range(1, 1001))


def test_the_end_of_a_session_that_no_disk_takes_is_told_to_be_lost(small: Sandbox) -> None:
    small.up()
    running = ended_on_a_full_disk(small)
    os.kill(running["custodian_pid"], signal.SIGTERM)
    wait_for(lambda: not small.info("full")["degraded"])
    told = wait_for(lambda: str(small.info("full")["error"] or ""))
    assert re.fullmatch(r"the last \d+ bytes of its output could not be written, and are lost", told)
    for _ in range(2):
        done = small.toowl("capture", "full", "--scrollback")
        assert done.stdout.startswith("ready\n" + text(1, 5_000))
        assert re.fullmatch(r"toowl: [\d.]+ [KM]iB of output are not there: never written\n", done.stderr)
        remount(small, "size=16m")
        small.stop()  # stores what is to be stored
        small.up()
    small.toowl("restart", "full", "--yes")
    assert small.info("full")["seq"] >= 7 + 20_000 * 101, "its numbers are not used again"


def test_what_not_even_memory_holds_is_told(small: Sandbox) -> None:
    """And what can't be asked for: its custodian hangs."""
    small.up()
    printer(small, "full")
    small.send("full", b"60000\n")
    printed(small, "full", 7 + 60_000 * 101)
    done = small.toowl("capture", "full", "--scrollback")
    assert done.stdout.endswith(text(50_000, 60_000))
    # More than one: now and then the disk has room for a piece.
    assert re.fullmatch(r"(toowl: \d+\.\d [KM]iB of output are not there: never written\n)+", done.stderr)
    custodian = small.info("full")["custodian_pid"]
    os.kill(custodian, signal.SIGSTOP)
    try:
        for _ in range(2):  # with the daemon, and without
            done = small.toowl("capture", "full", "--scrollback")
            assert done.stdout.startswith("ready\n" + text(1, 5_000))
            (told,) = [line for line in done.stderr.splitlines() if "never written" not in line]
            assert "output that could not be written to the disk" in told and "does not answer" in told
            if small.daemon is not None and small.daemon.poll() is None:
                small.kill9()
    finally:
        os.kill(custodian, signal.SIGCONT)


def test_a_disk_that_becomes_read_only(small: Sandbox) -> None:
    """First full, as a file system with a file open for writing can't be remounted by hand."""
    small.up()
    info = printer(small, "ro")
    small.send("ro", b"20000\n")
    printed(small, "ro", 7 + 20_000 * 101)
    wait_for(lambda: small.info("ro")["degraded"])
    remount(small, "ro")
    wait_for(lambda: "Read-only" in str(small.info("ro")["log_error"]), what="the new reason")
    small.send("ro", b"5\n")
    printed(small, "ro", 7 + 20_005 * 101)
    refused = small.toowl("new", "-d", "--name", "other", check=False)
    assert refused.returncode and "Read-only" in refused.stderr and "Traceback" not in refused.stderr
    assert len(small.toowl("ls").stdout.splitlines()) == 2
    remount(small, "rw,size=16m")
    wait_for(lambda: not small.info("ro")["degraded"], what="the log to be on the disk again")
    lines = [*range(1, 20_001), *range(1, 6)]
    assert small.output(info["id"]) == b"ready\r\n" + b"".join(line(n) for n in lines)


def test_a_file_size_limit_kills_nobody(sandbox: Sandbox) -> None:
    """RLIMIT_FSIZE for the custodian alone: SIGXFSZ would end it, and the child has its own default action."""
    sandbox.up()
    info = printer(sandbox, "limit")
    custodian = sandbox.custodians()[info["id"]]
    psutil.Process(custodian).rlimit(psutil.RLIMIT_FSIZE, (10_000, -1))
    sandbox.send("limit", b"1000\n")
    printed(sandbox, "limit", 7 + 101_000)
    found = sandbox.info("limit")
    assert found["degraded"] and "too large" in found["log_error"]
    assert sandbox.custodians()[info["id"]] == custodian
    ignored = re.search(r"SigIgn:\t(\w+)", Path(f"/proc/{found['pid']}/status").read_text())
    assert ignored is not None and not int(ignored[1], 16) & 1 << (signal.SIGXFSZ - 1)
    psutil.Process(custodian).rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
    wait_for(lambda: not sandbox.info("limit")["degraded"], what="the log to be on the disk again")
    assert sandbox.output(info["id"]) == b"ready\r\n" + b"".join(line(n) for n in range(1, 1001))


def test_a_folder_that_is_deleted(sandbox: Sandbox) -> None:
    sandbox.up()
    info = printer(sandbox, "gone")
    folder = sandbox.paths.session(info["id"])
    terminal = sandbox.attach_pty("gone")
    terminal.expect("ready")
    # Whoever is still taking his place among the clients is given what comes from the log.
    wait_for(lambda: holds(sandbox.custodians()[info["id"]], terminal.name), what="the terminal to be lent")
    shutil.rmtree(folder)
    sandbox.send("gone", b"10\n")
    terminal.expect(line(10))
    terminal.send(b"\x1cd")
    terminal.wait()  # the last detach syncs, finds out, and a second later it is repaired
    wait_for(lambda: list(folder.glob("*.log")), what="a new segment")
    sandbox.send("gone", b"3\n")
    printed(sandbox, "gone", 7 + 1313)
    wait_for(lambda: sandbox.output(info["id"]).endswith(line(3)), what="output on the disk")
    assert isinstance(next(iter(LogReader(folder).records())), GapMark)


@pytest.mark.parametrize("power", [True, False])
def test_numbers_are_not_used_twice_after_a_loss(sandbox: Sandbox, power: bool) -> None:
    """A client that has seen what the log lost continues with a gap, not in the middle of something else."""
    sandbox.up()
    info = printer(sandbox, "lost")
    sandbox.send("lost", b"100\n")
    printed(sandbox, "lost", 7 + 10_100)
    os.kill(sandbox.custodians()[info["id"]], signal.SIGKILL)
    sandbox.kill9()
    wait_for(lambda: not sandbox.custodians(), what="the end of the custodian")
    folder = sandbox.paths.session(info["id"])
    if power:
        (segment,) = folder.glob("*.log")
        os.truncate(segment, 3000)
    held = sandbox.output(info["id"])
    sandbox.up()
    terminal = sandbox.attach_pty("lost")
    terminal.expect("new shell")
    terminal.expect("nobody knows how much")
    terminal.expect("shell instead) ")
    terminal.send("\r")
    terminal.expect(b"\nready\r\n")
    sandbox.send("lost", b"3\n")
    terminal.expect(line(3), count=1 if power else 2)
    assert SEQ_LEAP < sandbox.info("lost")["seq"] < SEQ_LEAP + 1000
    (gap,) = [item for item in LogReader(folder).records() if isinstance(item, GapMark)]
    assert (gap.start, gap.end) == (len(held), SEQ_LEAP)
    assert "output so far    1 TiB" not in sandbox.toowl("info", "lost").stdout


def test_when_the_log_is_synced(sandbox: Sandbox, tmp_path: Path) -> None:
    """At the last detach and at the end, not while idle and clean; and never in the loop's own thread."""
    need_program("strace")
    sandbox.up()
    info = printer(sandbox, "traced")
    custodian = sandbox.custodians()[info["id"]]
    trace = tmp_path / "trace"
    strace = subprocess.Popen(
        ["strace", "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync", "-p", str(custodian)],
        stderr=subprocess.PIPE,
    )
    try:
        assert strace.stderr is not None and b"attached" in strace.stderr.readline()

        def syncs() -> list[int]:
            """The threads that called fdatasync."""
            text = trace.read_text() if trace.exists() else ""
            return [int(pid) for pid in re.findall(r"^(\d+) +fdatasync\(.*", text, re.MULTILINE)]

        def attach_and_detach() -> None:
            terminal = sandbox.attach_pty("traced")
            terminal.expect("ready")
            terminal.send(b"\x1cd")
            assert terminal.wait() == 0

        attach_and_detach()
        wait_for(lambda: len(syncs()) == 1, what="the sync of the last detach")
        attach_and_detach()
        attach_and_detach()
        assert sandbox.info("traced")["clients"] == 0
        assert len(syncs()) == 1, "nothing to sync"
        sandbox.send("traced", b"1000\n")
        printed(sandbox, "traced", 7 + 101_000)
        attach_and_detach()
        wait_for(lambda: len(syncs()) == 2, what="the next one")
        assert custodian not in syncs(), "the loop waited for the disk"
        sandbox.send("traced", b"1\n")
        sandbox.toowl("kill", "traced")
        strace.wait(20)
        assert len(syncs()) == 3, "the end is synced, once"
        assert custodian not in syncs(), "the loop waited for the disk"
    finally:
        strace.kill()
        strace.wait()
        if strace.stderr is not None:
            strace.stderr.close()
