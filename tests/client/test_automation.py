"""``toowl run``, ``wait`` and ``events``, as scripts use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.harness import DEADLINE, PAINTED, Sandbox, wait_for


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
    for name, told in (
        ("end", "there is no event 'end': did you mean 'ended'?"),
        ("idle", "--only idle needs --idle S, as that is told to those who ask for it"),
    ):
        refused = sandbox.toowl("events", "work", "--only", name, check=False)
        assert (refused.returncode, refused.stderr) == (2, f"toowl: {told}\n"), "nobody waits for ever"


def test_events_of_sessions_that_fit(sandbox: Sandbox) -> None:
    """Those that come later, too; and the one by which a session fits no more."""
    sandbox.up()
    sandbox.new("sh", name="other")
    typo = sandbox.toowl("events", "-f", "stat=running", check=False)
    assert typo.returncode == 2 and "did you mean 'state'?" in typo.stderr
    assert "tag.job is a tag" in sandbox.toowl("events", "-f", "job=17", check=False).stderr
    tagged = start(sandbox, "events", "-f", "tag.job=17", "--json", "--since", "0")
    running = start(
        sandbox, "events", "-f", "state=running", "-f", "name=w*", "--only", "tagged", "--only", "ended",
        "--since", "0",
    )  # fmt: skip
    assert tagged.stdout is not None and running.stdout is not None
    told: list[dict[str, Any]] = []

    def until(name: str, event: str) -> list[str]:
        """What is told up to that, of events that have a session."""
        del told[:]
        while not told or (told[-1]["name"], told[-1]["event"]) != (name, event):
            told.append(json.loads(tagged.stdout.readline()))  # type: ignore[union-attr]
        return [line["event"] for line in told if line["event"] != "missed"]

    sandbox.new("sh", name="work")
    sandbox.toowl("tag", "work", "job=17")
    until("work", "tagged")
    assert b"work  tagged" in running.stdout.readline()
    sandbox.restart()
    sandbox.toowl("rename", "work", "work2")
    until("work2", "renamed")
    sandbox.toowl("tag", "work2", "job=18")
    assert until("work2", "tagged") == ["tagged"]
    sandbox.toowl("rename", "work2", "work3")
    sandbox.toowl("tag", "other", "job=17")
    assert until("other", "tagged") == ["tagged"]  # and not how the other one was renamed
    sandbox.toowl("tag", "work3", "job=17")
    assert until("work3", "tagged") == ["tagged"]
    sandbox.toowl("kill", "--force", "work3")
    sandbox.toowl("rm", "work3")
    assert until("work3", "removed") == ["ended", "removed"]
    assert b"work3  ended" in next(line for line in iter(running.stdout.readline, b"") if b"  ended" in line)
    for following in (tagged, running):
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=DEADLINE)


# -- the screen ------------------------------------------------------------------------------------------


def test_wait_for_what_a_full_screen_program_draws(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("sh", "-c", r"printf '\033[?1049h\033[5;3Hchoose'; read x; exit 3", name="work")
    found = sandbox.toowl("wait", "work", "--screen", "^  choose$", "--timeout", "20")
    assert found.stdout == "  choose\n"
    late = sandbox.toowl("wait", "work", "--match", "choose", "--from", "0", "--timeout", "0.1", check=False)
    assert late.returncode == 124
    for options in (["--screen", "["], ["--screen", "x", "--from", "0"], ["--screen", "x", "--exit"]):
        assert sandbox.toowl("wait", "work", *options, check=False).returncode == 2, options


# -- objects for scripts ---------------------------------------------------------------------------------


def test_objects(sandbox: Sandbox) -> None:
    sandbox.up()

    def ask(*argv: str, status: int = 0) -> Any:
        done = sandbox.toowl(*argv, check=False)
        assert (done.returncode, done.stderr) == (status, "")
        return json.loads(done.stdout)

    made = ask("new", "-d", "--json", "-n", "work", "--", "bash", "--norc")
    assert (made["name"], made["state"]) == ("work", "running") and "notices" not in made
    assert ask("new", "--awaiting", "--json")["state"] == "awaiting"
    assert ask("wait", "work", "--input", "--timeout", "20", "--json")["reason"] == "met"
    assert ask("exec", "--json", "work", "echo a; echo b; (exit 4)", status=4) == {
        "output": "a\nb\n",
        "exit_status": 4,
        "timed_out": False,
    }
    late = sandbox.toowl("exec", "--json", "--timeout", "1", "work", "echo x; read y", check=False)
    assert json.loads(late.stdout)["timed_out"] is True and late.returncode == 124
    sandbox.send("work", b"\n")
    assert ask("rename", "work", "play", "--json")["name"] == "play"
    found = ask("wait", "play", "--match", "^b$", "--from", "0", "--timeout", "20", "--json")
    assert (found["reason"], found["line"], found["ended"]) == ("met", "b", None)
    assert (
        ask("wait", "play", "--match", "^c$", "--timeout", "0.1", "--json", status=124)["reason"] == "timeout"
    )
    sandbox.send("play", b"exit 9\n")
    ended = {"reason": "exited", "code": 9, "signal": None, "exit_status": 9}
    assert ask("wait", "play", "--exit", "--json", status=9)["ended"] == ended
    assert ask("wait", "play", "--match", "x", "--json", status=10)["ended"] == ended
    logged = [json.loads(line) for line in sandbox.toowl("logs", "play", "--json").stdout.splitlines()]
    assert "b" in [line["line"] for line in logged] and logged[0]["time"] > made["created_at"] - 60
    assert sandbox.toowl("logs", "play", "-f", "--json").stdout.count("\n") == len(logged)
    assert ask("set", "play", "--json")["defaults.size"]["value"] == "smallest"
    assert set(ask("version", "--json")) == {"version"}
    assert sandbox.toowl("new", "--json", check=False).returncode == 2


def test_what_is_done_as_objects(sandbox: Sandbox) -> None:
    sandbox.up()

    def lines(*argv: str) -> list[Any]:
        done = sandbox.toowl(*argv)
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()]

    for name in ("one", "two"):
        sandbox.toowl("new", "--awaiting", "-n", name, "--", "cat")
    started = lines("start", "one", "two", "--json")
    assert [(made["name"], made["state"]) for made in started] == [("one", "running"), ("two", "running")]
    assert "notices" not in started[0]
    assert lines("tag", "one", "ci=main", "--json")[0]["tags"] == {"ci": "main"}
    assert lines("tag", "one", "--json") == [{"ci": "main"}]
    assert lines("tag", "two", "--name", "three", "--json")[0]["name"] == "three"
    assert [made["name"] for made in lines("reconnect", "one", "--json")] == ["one"]
    terminal = sandbox.attach_pty("one")
    terminal.expect(PAINTED)
    (switched,) = lines("switch", "one", "three", "--json")
    assert (switched["asked"], switched["to"]["name"]) == (1, "three")
    wait_for(lambda: sandbox.info("three")["clients"])
    assert lines("detach", "three", "--json") == [{"session": "three", "detached": 1}]
    assert terminal.wait() == 0
    assert lines("detach", "three", "--all", "--json") == [{"session": "three", "detached": 0}]
    again = json.loads(sandbox.toowl("restart", "one", "--yes", "--json").stdout)
    assert again["id"] == started[0]["id"] and again["pid"] != started[0]["pid"]
    os.kill(sandbox.custodians()[started[0]["id"]], signal.SIGKILL)
    wait_for(lambda: sandbox.info("one")["state"] == "ended")
    assert [lost["name"] for lost in json.loads(sandbox.toowl("restore", "--json").stdout)] == ["one"]
    assert [(back["name"], back["state"]) for back in lines("restore", "one", "--json")] == [
        ("one", "running")
    ]
    killed = lines("kill", "-f", "ci=main", "--yes", "--json")
    assert [(made["name"], made["state"]) for made in killed] == [("one", "ended")]
    mixed = sandbox.toowl("rm", "nobody", "one", "--json", check=False)
    assert json.loads(mixed.stdout) == {"id": started[0]["id"], "name": "one"}
    assert json.loads(mixed.stderr) | {"text": ""} == {
        "error": "not-found",
        "text": "",
        "exit_status": 3,
        "session": "nobody",
    }
    assert mixed.returncode == 3


def test_errors_as_objects(sandbox: Sandbox) -> None:
    sandbox.up()
    wrong: list[tuple[list[str], str, int]] = [
        (["info", "nobody", "--json"], "not-found", 3),
        (["wait", "nobody", "--exit", "--json"], "not-found", 3),
        (["exec", "--json", "nobody", "true"], "not-found", 3),
        (["ls", "--json", "x"], "usage", 2),
        (["new", "-d", "--json", "--", "/no/such"], "spawn-failed", 1),
    ]
    for argv, error, status in wrong:
        done = sandbox.toowl(*argv, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), argv
        told = json.loads(done.stderr)
        assert told == {"error": error, "text": told["text"], "exit_status": status}
    for argv in (
        ["exec", "nobody", "jq", "--json"],
        ["run", "--", "/no/such", "--json"],
    ):  # which is not for us
        assert sandbox.toowl(*argv, check=False).stderr.startswith("toowl: ")
