"""Which shell runs in a session that was made without a command."""

from __future__ import annotations

import os
import pwd
import shutil

import psutil
import pytest

from tests.harness import Sandbox, wait_for

DASH = str(shutil.which("dash"))
OWN = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"


def shell_of(sandbox: Sandbox, session: str) -> tuple[str, str]:
    """The program that runs in a session, and what its environment says of the shell."""
    process = psutil.Process(sandbox.info(session)["pid"])
    wait_for(lambda: process.cmdline()[0].startswith("-"))  # it was execed
    return os.path.realpath(process.exe()), process.environ()["SHELL"]


@pytest.mark.parametrize(
    ("variable", "shell"),
    [(DASH, DASH), ("dash", OWN), ("/no/such/shell", OWN), ("/etc/passwd", OWN), ("/", OWN), ("", OWN)],
)
def test_the_one_of_the_environment(sandbox: Sandbox, variable: str, shell: str) -> None:
    sandbox.up()
    session = sandbox.toowl("new", "-d", SHELL=variable).stdout.strip()
    assert shell_of(sandbox, session) == (os.path.realpath(shell), shell)


def test_the_one_of_the_settings(sandbox: Sandbox) -> None:
    sandbox.configure('[defaults]\nshell = "dash"\n')
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "work", SHELL=OWN)
    assert shell_of(sandbox, "work") == (os.path.realpath(DASH), DASH)
    sandbox.toowl("set", "work", f"shell={OWN}")
    sandbox.toowl("restart", "work", "--yes")
    assert shell_of(sandbox, "work") == (os.path.realpath(OWN), OWN)


def test_one_that_can_not_be_started(sandbox: Sandbox) -> None:
    sandbox.configure('[defaults]\nshell = "no-such-shell"\n')
    sandbox.up()
    refused = sandbox.toowl("new", "-d", check=False)
    assert refused.returncode == 1 and "no-such-shell" in refused.stderr
    assert sandbox.toowl("new", "-d", "--", "true").returncode == 0
