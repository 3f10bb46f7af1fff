"""The tests' own tools: a harness that lies makes every other test worthless."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import REPOSITORY, Sandbox, alive, need_program, peer_pid, wait_for


def test_wait_for_gives_what_the_condition_gave() -> None:
    answers = iter([0, None, "", "there"])
    assert wait_for(lambda: next(answers)) == "there"


def test_wait_for_gives_up_and_says_what_it_saw() -> None:
    with pytest.raises(AssertionError, match="for the impossible; last value: 0"):
        wait_for(lambda: 0, timeout=0.01, what="the impossible")


def test_the_listener_of_a_socket_is_found_even_stopped(tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX);"
        "s.bind(sys.argv[1]); s.listen(); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE) as process:
        wait_for(lambda: peer_pid(path) == process.pid)
        process.send_signal(signal.SIGSTOP)
        assert peer_pid(path) == process.pid
        process.kill()
    assert peer_pid(path) is None, "a stale socket has no listener"


def test_everything_in_a_sandbox_ends_with_it() -> None:
    """However it hides: its own session, a folder elsewhere, an empty environment, a child of such a one."""
    with Sandbox() as box:
        by_environment = subprocess.Popen(["sleep", "300"], env=box.env, start_new_session=True)
        by_folder = subprocess.Popen(["sleep", "300"], env={"PATH": os.defpath}, cwd=box.root)
        with (box.root / "file").open("wb") as file:
            by_file = subprocess.Popen(
                ["sh", "-c", "sleep 300 & wait"], env={"PATH": os.defpath}, stdout=file
            )
        stopped = subprocess.Popen(["sleep", "300"], env=box.env)
        stopped.send_signal(signal.SIGSTOP)
        processes = [by_environment, by_folder, by_file, stopped]
        wait_for(lambda: {p.pid for p in processes} <= {p.pid for p in box.processes()})
        everyone = [process.pid for process in box.processes()]
        assert len(everyone) == 5
        with pytest.raises(AssertionError, match="left over"):
            box.assert_clean(allow=[process.pid for process in processes], timeout=0.1)
    assert not box.root.exists()
    for process in processes:
        assert process.wait() == -signal.SIGKILL
    wait_for(lambda: not any(alive(pid) for pid in everyone))


def test_a_clean_sandbox_is_clean(sandbox: Sandbox) -> None:
    sandbox.assert_clean()
    assert sandbox.close() == []


def test_two_sandboxes_do_not_see_each_other(sandbox: Sandbox) -> None:
    with Sandbox() as other:
        process = subprocess.Popen(["sleep", "300"], env=other.env)
        wait_for(lambda: [p.pid for p in other.processes()] == [process.pid])
        sandbox.assert_clean()
    assert process.wait() == -signal.SIGKILL


def test_a_custodians_socket_is_short_enough(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        sandbox.paths.prepare()
        link.bind(os.fspath(sandbox.paths.custodian_socket("0" * 8)))


def test_a_terminal_is_a_real_one(sandbox: Sandbox) -> None:
    script = (
        "import os, signal, sys;"
        "signal.signal(signal.SIGWINCH, lambda *_: print('now', *os.get_terminal_size(), flush=True));"
        "print('fg', os.tcgetpgrp(0) == os.getpgrp(), os.ttyname(0), flush=True);"
        "print('size', *os.get_terminal_size(), flush=True);"
        "[print('got', line.strip(), flush=True) for line in sys.stdin];"
        "sys.exit(7)"
    )
    (sandbox.root / "program.py").write_text(script)
    terminal = sandbox.terminal("program", rows=33, cols=99, PYTHONPATH=str(sandbox.root))
    terminal.expect("fg True /dev/pts/")
    terminal.expect("size 99 33\r\n")
    terminal.send("hello\r")
    terminal.expect("got hello\r\n")
    terminal.resize(rows=10, cols=20)
    terminal.expect("now 20 10\r\n")
    terminal.forget()
    assert terminal.output == b""
    terminal.send(b"\x04")  # Ctrl-D at the start of a line: end of file
    assert terminal.wait() == 7


def test_a_terminal_ends_with_its_sandbox() -> None:
    with Sandbox() as box:
        terminal = box.terminal("code")
        terminal.expect(">>> ")
    assert terminal.process.returncode == -signal.SIGKILL


def test_a_failing_command_fails_the_test(sandbox: Sandbox) -> None:
    (sandbox.root / "toowl").mkdir()
    (sandbox.root / "toowl/__init__.py").touch()
    (sandbox.root / "toowl/__main__.py").write_text(
        "import sys; print(sys.stdin.read()); sys.exit(len(sys.argv))"
    )
    own: dict[str, Any] = {"PYTHONPATH": str(sandbox.root)}
    with pytest.raises(AssertionError, match="toowl a b: exit status 3"):
        sandbox.toowl("a", "b", **own)
    done = sandbox.toowl("a", input="typed", check=False, **own)
    assert (done.returncode, done.stdout) == (2, "typed\n")


SKIPS = """
import pytest
def test_lacks(): pytest.skip("needs frobnicate")
@pytest.mark.skip(reason="because")
def test_marked(): pass
@pytest.mark.xfail(reason="known", strict=True)
def test_expected(): assert False
def test_cannot():
    pytest.skip("machine cannot: fly")
"""


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", "1 failed, 1 skipped, 1 xfailed, 1 error"), ("", "3 skipped, 1 xfailed")]
)
def test_ci_accepts_no_silent_skip(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", tmp_path],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout


def test_a_missing_program_is_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs no-such-program"):
        need_program("sh", "no-such-program")
