"""Agents and environments of real terminals, followed by the shells of real sessions."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PAINTED, Sandbox, Terminal, need_program, wait_for
from toowl.shells import SHELLS, script
from toowld.paths import answers

DETACH = b"\x1cd"


@contextmanager
def agent(sandbox: Sandbox, name: str) -> Iterator[Path]:
    """A real ssh-agent that holds a key of that name."""
    need_program("ssh-agent", "ssh-add", "ssh-keygen")
    path = sandbox.root / f"agent-{name}"
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], env=sandbox.env, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(lambda: answers(str(path)), what="ssh-agent")
            key = sandbox.root / f"key-{name}"
            if not key.exists():
                subprocess.run(
                    ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"key-{name}", "-f", key],
                    check=True,
                )
            environment = {**sandbox.env, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
            yield path
        finally:
            process.terminate()


class Inside:
    """The one shell of a session that is asked things, in plain sh, which has no integration."""

    def __init__(self, sandbox: Sandbox, **params: object) -> None:
        self.sandbox = sandbox
        info = sandbox.new("sh", name="work", **params)
        self.id: str = info["id"]
        self._asked = 0

    def listed(self) -> str:
        """What ssh-add finds."""
        self._asked += 1
        mark = f"<{self._asked}:"
        self.sandbox.send(self.id, f"echo '<'{self._asked}:$(ssh-add -l 2>&1)'>'\n".encode())
        text = wait_for(lambda: self._said(mark), what=mark)
        return text.partition(mark)[2].partition(">")[0]

    def _said(self, mark: str) -> str:
        text = self.sandbox.output(self.id).decode(errors="replace")
        return text if mark in text and ">" in text.partition(mark)[2] else ""

    def has(self, name: str) -> None:
        wait_for(lambda: f"key-{name} " in self.listed(), what=f"key-{name}")


def attach(sandbox: Sandbox, *options: str, **env: Any) -> Terminal:
    """A terminal that is attached."""
    texts: dict[str, Any] = {name: str(value) for name, value in env.items()}
    before = len(sandbox.info("work")["client_list"])
    terminal = sandbox.terminal("toowl", "attach", "work", *options, **texts)
    wait_for(lambda: len(sandbox.info("work")["client_list"]) > before, what="the attachment")
    terminal.expect(PAINTED)  # before that, a chord may come to the terminal's own line editor
    return terminal


def detach(terminal: Terminal) -> None:
    terminal.send(DETACH)
    terminal.wait()


def test_ssh_finds_the_agent_of_who_attached_last(sandbox: Sandbox) -> None:
    sandbox.up()
    with ExitStack() as agents:
        one, two, three = (agents.enter_context(agent(sandbox, name)) for name in ("one", "two", "three"))
        shell = Inside(sandbox, env={**sandbox.env, "SSH_AUTH_SOCK": str(one)})
        shell.has("one")
        second = attach(sandbox, SSH_AUTH_SOCK=two)
        shell.has("two")
        viewer = attach(sandbox, "--read-only", SSH_AUTH_SOCK=one)
        none = attach(sandbox)
        third = attach(sandbox, SSH_AUTH_SOCK=three)
        shell.has("three")
        assert str(three) in sandbox.toowl("info", "work").stdout
        detach(third)
        shell.has("two")
        for terminal in (second, none, viewer):
            detach(terminal)
        assert "key-two " in shell.listed(), "it answers still"
    assert "error" in shell.listed().lower(), "at once"
    problem = f"no agent: nobody answers at {two}"
    assert json.loads(sandbox.toowl("env", "work", "--json").stdout)["agent_problem"] == problem
    detach(attach(sandbox))
    wait_for(lambda: "none of those attached has one" in sandbox.toowl("info", "work").stdout)
    with agent(sandbox, "one") as one:
        kept = attach(sandbox, SSH_AUTH_SOCK=one)
        shell.has("one")
        sandbox.toowl("kill", "work")
        kept.wait()
    assert sandbox.paths.environment(shell.id).exists()
    sandbox.toowl("rm", "work")
    assert list(sandbox.paths.following.iterdir()) == []


def test_in_a_session_that_the_daemon_keeps(sandbox: Sandbox) -> None:
    sandbox.up(False)
    with agent(sandbox, "one") as one:
        shell = Inside(sandbox)
        attach(sandbox, SSH_AUTH_SOCK=one)
        shell.has("one")


def test_over_daemons_and_upgrades(sandbox: Sandbox) -> None:
    sandbox.up()
    with agent(sandbox, "one") as one, agent(sandbox, "two") as two:
        shell = Inside(sandbox)
        attach(sandbox, SSH_AUTH_SOCK=one)
        second = attach(sandbox, SSH_AUTH_SOCK=two)
        shell.has("two")
        sandbox.toowld("upgrade", "work")
        sandbox.kill9()
        detach(second)
        link = sandbox.paths.agent(shell.id)
        wait_for(lambda: link.readlink() == one, what="the one before")
        # Straight to the keeper, as no daemon is there.
        third = sandbox.terminal("toowl", "attach", "work", SSH_AUTH_SOCK=str(two), DISPLAY=":7")
        wait_for(lambda: link.readlink() == two, what="the third")
        assert "DISPLAY=:7" in sandbox.toowl("env", "work").stdout
        stale = sandbox.paths.environment("00000000")
        stale.touch()
        sandbox.up()
        assert not stale.exists()
        shell.has("two")
        detach(third)
        sandbox.toowl("restart", "--yes", "work")
        shell.has("one")


@pytest.mark.parametrize("kind", SHELLS)
def test_shells_take_over_what_the_last_terminal_has(sandbox: Sandbox, kind: str) -> None:
    """At the next prompt, by themselves; others are told how. A new name, too."""
    need_program(kind)
    sandbox.up()
    rc = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}[kind]
    path = sandbox.home / rc
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(kind))
    env = {**sandbox.env, "XDG_CONFIG_HOME": str(sandbox.home / ".config"), "DISPLAY": ":0"}
    session = sandbox.new(kind, "-i", name="work", env=env)["id"]
    value = "a'b c\\d\"e"
    detach(attach(sandbox, SSH_TTY=value))
    wait_for(lambda: sandbox.paths.environment(session).exists())
    sandbox.toowl("rename", "work", "play")
    wait_for(lambda: b"TOOWL_NAME=play" in sandbox.paths.environment(session).read_bytes())
    sandbox.send(session, b"\r" + b"""sh -c 'printf "<%s>" "$DISPLAY" "$SSH_TTY" "$TOOWL_NAME"'\r""")
    wait_for(lambda: f"<><{value}><play>".encode() in sandbox.output(session))
    wait_for(lambda: b"[play] " in sandbox.output(session))
    # In a shell that has no integration.
    (sandbox.root / "taken").write_text(sandbox.toowl("env", "play", "--shell", kind).stdout)
    done = subprocess.run(
        [kind, "-c", f'. {sandbox.root}/taken; printf \'<%s>\' "$DISPLAY" "$SSH_TTY"'],
        env={
            **env,
            "ZDOTDIR": "/nonexistent",
            "HOME": str(sandbox.root),
            "XDG_CONFIG_HOME": str(sandbox.root),
        },
        capture_output=True,
        check=True,
    )
    assert done.stdout == f"<><{value}>".encode()
    found = json.loads(sandbox.toowl("env", "play", "--json").stdout)["environment"]
    assert found["SSH_TTY"] == value and found["DISPLAY"] is None
    assert os.fsencode(value) not in sandbox.daemon_output.read_bytes()


def test_nobody_was_attached_yet(sandbox: Sandbox) -> None:
    sandbox.up()
    session = sandbox.new("cat", name="work")["id"]
    done = sandbox.toowl("env", TOOWL_SESSION=session)
    assert done.stdout == "" and "agent" not in sandbox.toowl("info", "work").stdout
    assert "nobody who may type was attached yet" in done.stderr
    assert json.loads(sandbox.toowl("env", "work", "--json").stdout)["environment"] == {}
    assert sandbox.toowl("env", check=False).returncode == 2
    assert sandbox.toowl("env", "nobody", check=False).returncode == 3


def test_what_is_followed_can_be_set(sandbox: Sandbox) -> None:
    sandbox.configure('[environment]\nagent = false\nfollow = ["KITTY_PID", "SSH_AUTH_SOCK"]\n')
    sandbox.up()
    session = sandbox.new("sh", name="work", env={**sandbox.env, "SSH_AUTH_SOCK": "/old"})["id"]
    terminal = attach(sandbox, KITTY_PID=7, SSH_AUTH_SOCK="/new", DISPLAY=":1")
    wait_for(lambda: sandbox.paths.environment(session).exists())
    found = json.loads(sandbox.toowl("env", "work", "--json").stdout)["environment"]
    assert found == {"KITTY_PID": "7", "SSH_AUTH_SOCK": "/new"}
    terminal.send('echo "<$SSH_AUTH_SOCK>"\r')
    terminal.expect("</old>")
    sandbox.configure("")
    sandbox.toowld("reload")
    detach(terminal)
    detach(attach(sandbox, SSH_AUTH_SOCK="/new", DISPLAY=":1"))
    wait_for(lambda: b"DISPLAY=:1" in sandbox.paths.environment(session).read_bytes())
    assert b"SSH_AUTH" not in sandbox.paths.environment(session).read_bytes()
