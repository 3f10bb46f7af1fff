"""Completion in real shells: bash, zsh and fish, each asked what it offers."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.client.scripted import ScriptedDaemon, session
from tests.harness import Sandbox, Terminal, need_program
from toowl.commands import COMMANDS
from toowl.completion import SHELLS, commands, script, valued

SESSIONS = [session(name="work"), session("91be0000", name="with space"), session("77770000")]


@pytest.fixture
def daemon(sandbox: Sandbox) -> Iterator[ScriptedDaemon]:
    # As installed: a program called toowl in PATH.
    folder = sandbox.root / "bin"
    folder.mkdir()
    program = folder / "toowl"
    program.write_text('#!/bin/sh\nexec python -m toowl "$@"\n')
    program.chmod(0o755)
    sandbox.env["PATH"] = f"{folder}:{sandbox.env['PATH']}"
    (sandbox.home / "docs").mkdir()
    (sandbox.home / "notes.txt").touch()
    for shell in SHELLS:
        (sandbox.home / f"c.{shell}").write_text(script(shell))
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": SESSIONS}}) as scripted:
        yield scripted


def _lines(sandbox: Sandbox, *argv: str) -> set[str]:
    done = subprocess.run(
        argv,
        env=sandbox.env,
        cwd=sandbox.home,
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines())


def bash(sandbox: Sandbox, line: str) -> set[str]:
    need_program("bash")
    words = shlex.split(line.rstrip()) + ([""] if line.endswith(" ") else [])
    code = (
        f"source ~/c.bash; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _toowl; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return _lines(sandbox, "bash", "--norc", "-c", code) - {""}


def fish(sandbox: Sandbox, line: str) -> set[str]:
    need_program("fish")
    found = _lines(sandbox, "fish", "--no-config", "-c", f"source ~/c.fish; complete -C {shlex.quote(line)}")
    return {line.split("\t")[0] for line in found}


#: What is typed, what must be offered, and what must not.
OFFERS = [
    ("toowl ", {"attach", "a", "new", "completion"}, {"work", "notes.txt"}),
    ("toowl att", {"attach"}, {"new"}),
    ("toowl attach ", {"work", "77770000"}, {"new", "notes.txt"}),
    ("toowl a wo", {"work"}, {"77770000"}),
    ("toowl a 2f", {"2f3a9c1b"}, {"work"}),
    ("toowl attach --read", {"--read-only"}, {"--no-replay"}),
    ("toowl attach --read-only ", {"work"}, set()),
    ("toowl attach work ", set(), {"work"}),
    ("toowl kill work 7", {"77770000"}, set()),
    ("toowl rename ", {"work"}, set()),
    ("toowl switch ", {"work"}, set()),
    ("toowl switch work 7", {"77770000"}, set()),
    ("toowl start work 7", {"77770000"}, set()),
    ("toowl reconnect work 7", {"77770000"}, set()),
    ("toowl tag ", {"work"}, set()),
    ("toowl config ", {"show", "check", "example"}, {"work"}),
    ("toowl send work ", set(), {"77770000"}),
    ("toowl ls --", {"--json", "--filter", "--sort"}, {"--names"}),
    ("toowl ls --sort ", {"active", "created", "name", "state"}, {"work"}),
    ("toowl logs -f ", {"work"}, set()),
    ("toowl logs -f work ", set(), {"77770000"}),
    ("toowl detach -f ", set(), {"work"}),
    ("toowl help at", {"attach"}, set()),
    ("toowl completion ", {"bash", "zsh", "fish"}, {"work"}),
    ("toowl export work --format ", {"2", "3"}, {"work"}),
    ("toowl export -o not", {"notes.txt"}, set()),
    ("toowl export -o notes.txt w", {"work"}, set()),
    ("toowl new -d -- seq", {"seq"}, {"work"}),
    ("toowl new -d -- cat no", {"notes.txt"}, set()),
]


@pytest.mark.parametrize(("line", "offered", "not_offered"), OFFERS, ids=[offer[0] for offer in OFFERS])
@pytest.mark.parametrize("shell", [bash, fish])
def test_offers(
    sandbox: Sandbox,
    daemon: ScriptedDaemon,
    shell: object,
    line: str,
    offered: set[str],
    not_offered: set[str],
) -> None:
    assert callable(shell)
    found = shell(sandbox, line)
    assert offered <= found
    assert not not_offered & found


def test_bash_quotes(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    assert bash(sandbox, "toowl attach wi") == {r"with\ space"}


def test_folders(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    assert bash(sandbox, "toowl new --cwd ") >= {"docs"}
    assert "docs/" in fish(sandbox, "toowl new --cwd do")


def interactive(sandbox: Sandbox, *argv: str) -> Terminal:
    terminal = Terminal(argv, {**sandbox.env, "PS1": "", "TERM": "xterm"}, sandbox.home, rows=40, cols=120)
    sandbox.terminals.append(terminal)
    return terminal


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("toowl att\t", "toowl attach "),
        ("toowl attach wo\t", "toowl attach work "),
        ("toowl attach 77\t", "toowl attach 77770000 "),
        ("toowl a --read\t", "toowl a --read-only "),
        ("toowl attach wi\t", "toowl attach with\\ space "),
        ("toowl completion zs\t", "toowl completion zsh "),
        ("toowl export --format 3 wo\t", "toowl export --format 3 work "),
        ("toowl export -o no\t", "toowl export -o notes.txt "),
        ("toowl kill work 77\t", "toowl kill work 77770000 "),
        ("toowl new --cwd do\t", "toowl new --cwd docs/"),
        ("toowl new -d -- cat no\t", "toowl new -d -- cat notes.txt "),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab(sandbox: Sandbox, daemon: ScriptedDaemon, shell: str, typed: str, wanted: str) -> None:
    """TAB pressed by a user: what the command line becomes is printed by the shell itself."""
    need_program(shell)
    load = {
        "bash": "bind 'set enable-bracketed-paste off'; source c.bash",
        "zsh": "autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste prompt_sp; source c.zsh",
    }[shell]
    argv = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    terminal = interactive(sandbox, *argv)
    terminal.send(f"{load}; echo read''y\n")
    terminal.expect("ready\r\n")
    # Another word, and at the beginning of the line what makes it a harmless command that prints its words.
    terminal.send(typed + "end\x01printf '<%s>' \n")
    words = shlex.split(wanted.rstrip() + (" end" if wanted.endswith(" ") else "end"))
    terminal.expect("".join(f"<{word}>" for word in words))


def test_zsh_from_fpath(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    need_program("zsh")
    folder = sandbox.home / "functions"
    folder.mkdir()
    (folder / "_toowl").write_text(script("zsh"))
    terminal = interactive(sandbox, "zsh", "-f", "-i")
    terminal.send(
        "fpath=(~/functions $fpath); autoload -Uz compinit; compinit -u -D; unsetopt prompt_sp; echo read''y\n"
    )
    terminal.expect("ready\r\n")
    terminal.send("toowl attach wo\tend\x01printf '<%s>' \n")
    terminal.expect("<toowl><attach><work><end>")


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_what_the_command_prints(sandbox: Sandbox, shell: str) -> None:
    assert sandbox.toowl("completion", shell).stdout == script(shell)
    need_program(shell)
    (sandbox.root / "script").write_text(script(shell))
    subprocess.run([shell, "-n", str(sandbox.root / "script")], check=True)


def test_unknown_shell(sandbox: Sandbox) -> None:
    done = sandbox.toowl("completion", "tcsh", check=False)
    assert done.returncode == 2
    assert "fish" in done.stderr and done.stderr.count("\n") == 1


def test_no_daemon_is_no_noise(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    sandbox.env["TOOWL_RUNTIME_DIR"] = str(sandbox.root / "nowhere")
    sandbox.env["TOOWL_NO_AUTOSTART"] = ""
    assert bash(sandbox, "toowl attach ") == set()
    assert fish(sandbox, "toowl attach ") == set()
    assert not (sandbox.root / "nowhere").exists()


def test_everything_is_known() -> None:
    found = commands()
    assert [command.words[0] for command in found] == list(COMMANDS)
    assert {"export:-o", "new:--cwd", "capture:--lines", "ls:-f"} <= set(valued(found))
    assert not {"ls:--json", "logs:-f"} & set(valued(found))
