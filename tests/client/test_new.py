"""`toowl new`: what a session is asked for with, and which mistakes are told before. The daemon is scripted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.client.scripted import ScriptedDaemon, one_line, run, session
from tests.harness import Sandbox


def test_new_detached(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": ['the name "work" is taken: it is called work-1']}
    argv = [
        "new",
        "-d",
        "-n",
        " work ",
        "--cwd",
        "sub/../x",
        "--env",
        "A=b=c",
        "--persistent",
        "--",
        "sh",
        "-c",
        "--",
        "x y",
    ]
    status, out, err = run(
        sandbox, *argv, KEEP="me", NOTIFY_SOCKET="/x", LISTEN_FDS="1", WATCHDOG_PID="1", TOOWL_SESSION="z"
    )
    assert (status, out) == (0, "2f3a9c1b\n")
    assert err == 'toowl: the name "work" is taken: it is called work-1\n'
    params = daemon.params("new")
    assert params["argv"] == ["sh", "-c", "--", "x y"]
    assert params["name"] == "work"
    assert params["cwd"] == str(sandbox.root / "x")
    assert params["persistent"] is True
    assert (params["rows"], params["cols"]) == (24, 80)
    env = params["env"]
    assert env["KEEP"] == "me" and env["A"] == "b=c" and env["LANG"] == sandbox.env["LANG"]
    assert not [name for name in env if name.startswith(("TOOWL", "NOTIFY", "LISTEN", "WATCHDOG"))]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {"argv": None, "name": None, "persistent": None, "size_policy": None}),
        (["--size", "latest"], {"size_policy": "latest"}),
        (["-n", "  ", "--standard"], {"name": None, "persistent": False}),
    ],
)
def test_new_defaults(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], expected: dict[str, Any]
) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    assert run(sandbox, "new", "-d", *argv) == (0, "2f3a9c1b\n", "")
    assert expected.items() <= daemon.params("new").items()
    assert daemon.params("new")["cwd"] == str(sandbox.root)


def test_new_passes_bytes_that_are_not_utf8(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    env = {**{os.fsencode(k): os.fsencode(v) for k, v in sandbox.env.items()}, b"ODD": b"\xff"}
    subprocess.run(
        [sys.executable, "-m", "toowl", "new", "-d", "--", b"\xfe"], env=env, check=True, capture_output=True
    )
    assert daemon.params("new")["env"]["ODD"] == b"\xff"
    assert daemon.params("new")["argv"] == [b"\xfe"]


def test_new_keeps_the_links_of_the_folder(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    (sandbox.root / "link").symlink_to(sandbox.home)
    subprocess.run(
        ["sh", "-c", f"cd link && exec {sys.executable} -m toowl new -d"],
        env=sandbox.env, cwd=sandbox.root, check=True, capture_output=True,
    )  # fmt: skip
    assert daemon.params("new")["cwd"] == str(sandbox.root / "link")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["-d", "vim"], "--"),
        (["-d", "--"], "shell"),
        (["-d", "--", ""], "shell"),
        (["-d", "--env", "A"], "K=V"),
        (["-d", "--env", "=x"], "K=V"),
        (["-d", "--persistent", "--standard"], "not allowed"),
        (["-d", "--size", "120x40"], "smallest"),
        ([], "toowl new -d"),  # no terminal here
    ],
)
def test_new_mistakes(sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], hint: str) -> None:
    status, out, err = run(sandbox, "new", *argv)
    assert (status, out) == (2, "")
    assert one_line(err) and hint in err
    assert daemon.asked == []  # nothing was made


def test_new_in_a_folder_that_is_gone(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    code = "import os, toowl.cli as c; os.mkdir('g'); os.chdir('g'); os.rmdir('../g'); raise SystemExit(c.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "new", "-d"],
        env=sandbox.env,
        cwd=sandbox.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--cwd" in done.stderr and one_line(done.stderr)
