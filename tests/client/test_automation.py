"""``toowl run``, ``wait`` and ``events``, as scripts use them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.harness import DEADLINE, Sandbox, wait_for


def start(sandbox: Sandbox, *args: str, stdout: int | IO[Any] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Run ``toowl`` beside us."""
    return subprocess.Popen(
        [sys.executable, "-m", "toowl", *args],
        env=sandbox.env,
        cwd=sandbox.root,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def numbers(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


# -- run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [True, False], ids=["persistent", "standard"])
@pytest.mark.parametrize(("end", "status"), [("exit 3", 3), ("exit 0", 0), ("kill -TERM $$", 143)])
def test_run_exits_as_its_command_does(sandbox: Sandbox, flag: bool, end: str, status: int) -> None:
    sandbox.up(flag)
    done = sandbox.toowl("run", "--", "sh", "-c", f"seq 1000; {end}", check=False)
    assert (done.stdout.encode(), done.stderr, done.returncode) == (numbers(1000), "", status)


def test_run_of_what_is_not_there(sandbox: Sandbox) -> None:
    sandbox.up()
    done = sandbox.toowl("run", "--", "/no/such", check=False)
    assert done.returncode == 1 and "/no/such" in done.stderr and done.stderr.count("\n") == 1
    for wrong in (["run"], ["run", "make"], ["run", "--resume", "x", "--", "make"]):
        assert sandbox.toowl(*wrong, check=False).returncode == 2


def test_bytes_as_they_are_and_lines_as_in_a_file(sandbox: Sandbox) -> None:
    sandbox.up()
    command = ["--", "printf", r"a\r\rb\n\033[6nc\r"]
    assert sandbox.toowl("run", "--raw", *command).stdout == "a\r\rb\r\n\x1b[6nc\r"
    assert sandbox.toowl("run", *command).stdout == "a\r\rb\n\x1b[6nc\r"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_session_and_resume_prints_the_rest(
    sandbox: Sandbox, number: signal.Signals, tmp_path: Path
) -> None:
    sandbox.up()
    first = tmp_path / "first"
    with first.open("wb") as file:
        caller = start(
            sandbox, "run", "-n", "build", "--", "sh", "-c", "seq 1000; read x; seq 1001 2000; exit 5",
            stdout=file,
        )  # fmt: skip
        wait_for(lambda: first.read_bytes().endswith(b"\n1000\n"), what="the first half")
        busy = sandbox.toowl("run", "--resume", "build", check=False)
        assert busy.returncode == 4 and "another toowl run" in busy.stderr
        caller.send_signal(number)
        _, said = caller.communicate(timeout=DEADLINE)
    assert caller.returncode == 128 + number
    assert said == b"toowl: session build goes on: `toowl run --resume build` prints the rest\n"
    sandbox.send("build", b"x\n")
    done = sandbox.toowl("run", "--resume", "build", check=False)
    assert done.returncode == 5
    echo = "x\n"
    assert first.read_bytes() + done.stdout.replace(echo, "", 1).encode() == numbers(2000)
    again = sandbox.toowl("run", "--resume", "build", check=False)
    assert (again.stdout, again.returncode) == ("", 5)


def test_a_closed_pipe_leaves_the_session(sandbox: Sandbox) -> None:
    sandbox.up()
    script = "stty -echo; seq 50000; read x; exit 6"  # what is typed may come at any moment
    caller = start(sandbox, "run", "-n", "build", "--", "sh", "-c", script)
    assert caller.stdout is not None
    head = caller.stdout.read(5000)
    caller.stdout.close()
    with caller:
        assert caller.stderr is not None and b"--resume build" in caller.stderr.read()
    assert caller.returncode == 141
    sandbox.send("build", b"\n")
    rest = sandbox.toowl("run", "--resume", "build", check=False)
    assert rest.returncode == 6
    # What stood in the pipe when it was closed is its reader's loss; nothing comes twice.
    whole = numbers(50000)
    assert whole.startswith(head) and whole.endswith(rest.stdout.encode())
    assert len(whole) - len(rest.stdout) >= len(head)


def test_killed_and_resumed_again_and_again_each_byte_comes_once(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.up()
    script = (
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 1000)) = 0 ] && sleep 0.1; done; exit 7"
    )
    target = tmp_path / "output"
    args: Sequence[str] = ("-n", "build", "--", "sh", "-c", script)
    with target.open("ab") as file:
        for wanted in (b"\n100\n", b"\n1100\n"):
            caller = start(sandbox, "run", *args, stdout=file)
            wait_for(lambda wanted=wanted: wanted in target.read_bytes(), what="some of it")  # type: ignore[misc]
            caller.send_signal(signal.SIGINT)
            caller.communicate(timeout=DEADLINE)
            args = ("--resume", "build")
        sandbox.restart()
        last = start(sandbox, "run", "--resume", "build", stdout=file)
        assert last.wait(DEADLINE) == 7
        last.communicate()
    assert target.read_bytes() == numbers(3000)


def test_at_a_terminal_nothing_is_asked_of_it(sandbox: Sandbox) -> None:
    sandbox.up()
    terminal = sandbox.terminal("toowl", "run", "--", "printf", r"one\033[6ntwo\n")
    assert terminal.wait() == 0
    assert b"onetwo" in terminal.output


# -- wait ------------------------------------------------------------------------------------------------


def test_wait(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("sh", "-c", "echo rea''dy; read x; exit 9", name="work")
    found = sandbox.toowl("wait", "work", "--match", "^rea.y$", "--from", "0", "--timeout", "20")
    assert found.stdout == "ready\n"
    assert sandbox.toowl("wait", "work", "--input", "--timeout", "20").stdout == ""
    assert sandbox.toowl("wait", "work", "--idle", "0.2", "--timeout", "20").stdout == ""
    late = sandbox.toowl("wait", "work", "--match", "ready", "--timeout", "0.1", check=False)
    assert late.returncode == 124 and late.stderr == "toowl: session work: the time is over\n"
    waiting = start(sandbox, "wait", "work", "--exit")
    sandbox.send("work", b"\n")
    assert waiting.wait(DEADLINE) == 9
    waiting.communicate()
    over = sandbox.toowl("wait", "work", "--match", "ready", check=False)
    assert over.returncode == 10 and over.stderr == "toowl: session work has ended\n"
    assert sandbox.toowl("wait", "nobody", "--exit", check=False).returncode == 3
    wrong: list[list[str]] = [[], ["--exit", "--prompt"], ["--exit", "--from", "0"], ["--match", "["],
                              ["--idle", "nan"], ["--match", "x", "--from", "y"]]  # fmt: skip
    for options in wrong:
        assert sandbox.toowl("wait", "work", *options, check=False).returncode == 2, options


# -- events ----------------------------------------------------------------------------------------------


def test_events(sandbox: Sandbox) -> None:
    sandbox.up()
    session = sandbox.new("sh", name="work")["id"]
    following = start(sandbox, "events", "work", "--json", "--since", "0")
    assert following.stdout is not None
    lines = [json.loads(following.stdout.readline()) for _ in range(2)]
    assert [line["event"] for line in lines] == ["created", "started"]
    sandbox.toowl("rename", "work", "play")
    line = json.loads(following.stdout.readline())
    assert (line["event"], line["before"], line["name"], line["session"]) == (
        "renamed",
        "work",
        "play",
        session,
    )
    following.send_signal(signal.SIGINT)
    assert following.wait(DEADLINE) == 130
    following.communicate()
    place = f"{line['run']}:{lines[0]['number']}"
    plain = start(sandbox, "events", "--since", place, "--only", "renamed")
    assert plain.stdout is not None
    words = plain.stdout.readline().split()
    assert words[1:] == [b"play", b"renamed", b"before=work"]
    plain.stdout.close()  # as `head` does: it is noticed at once, not with the next event
    with plain:
        assert plain.wait(DEADLINE) == 141
    assert sandbox.toowl("events", "--since", "x", check=False).returncode == 2
