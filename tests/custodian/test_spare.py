"""The spare: a custodian that waits for its session. What it is until then, what becomes of it, and without it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.custodian.world import World, fds_of, quiet, spare_of, status_of
from tests.harness import DEADLINE, Sandbox, alive, wait_for
from toowld.custodian.zygote import QUIET
from toowld.wire import Hello, Request

FIRST, ID, OTHER = "2f3a9c1a", "2f3a9c1b", "2f3a9c1c"


@pytest.fixture
def zygote(world: World) -> psutil.Process:
    """One that has a spare: somebody had a session already."""
    world.start(FIRST)
    assert world.zygote is not None
    process = psutil.Process(world.zygote.pid)
    spare_of(process)
    return process


def test_it_keeps_the_next_session(world: World, zygote: psutil.Process) -> None:
    waiting = spare_of(zygote)
    pid, link, child = world.start(ID)
    assert pid == waiting.pid
    assert link.expect(Hello).about["session"] == ID
    assert waiting.cmdline()[0] == f"toowld --custodian {ID}"
    assert psutil.Process(child).ppid() == pid
    world.attach(ID).expect_output(b"ready")
    assert spare_of(zygote).pid != pid, "there is another one"


def test_there_is_none_before_a_session_was_made(world: World) -> None:
    world.start_zygote()
    assert world.zygote is not None
    zygote = psutil.Process(world.zygote.pid)
    wait_for(lambda: quiet(zygote.pid, QUIET / 1000 * 15) == 0)  # it has improved itself
    assert not zygote.children()


def without_spare(world: World, zygote: psutil.Process) -> None:
    """The next custodian is forked."""
    spare = spare_of(zygote)
    spare.kill()
    world.gone(spare.pid)


def files_of(pid: int) -> list[str]:
    """What a process has open, whichever of its kind it is."""
    named = (name.replace(ID, OTHER) for name in fds_of(pid).values())
    return sorted(name.partition(":")[0].rstrip("0123456789") for name in named)


def traits(pid: int) -> dict[str, object]:
    """What a process hands down."""
    process = psutil.Process(pid)
    status = status_of(pid)
    folder = Path(f"/proc/{pid}")
    return {
        "limits": (folder / "limits").read_text(),
        "score": (folder / "oom_score_adj").read_text(),
        "groups": (folder / "cgroup").read_text(),
        "folder": process.cwd(),
        "nice": process.nice(),
        "leads": os.getsid(pid) == os.getpgid(pid) == pid,
        **{name: status[name] for name in ("Umask", "SigBlk", "SigIgn", "SigCgt", "Threads", "NoNewPrivs", "Groups")},
    }  # fmt: skip


def test_it_is_then_as_any_other(world: World, zygote: psutil.Process) -> None:
    """So are the programs of both."""
    without_spare(world, zygote)
    forked, _, child_of_forked = world.start(OTHER)
    waiting = spare_of(zygote)
    pid, _, child = world.start(ID)
    assert (waiting.pid == pid) and (forked != pid)
    wait_for(lambda: files_of(pid) == files_of(forked), what="the same files")
    wait_for(lambda: files_of(child) == files_of(child_of_forked), what="the same files of the programs")
    wait_for(lambda: traits(pid) == traits(forked), what="the same of everything")
    wait_for(lambda: traits(child) == traits(child_of_forked), what="the same for the programs")


def test_it_has_nothing_and_sleeps(world: World, zygote: psutil.Process) -> None:
    spare = spare_of(zygote)
    assert not spare.children()
    assert files_of(spare.pid) == [*["/dev/null"] * 3, "socket"], "to the zygote"
    assert list(world.box.paths.custodians.iterdir()) == [world.socket(FIRST)]
    assert not (world.box.paths.runtime / "rehearsal").exists()
    assert quiet(spare.pid, 0.5) == quiet(zygote.pid, 0.5) == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_without_it_one_is_forked(world: World, zygote: psutil.Process, signum: signal.Signals) -> None:
    spare = spare_of(zygote)
    spare.send_signal(signum)
    if signum is signal.SIGSTOP:
        wait_for(lambda: spare.status() == psutil.STATUS_STOPPED)
    else:
        world.gone(spare.pid)
    pid, _link, child = world.start(ID)
    assert pid != spare.pid and alive(child)
    world.gone(spare.pid)
    assert spare_of(zygote).pid not in (pid, spare.pid)


def test_killed_just_then_it_is_a_custodian_that_was(world: World, zygote: psutil.Process) -> None:
    """Its link tells, and the next session has one."""
    spare = spare_of(zygote)
    pid, link = world.fork(ID)
    assert pid == spare.pid
    spare.kill()
    link.expect_eof()
    assert alive(world.start(OTHER)[2])


def test_one_that_nobody_starts_goes(world: World, zygote: psutil.Process) -> None:
    pid, link = world.fork(ID)
    link.expect(Hello)
    link.close()
    world.gone(pid)


def test_several_at_once(world: World, zygote: psutil.Process) -> None:
    """One has the spare, the others are forked beside it; each has its own link, and no other."""
    waiting = spare_of(zygote)
    assert world._zygote_link is not None
    links = []
    for number in range(5):
        ours, its = socket.socketpair()
        with its:
            world._zygote_link.send(Request(number, "fork", {"id": f"{number:08x}"}), its.fileno())
        links.append(world.open(ours))
    pids = []
    for number, link in enumerate(links):
        about = link.expect(Hello).about
        assert about["session"] == f"{number:08x}"
        pids.append(int(about["pid"]))
    world.pids += pids
    assert pids[0] == waiting.pid and len(set(pids)) == 5
    for pid in pids:
        wait_for(lambda pid=pid: sum(name.startswith("socket:") for name in fds_of(pid).values()) == 1)  # type: ignore[misc]
    spare_of(zygote)
    for link in links:
        link.close()
    world.gone(*pids)


def test_one_that_is_forked_beside_it_does_not_keep_it(world: World, zygote: psutil.Process) -> None:
    """A spare that is not ready yet is for another session, and none has its socket."""
    without_spare(world, zygote)
    pids = [world.start(f"{number:08x}")[0] for number in range(20)]
    spare = spare_of(zygote)
    zygote.kill()
    world.gone(spare.pid)
    assert all(alive(pid) for pid in pids if pid != spare.pid)


@pytest.mark.parametrize("how", ["the daemon goes", "the zygote is killed"])
def test_it_goes_with_the_zygote(world: World, zygote: psutil.Process, how: str) -> None:
    pid = world.start(ID)[0]
    spare = spare_of(zygote)
    assert world.zygote is not None and world._zygote_link is not None
    if how == "the daemon goes":
        world._zygote_link.close()
    else:
        zygote.kill()
    world.zygote.wait()
    world.gone(spare.pid)
    assert alive(pid), "who has a session stays"


def test_its_session_takes_few_copies_of_pages(world: World, zygote: psutil.Process) -> None:
    """That is what it is for. And it is no larger than another one, by more than the code for that."""
    waiting = spare_of(zygote).pid
    before = faults(waiting)
    pid, _, _ = world.start(ID, "/bin/sleep", "1000")
    after = faults(pid)
    without_spare(world, zygote)
    forked, _, _ = world.start(OTHER, "/bin/sleep", "1000")
    assert pid == waiting
    assert after - before < faults(forked) / 2
    wait_for(lambda: quiet(pid, 0.1) == quiet(forked, 0.1) == 0)
    assert private_kilobytes(pid) < private_kilobytes(forked) + 300


def faults(pid: int) -> int:
    """So often a process needed the kernel for a page."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[7])


def private_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


# --- looking what a beginning writes to -----------------------------------------------------------------

#: Prints how much was found, and what a process has and is before and after it.
_LOOK = """
import os, signal, socket, sys, time
from toowld.custodian import prefault, rehearsal, zygote

def state():
    listed = os.listdir("/proc/self/fd")
    while open(f"/proc/self/task/{os.getpid()}/children").read():
        time.sleep(0.001)
    return sorted((fd, os.readlink(path)) for fd in listed if os.path.exists(path := f"/proc/self/fd/{fd}"))

def failing(*_):
    raise RuntimeError("a bug of ours")

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
rehearsal.LIMIT = 2
ours, its = socket.socketpair()
conversation = zygote._Conversation(its)
exec(sys.argv[1])
before = state()
print(len(prefault.written_by_a_beginning(conversation._fork)))
print("same" if state() == before else state(), sorted(os.walk(os.environ["TOOWL_RUNTIME_DIR"])))
"""


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("", True),
        ("rehearsal._PROGRAM = ('no such program',)", False),
        ("os.environ['TOOWL_RUNTIME_DIR'] = '/no such folder'", False),
        ("zygote.custodian.run = failing", False),
        ("rehearsal._said = failing", False),
        ("prefault._own = failing", False),
    ],
)
def test_nothing_stays_of_it(sandbox: Sandbox, how: str, found: bool) -> None:
    sandbox.paths.prepare()
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOOK, how],
        capture_output=True, text=True, timeout=DEADLINE, env=sandbox.env,
    )  # fmt: skip
    size, left = done.stdout.splitlines()
    assert (int(size) > 0) is found
    folders = [] if "no such folder" in how else sorted(os.walk(sandbox.paths.runtime))
    assert left == f"same {folders}"


def test_where_none_can_be_forked_there_is_none() -> None:
    """Whoever asks then is told so by the fork of its own custodian."""
    program = """
import os, resource, socket
from toowld.custodian.spare import Spare
if os.getuid() == 0:
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
spare, before = Spare(), os.listdir("/proc/self/fd")
try:
    spare.make(lambda: None, b"")
except BlockingIOError:
    print(spare.take("00000001", 0), os.listdir("/proc/self/fd") == before)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout == "None True\n", done.stderr
