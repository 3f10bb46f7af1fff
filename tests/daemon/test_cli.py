"""What the commands of ``toowld`` do where the terminal or the output is not as they like it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness import Sandbox


@pytest.mark.parametrize("answer", ["n\r", "\r", "\x04"], ids=["no", "nothing", "end of file"])
def test_stop_asks_and_takes_no_for_an_answer(sandbox: Sandbox, answer: str) -> None:
    sandbox.up(False)
    sandbox.new("sleep", "999", name="work")
    terminal = sandbox.terminal("toowld", "stop")
    terminal.expect("1 standard session will end with the daemon. Stop it? [y/N] ")
    terminal.send(answer)
    terminal.expect("toowld: the daemon was not stopped")
    assert terminal.wait() == 4
    assert "Traceback" not in terminal.text
    assert sandbox.info("work")["state"] == "running"


def test_stop_takes_yes_for_an_answer(sandbox: Sandbox) -> None:
    sandbox.up(False)
    sandbox.new("sleep", "999", name="work")
    terminal = sandbox.terminal("toowld", "stop")
    terminal.expect("[y/N] ")
    terminal.send("y\r")
    assert terminal.wait() == 0
    assert sandbox.daemon is not None
    assert sandbox.daemon.wait(20) == 0


@pytest.mark.parametrize(
    "command", [("status",), ("status", "--json"), ("doctor",), ("install", "--dry-run")], ids=" ".join
)
def test_output_that_can_not_be_written_is_told_in_one_line(
    sandbox: Sandbox, command: tuple[str, ...]
) -> None:
    sandbox.up()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "toowld", *command],
            env=sandbox.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("toowld: can't write what there is to say: No space left on device: ")
