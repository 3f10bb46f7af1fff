"""The zygote rehearses sessions: nothing of them stays, whatever happens, and custodians are smaller for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.custodian.world import World, fds_of, quiet, spare_of
from tests.harness import DEADLINE, Sandbox, alive, wait_for
from toowld.custodian import rehearsal
from toowld.custodian.zygote import QUIET

#: Prints what a process is and has, before the zygote's improvements and after each piece of them, a line each.
_PROGRAM = """
import gc, os, resource, signal, sys, time
from toowld.custodian import rehearsal, zygote

def state():
    listed = os.listdir("/proc/self/fd")
    wakeup = signal.set_wakeup_fd(-1)
    mask = os.umask(0)
    os.umask(mask)
    while children := open(f"/proc/self/task/{os.getpid()}/children").read():
        time.sleep(0.001)  # until it has noticed that its terminal is gone
    return {
        "open": sorted((fd, os.readlink(path)) for fd in listed if os.path.exists(path := f"/proc/self/fd/{fd}")),
        "children": children,
        "threads": len(os.listdir("/proc/self/task")),
        "handlers": [(one, signal.getsignal(one)) for one in signal.valid_signals()],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "wakeup": wakeup,
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "folder": os.getcwd(),
        "umask": mask,
        "limits": [resource.getrlimit(one) for one in range(16)],
        "environment": dict(os.environ),
        "score": open("/proc/self/oom_score_adj").read(),
        "title": open("/proc/self/cmdline").read(),
        "files": sorted(os.walk(runtime)),
        "gc": gc.isenabled(),
        "profile": sys.getprofile(),
    }

def failing(*_):
    raise RuntimeError("a bug of ours")

runtime = os.environ["TOOWL_RUNTIME_DIR"]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
exec(sys.argv[1])
print(before := state(), flush=True)
for _ in zygote._improvements():
    print("same" if state() == before else state(), flush=True)
print("same" if state() == before else state())
"""


@pytest.mark.parametrize(
    "how",
    [
        "",
        "rehearsal._PROGRAM = ('no such program',)",
        "rehearsal._PROGRAM = ('sleep', '1000'); rehearsal.LIMIT = 0.01",
        "os.environ['TOOWL_RUNTIME_DIR'] = '/no such folder'",
        "rehearsal.keep = failing",
        "rehearsal._said = failing",
        "import toowld.host.pty; toowld.host.pty._enable_utf8 = failing",
        "import toowld.log.sync; toowld.log.sync.Sync.run = failing",
        "zygote.gathering.gather = failing",
    ],
)
def test_nothing_stays_whatever_happens(sandbox: Sandbox, how: str) -> None:
    sandbox.paths.prepare()
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, how],
        capture_output=True, text=True, timeout=DEADLINE, env=sandbox.env,
    )  # fmt: skip
    before, *after = done.stdout.splitlines()
    assert after and set(after) == {"same"}, (before, after, done.stderr)
    assert done.returncode == 0


def private_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def improved(pid: int) -> bool:
    """Whether a zygote that was asked for something already has nothing more to improve: else it wakes for it."""
    return quiet(pid, QUIET / 1000 * 3) == 0


def test_a_custodian_is_smaller_after_it(world: World) -> None:
    first, _, _ = world.start("00000001", "/bin/sleep", "1000")
    assert world.zygote is not None
    zygote = world.zygote.pid
    before = fds_of(zygote)
    wait_for(lambda: improved(zygote))
    second, _, _ = world.start("00000002", "/bin/sleep", "1000")
    spare_of(psutil.Process(zygote))
    assert len(fds_of(zygote)) == len(before) + 1, "the spare's"
    wait_for(lambda: quiet(second, 0.1) == 0)
    assert private_kilobytes(second) < private_kilobytes(first) - 200


def test_what_a_killed_zygote_left_is_removed(world: World) -> None:
    left = world.box.paths.runtime / rehearsal.FOLDER
    (left / "log").mkdir(parents=True)
    (left / "log/000.log").touch()
    world.start("00000001")
    assert world.zygote is not None
    zygote = world.zygote.pid
    wait_for(lambda: improved(zygote))
    assert not left.exists()


def test_custodians_that_are_forked_meanwhile_work(world: World) -> None:
    world.start_zygote()
    assert world.zygote is not None
    number = 0
    while number == 0 or not improved(world.zygote.pid):
        number += 1
        world.start(f"{number:08x}")
        world.attach(f"{number:08x}").expect_output(b"ready")
    assert world.fork("00000000")[1]


def test_a_zygote_that_rehearses_can_be_ended(world: World) -> None:
    world.start_zygote()
    assert world.zygote is not None
    world.start("00000001")
    time.sleep(QUIET / 1000)  # at what moment it is hit does not matter, only that it goes
    world.zygote.send_signal(signal.SIGTERM)
    world.zygote.wait(DEADLINE)
    assert alive(world.pids[0])
