"""The frame of `toowl`: dispatch, exit status, and that no user sees a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.client.scripted import ScriptedDaemon, run, session
from tests.harness import Sandbox
from toowl import cli
from toowl.commands import ALIASES, COMMANDS
from toowld import __version__, errors


@pytest.mark.parametrize("argv", [["version"], ["--version"], ["-V"]])
def test_version(sandbox: Sandbox, argv: list[str]) -> None:
    assert run(sandbox, *argv) == (0, f"toowl {__version__}\n", "")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("atach", "did you mean 'attach'?"),
        ("xyzzy", "toowl help"),
        ("--frobnicate", "no option"),
        ("_default", "toowl"),
    ],
)
def test_unknown_command(sandbox: Sandbox, word: str, hint: str) -> None:
    status, out, err = run(sandbox, word)
    assert (status, out) == (2, "")
    assert err.startswith("toowl: ") and hint in err and err.count("\n") == 1


def test_aliases_lead_somewhere() -> None:
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert ALIASES["a"] == "attach"


@pytest.mark.parametrize(
    "error", [cls for cls in errors._all_subclasses(errors.ToowlError) if "code" in vars(cls)]
)
def test_every_error_has_its_exit_status(sandbox: Sandbox, error: type[errors.ToowlError]) -> None:
    answer = error("it did not work: try another")
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"info": answer}):
        status, out, err = run(sandbox, "info", "x")
    expected = 1 if error.code == "protocol" else error.exit_status
    assert (status, out, err) == (expected, "", "toowl: it did not work: try another\n")


def test_message_of_a_peer_is_made_safe(sandbox: Sandbox) -> None:
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"info": errors.ToowlError("bad \x1b[31m\nname")}):
        assert run(sandbox, "info", "x")[2] == "toowl: bad \\x1b[31m\\nname\n"


def test_a_bug_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def crash(argv: list[str]) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("toowl.commands.version.run", crash)
    monkeypatch.delenv("TOOWL_DEBUG", raising=False)
    assert cli.main(["version"]) == 1
    assert capsys.readouterr().err.startswith("toowl: internal error: ZeroDivisionError: oops")
    monkeypatch.setenv("TOOWL_DEBUG", "1")
    assert cli.main(["version"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("toowl.commands.version.run", interrupt)
    assert cli.main(["version"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_closed_streams(sandbox: Sandbox, closed: str) -> None:
    number = ["stdin", "stdout", "stderr"].index(closed)
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": [session()]}}):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {number}>&-', "sh", sys.executable, "-m", "toowl", "ls"],
            env=sandbox.env,
            capture_output=True,
            check=False,
        )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


def test_a_terminal_without_utf8(sandbox: Sandbox) -> None:
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": [session(name="é日")]}}):
        status, out, _ = run(sandbox, "ls", PYTHONIOENCODING="ascii")
    assert status == 0
    assert "\\xe9\\u65e5" in out


# -- reaching the daemon ----------------------------------------------------------------------------------

#: Commands that need a daemon, and never start one.
ASKING = [
    ["ls"], ["info", "x"], ["rename", "x", "y"], ["detach", "x"], ["kill", "x"], ["rm", "x"], ["restart", "x"],
    ["reconnect", "x"],
    ["resize", "x", "80x24"], ["send", "x", "y"],
]  # fmt: skip


@pytest.mark.parametrize("argv", ASKING, ids=" ".join)
def test_no_daemon(sandbox: Sandbox, argv: list[str]) -> None:
    status, out, err = run(sandbox, *argv, TOOWL_NO_AUTOSTART="")
    assert (status, out) == (5, "")
    assert err.count("\n") == 1
    assert str(sandbox.paths.daemon_socket) in err and "toowld --detach" in err and "toowld doctor" in err


def test_no_autostart(sandbox: Sandbox) -> None:
    status, out, err = run(sandbox, "new", "-d", TOOWL_NO_AUTOSTART="1")
    assert (status, out) == (5, "")
    assert "toowld --detach" in err


def fake_toowld(sandbox: Sandbox, code: str) -> dict[str, str]:
    """A package toowld that is found before the real one when it is run, but not when it is imported."""
    folder = sandbox.root / "fake"
    folder.mkdir()
    # site imports sitecustomize at every start: only `-m toowld` gets the other program.
    (folder / "sitecustomize.py").write_text(
        f"import os, sys\nif sys.orig_argv[1:3] == ['-m', 'toowld']:\n    exec({code!r})\n    os._exit(0)\n"
    )
    return {"PYTHONPATH": f"{folder}{os.pathsep}{sandbox.env['PYTHONPATH']}", "TOOWL_NO_AUTOSTART": "0"}


def test_autostart_failure_tells_why(sandbox: Sandbox) -> None:
    env = fake_toowld(
        sandbox,
        "import os, sys; print('something\\nno room left', file=sys.stderr); sys.stderr.flush(); os._exit(1)",
    )
    status, out, err = run(sandbox, "new", "-d", **env)
    assert (status, out) == (5, "")
    assert "could not be started (no room left)" in err and "toowld doctor" in err and err.count("\n") == 1


def test_autostart_is_called_as_it_should_be(sandbox: Sandbox) -> None:
    seen = sandbox.root / "seen"
    code = (
        "import os, sys\n"
        "said = f'{sys.orig_argv[1:]} {os.getcwd()} {sorted(os.environ)}'\n"
        f"with open({str(seen)!r}, 'w') as file: print(said, file=file)\n"
        "os._exit(1)"
    )
    env = fake_toowld(sandbox, code)
    run(
        sandbox,
        "new",
        "-d",
        TOOWL_SESSION="2f3a9c1b",
        NOTIFY_SOCKET="/x",
        TOOWLD_PERSISTENT_SESSIONS="1",
        **env,
    )
    text = seen.read_text()
    assert "['-m', 'toowld', '--detach'] / " in text
    assert "TOOWLD_PERSISTENT_SESSIONS" in text  # the gate is the caller's to open
    assert "TOOWL_SESSION" not in text and "NOTIFY_SOCKET" not in text
