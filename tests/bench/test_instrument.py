"""The parts that touch the machine, each against something that is known."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from bench import processes
from bench.contender import Announcement, Contender
from bench.contenders import ALL
from bench.flood import Flood
from bench.interpreter import interpreter, of_first_line
from bench.outer import Outer, TooSlow, limit, read_all
from bench.payload import COLS, ROWS
from bench.run import child_command
from bench.stand import stands
from tests.harness import alive, machine_cannot, need_program, wait_for

#: Under pytest-xdist the tests have a thread beside them; the child of this fork executes at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def outer(tmp_path: Path, *argv: str) -> Outer:
    return Outer(argv, {"PATH": os.environ["PATH"]}, tmp_path)


# -- the outer terminal -----------------------------------------------------------------------------------


def test_the_terminal_has_its_size(tmp_path: Path) -> None:
    with outer(tmp_path, "stty", "size") as terminal:
        terminal.read_until(f"{ROWS} {COLS}".encode())
        assert terminal.wait() == 0


def test_what_comes_before_the_marker_is_counted(tmp_path: Path) -> None:
    with outer(
        tmp_path, "sh", "-c", "printf 0123456789; sleep 0.05; printf 'EN'; sleep 0.05; printf D"
    ) as terminal:
        assert terminal.read_until(b"END") == 13


def test_a_command_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    with outer(tmp_path, "true") as terminal, pytest.raises(TooSlow, match="true ended too early"):
        terminal.read_until(b"END")


def test_a_marker_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    with outer(tmp_path, "sleep", "100") as terminal, pytest.raises(TooSlow, match=r"0\.05 s"):
        terminal.read_until(b"END", seconds=0.05)


def test_a_limit_within_another_leaves_that_as_it_was() -> None:
    with limit(1000, "the outer one"):
        with limit(2000, "the inner one"):
            pass
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 900 < left <= 1000


def test_an_outer_limit_that_passed_meanwhile_is_not_forgotten() -> None:
    with pytest.raises(TooSlow, match="the outer one"), limit(0.001, "the outer one"):
        with limit(100, "the inner one"):
            time.sleep(0.01)  # nothing else makes time pass
        signal.pause()


def test_keys_come_back(tmp_path: Path) -> None:
    with outer(tmp_path, *child_command("echo")) as terminal:
        terminal.ready(b"p", b"p")
        took = terminal.keystrokes(20, 0.001)
        assert len(took) == 20 and all(0 < seconds < 10 for seconds in took)


def test_several_terminals_are_read_at_once(tmp_path: Path) -> None:
    with outer(tmp_path, "printf", "aEND") as one, outer(tmp_path, "printf", "bEND") as other:
        assert all(read_all([one, other], b"END"))


def test_a_command_ends_with_its_terminal(tmp_path: Path) -> None:
    with outer(tmp_path, "sleep", "100") as terminal:
        assert psutil.pid_exists(terminal.pid)
    assert not psutil.pid_exists(terminal.pid)


# -- processes --------------------------------------------------------------------------------------------


def test_cpu_is_that_of_the_kernels_clock() -> None:
    before = time.process_time()
    measured = processes.cpu_seconds([os.getpid(), 2**22 + 1])
    assert before <= measured <= time.process_time()


def test_memory_descriptors_and_threads_are_those_of_psutil() -> None:
    process = psutil.Process()
    pss, uss = processes.memory(process.pid)
    full = process.memory_full_info()
    assert pss == pytest.approx(full.pss, rel=0.2) and uss == pytest.approx(full.uss, rel=0.2)
    assert processes.descriptors(process.pid) == pytest.approx(process.num_fds(), abs=1)
    assert processes.threads(process.pid) == process.num_threads()


def test_a_sleep_is_a_wakeup() -> None:
    before = processes.wakeups(os.getpid())
    time.sleep(0.001)
    assert processes.wakeups(os.getpid()) > before


# -- the interpreter --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"#!/x/bin/python\n", ["/x/bin/python"]),
        (b"#!/x/bin/python3.11 -IS\n", ["/x/bin/python3.11", "-IS"]),
        (b"#!/bin/sh\n", []),
        (b"import sys\n", []),
    ],
)
def test_the_interpreter_of_a_script(line: bytes, command: list[str]) -> None:
    assert of_first_line(line) == command


def test_the_installed_toowl_has_one() -> None:
    assert Path(interpreter()[0]).samefile(sys.executable)


# -- contenders -------------------------------------------------------------------------------------------


@pytest.fixture(params=ALL[1:], ids=lambda kind: kind.name)
def contender(request: pytest.FixtureRequest) -> Iterator[Contender]:
    kind: type[Contender] = request.param
    if kind.name == "abduco" and kind.version() is None:
        machine_cannot("abduco is no package of Debian 12")
    if kind.name not in ("toowl", "toowl-std"):  # that one is beside the interpreter, not on PATH
        need_program(kind.program)
    # Directly below /tmp: paths of sockets have to fit sun_path.
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp") as root, kind(Path(root)) as opened:
        yield opened


def test_a_contender_is_attached_detached_and_gone(contender: Contender) -> None:
    with stands([contender], b"p", b"p", *child_command("echo")) as (stand,):
        session = stand.session
        child = psutil.Process(session.child)
        assert child.ppid() == session.keeper in contender.pids()
        assert "echo" in child.cmdline()
        stand.outer.type(contender.detach_keys)
        stand.outer.wait()
        assert child.is_running()
    pids = [session.child, *contender.pids()]
    contender.close()
    wait_for(lambda: not any(map(alive, pids)), what="all to end")


def test_a_flood_begins_and_ends_when_told(contender: Contender) -> None:
    flood = Flood(contender, 2)
    assert flood.counts() == [0, 0]
    for _ in range(2):
        with flood.on():
            begun = flood.counts()
            wait_for(partial(_all_grew, flood, begun), what="both to print")
        wait_for(partial(_rests, flood), what="the flood to end")


def _all_grew(flood: Flood, since: list[int]) -> bool:
    return all(now > then for now, then in zip(flood.counts(), since, strict=True))


def _rests(flood: Flood) -> bool:
    before = flood.counts()
    time.sleep(0.05)  # that nothing happens can only be seen after a while
    return flood.counts() == before


def test_a_program_that_does_not_begin_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.contender._START_SECONDS", 0.01)
    announcement = Announcement(tmp_path / "pipe")
    with pytest.raises(TooSlow, match="to begin"):
        announcement.pid()
    assert not (tmp_path / "pipe").exists()
