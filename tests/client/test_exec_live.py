"""`toowl exec` in real shells, with marks and without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.daemon.steps import displayed, stopped
from tests.harness import Sandbox, need_program, wait_for
from toowl.cli import main
from toowl.foreground import foreground
from toowl.shells import SHELLS, script

_SETTINGS = {
    "bash": (".bashrc", "PS1='$ '"),
    "zsh": (".zshrc", "PS1='%# '"),
    "fish": (".config/fish/config.fish", "set fish_greeting"),
}
_STARTS = {"bash": ["bash", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i"], "sh": ["dash", "-i"]}

#: Every shell without marks, and with them where there are any.
KINDS = [(kind, False) for kind in (*SHELLS, "sh")] + [(kind, True) for kind in SHELLS]


class Exec:
    """``toowl exec``, in this process: there are many of them."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def with_options(self, *argv: str) -> subprocess.CompletedProcess[str]:
        self._capture.readouterr()
        status = main(["exec", *argv])
        out, err = (data.decode() for data in self._capture.readouterr())
        return subprocess.CompletedProcess(argv, status, out, err)

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.with_options("x", *command)


@pytest.fixture
def run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Exec:
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TOOWL_SESSION", raising=False)
    return Exec(capfdbinary)


def start(sandbox: Sandbox, kind: str, marked: bool, more: str = "") -> None:
    """A session called x with a shell in it."""
    need_program(_STARTS[kind][0])
    sandbox.up()
    env = {**sandbox.env, "XDG_CONFIG_HOME": str(sandbox.home / ".config"), "HISTFILE": ""}
    if kind in _SETTINGS:
        name, text = _SETTINGS[kind]
        path = sandbox.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n{more}\n{script(kind) if marked else ''}")
    sandbox.new(*_STARTS[kind], name="x", env=env)


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("kind", "marked"), KINDS)
def test_output_and_status(sandbox: Sandbox, run: Exec, kind: str, marked: bool) -> None:
    """Nothing but the output, whatever is in the command, and the exit status of it."""
    start(sandbox, kind, marked)
    assert output(run("echo", "one")) == "one\n"
    assert output(run("printf", "'%s\\n'", "'a  b'", "c")) == "a  b\nc\n"
    assert output(run("true")) == ""
    failed = run("sh -c 'echo out; echo err >&2; exit 42'")
    assert (failed.returncode, failed.stdout, failed.stderr) == (42, "out\nerr\n", "")
    assert run("false").returncode == 1
    assert output(run("printf half")) == "half"
    # In that very shell: what one command changes, the next one finds.
    run("cd /tmp")
    assert output(run("pwd")) == "/tmp\n"
    # What its editor, its history or the echo would make something else of.
    odd = """printf '%s|' 'a!b' "c'd" 'e\\f' 'tab\t' 'ü' '$HOME `x` '"""
    assert output(run(odd)) == "a!b|c'd|e\\f|tab\t|ü|$HOME `x` |"
    assert output(run("echo first\necho second")) == "first\nsecond\n"
    long = "x" * 700
    assert output(run(f"echo {long}")) == f"{long}\n"
    # An error is one, and the shell is as usable as before.
    assert run("echo (" if kind != "fish" else "end").returncode not in (0, 124)
    assert output(run("echo still")) == "still\n"
    many = output(run("seq 20000"))
    assert many == "".join(f"{number}\n" for number in range(1, 20001))


@pytest.mark.parametrize(("kind", "marked"), [("bash", False), ("zsh", True), ("fish", True), ("sh", False)])
def test_what_was_begun_there_does_not_run(sandbox: Sandbox, run: Exec, kind: str, marked: bool) -> None:
    start(sandbox, kind, marked)
    assert output(run("echo one")) == "one\n"
    sandbox.send("x", b"touch begun; ")
    wait_for(lambda: b"begun" in sandbox.output(sandbox.info("x")["id"]))
    assert output(run("echo two")) == "two\n"
    assert not (sandbox.home / "begun").exists()


@pytest.mark.parametrize(("kind", "marked"), KINDS)
def test_what_was_begun_there_on_several_lines_does_not_run(
    sandbox: Sandbox, run: Exec, kind: str, marked: bool
) -> None:
    """The shell waits for the end of a text, and would take the command for more of that."""
    start(sandbox, kind, marked)
    assert output(run("echo one")) == "one\n"
    sandbox.send("x", b"touch begun 'a\rQ")
    wait_for(lambda: b"Q" in sandbox.output(sandbox.info("x")["id"]))
    assert output(run("echo two")) == "two\n"
    if marked and kind != "fish":
        typed_into_it = sandbox.output(sandbox.info("x")["id"]).partition(b"Q")[2].partition(b"\x1b]133;A")[0]
        assert b"two" not in typed_into_it, "a quote in a command might end the text, and all of it be run"
    assert output(run("echo three")) == "three\n"
    assert not (sandbox.home / "begun").exists()


@pytest.mark.parametrize(("kind", "marked"), [("bash", True), ("fish", False), ("sh", False)])
def test_a_shell_that_is_busy(sandbox: Sandbox, run: Exec, kind: str, marked: bool) -> None:
    start(sandbox, kind, marked)
    assert output(run("echo one")) == "one\n"
    sandbox.send("x", b"cat\r")
    pid = sandbox.info("x")["pid"]
    wait_for(lambda: foreground(pid).name == "cat")
    wait_for(lambda: not marked or sandbox.info("x")["prompt"] == "command")
    refused = run.with_options("--timeout", "0.2", "x", "echo two")
    assert refused.returncode == 4 and refused.stdout == "" and refused.stderr.count("\n") == 1
    assert ("a command runs there" if marked else "cat runs there, no shell") in refused.stderr
    sandbox.send("x", b"\x04")
    assert output(run("echo four")) == "four\n"


def test_a_timeout_leaves_it_running(sandbox: Sandbox, run: Exec) -> None:
    start(sandbox, "bash", True)
    assert output(run("echo one")) == "one\n"
    gate = sandbox.root / "gate"
    done = run.with_options("--timeout", "2", "x", f"echo a; until [ -e {gate} ]; do sleep 0.05; done")
    assert (done.returncode, done.stdout) == (124, "a\n")
    assert done.stderr == 'toowl: session "x": the command still runs after 2 s\n'
    gate.touch()
    assert output(run("echo two")) == "two\n"


@pytest.mark.parametrize(("kind", "marked"), [("bash", False), ("bash", True), ("sh", False)])
def test_somebody_stops_it(sandbox: Sandbox, run: Exec, kind: str, marked: bool) -> None:
    start(sandbox, kind, marked)
    assert output(run("echo one")) == "one\n"
    with subprocess.Popen(
        [sys.executable, "-m", "toowl", "exec", "x", "echo begun; sleep 1000"],
        env=sandbox.env,
        stdout=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == b"begun\n", "as it comes"
        pid = sandbox.info("x")["pid"]
        wait_for(lambda: foreground(pid).name == "sleep")  # a Ctrl-C before is the shell's, which may go on
        sandbox.send("x", b"\x03")
        assert waiting.wait(20) == 130
    assert output(run("echo two")) == "two\n"


def test_a_shell_within(sandbox: Sandbox, run: Exec) -> None:
    """One that makes no marks, in one that does; and a terminal looks on."""
    start(sandbox, "bash", True)
    assert output(run("echo one")) == "one\n"
    terminal = sandbox.attach_pty("x")
    terminal.expect("one")
    terminal.send("bash --norc\r")
    pid = sandbox.info("x")["pid"]
    wait_for(lambda: foreground(pid).pid not in (0, pid) and sandbox.info("x")["prompt"] == "command")
    assert output(run("echo $SHLVL; ps -o args= $$")) == "2\nbash --norc\n"
    terminal.expect("bash --norc\r\n", count=2)
    terminal.send("exit\r")
    wait_for(lambda: sandbox.info("x")["prompt"] == "prompt")
    assert output(run("echo $SHLVL; ps -o args= $$")) == "1\nbash -i\n"


def test_a_plain_shell_within(sandbox: Sandbox, run: Exec) -> None:
    """The kernel tells when it waits for a line, and when a command in it reads one."""
    start(sandbox, "bash", True)
    assert output(run("echo one")) == "one\n"
    sandbox.send("x", b"dash\r")
    assert output(run("ps -o args= $$")) == "dash\n"
    sandbox.send("x", b"echo as''ks; read answer\r")
    wait_for(lambda: b"asks" in sandbox.output(sandbox.info("x")["id"]))
    assert "a command runs there" in run.with_options("--timeout", "0.2", "x", "echo two").stderr
    sandbox.send("x", b"it\r")
    assert output(run("echo three")) == "three\n"
    run("exit")
    assert output(run("ps -o args= $$")) == "bash -i\n"


def test_who_waits_goes(sandbox: Sandbox, run: Exec) -> None:
    start(sandbox, "bash", True)
    gate = sandbox.root / "gate"
    os.mkfifo(gate)
    with subprocess.Popen(
        [sys.executable, "-m", "toowl", "exec", "x", f"echo begun; cat {gate}"],
        env=sandbox.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == b"begun\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=20)[1] == b'toowl: session "x": the command goes on there\n'
        assert waiting.returncode == 130
    gate.write_text("")
    assert output(run("echo two")) == "two\n"


@pytest.mark.parametrize("marked", [False, True])
def test_over_a_restart_of_the_daemon(sandbox: Sandbox, run: Exec, marked: bool) -> None:
    start(sandbox, "bash", marked)
    gate = sandbox.root / "gate"
    os.mkfifo(gate)
    with subprocess.Popen(
        [sys.executable, "-m", "toowl", "exec", "x", f"echo begun; cat {gate}; (exit 5)"],
        env=sandbox.env,
        stdout=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == b"begun\n"
        sandbox.kill9()
        with gate.open("w") as writer:
            writer.write("printed meanwhile\n")
        assert waiting.stdout.readline() == b"printed meanwhile\n"
        assert waiting.wait(20) == 5
    sandbox.up()
    assert output(run("echo two")) == "two\n"


def test_the_end_of_the_shell(sandbox: Sandbox, run: Exec) -> None:
    start(sandbox, "bash", True)
    assert run("exit 7").returncode == 7
    wait_for(lambda: displayed(sandbox, "x").startswith("ended"))
    gone = run("echo one")
    assert gone.returncode == 4 and "is not running" in gone.stderr


def test_a_session_that_does_not_answer(sandbox: Sandbox, run: Exec) -> None:
    start(sandbox, "sh", False)
    with stopped(sandbox.info("x")["custodian_pid"]):
        refused = run("echo one")
        assert (refused.returncode, refused.stdout) == (4, "")
        assert refused.stderr == 'toowl: session "x" does not answer: `toowl reconnect x` tells more\n'
    wait_for(lambda: displayed(sandbox, "x") == "detached")
    assert output(run("echo two")) == "two\n"


def test_one_after_the_other(sandbox: Sandbox, run: Exec) -> None:
    start(sandbox, "bash", True)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "toowl", "exec", "x", f"echo {n}; sleep 0.1; echo {n}"],
            env=sandbox.env,
            stdout=subprocess.PIPE,
        )
        for n in range(3)
    ]
    for number, one in enumerate(running):
        with one:
            assert one.communicate(timeout=30)[0] == f"{number}\n{number}\n".encode()
            assert one.returncode == 0
    assert [path.suffix for path in sandbox.paths.following.glob("*.exec")] == [".exec"]
    sandbox.toowl("kill", "x")
    sandbox.toowl("rm", "x")
    assert list(sandbox.paths.following.iterdir()) == []


def test_as_it_is_and_what_can_not_be(sandbox: Sandbox, run: Exec, monkeypatch: pytest.MonkeyPatch) -> None:
    start(sandbox, "bash", True)
    raw = run.with_options("--raw", "x", r"printf '\033[31mred\033[m\n'").stdout
    assert raw == "\x1b[31mred\x1b[m\r\n"
    assert output(run(r"printf '\033[31mred\033[m\n'")) == "red\n"
    nothing = run("# nothing")
    assert nothing.returncode in (0, 4)
    for argv in (["x"], ["x", " "], [], ["--timeout", "soon", "x", "true"]):
        assert run.with_options(*argv).returncode == 2
    monkeypatch.setenv("TOOWL_SESSION", sandbox.info("x")["id"])
    inside = run("true")
    monkeypatch.delenv("TOOWL_SESSION")
    assert inside.returncode == 4 and "you are inside it" in inside.stderr
    assert run.with_options("nobody", "true").returncode == 3
    sandbox.new("cat", name="y")
    other = run.with_options("--timeout", "0.1", "y", "true")
    assert other.returncode == 4 and "cat runs there, no shell" in other.stderr
    forced = run.with_options("--force", "--timeout", "0.3", "y", "true")
    assert forced.returncode == 124 and "has not begun" in forced.stderr
