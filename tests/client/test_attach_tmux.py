"""What `Modes` believes, against what a real terminal has: attach runs in tmux, which tells its state."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toowld import wire

_PATIENCE = 20.0
_DRIVER = Path(__file__).with_name("attach_driver.py")

#: What tmux can tell of a pane, and its state in a fresh one.
_FORMAT = (
    "#{alternate_on} #{mouse_any_flag} #{mouse_sgr_flag} #{cursor_flag} #{keypad_flag} #{keypad_cursor_flag} "
    "#{insert_flag} #{origin_flag} #{wrap_flag} #{scroll_region_upper} #{scroll_region_lower}"
)

_EVERYTHING = (
    b"\x1b[?1049h\x1b[?1003h\x1b[?1002h\x1b[?1006h\x1b[?25l\x1b=\x1b[?1h\x1b[4h\x1b[3;10r\x1b[?7l"
    b"\x1b[?2004h\x1b[1;31m\x1b(0"
)


class Tmux:
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "tmux"

    def run(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        env |= {"PYTHONPATH": str(_DRIVER.parents[2]), "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def state(self) -> str:
        return self.run("display-message", "-p", "-t", "0", _FORMAT).strip()

    def text(self) -> str:
        return self.run("capture-pane", "-p", "-e", "-t", "0")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as name:
        yield Path(name)


@pytest.fixture
def tmux(folder: Path) -> Iterator[Tmux]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    made = Tmux(folder)
    made.run("new-session", "-d", "-x", "80", "-y", "24", "env", "PS1=prompt:", "sh")
    yield made
    made.run("kill-server")


def wait_until(condition: Callable[[], bool], last: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain; at last {last()!r}"
        select.select([], [], [], 0.02)


def test_a_real_terminal_is_as_before(tmux: Tmux, folder: Path) -> None:
    wait_until(lambda: "prompt:" in tmux.text(), tmux.text)
    fresh = tmux.state()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(_PATIENCE)
        listener.bind(str(folder / "s"))
        listener.listen()
        tmux.run("send-keys", "-t", "0", f"{sys.executable} {_DRIVER} {folder}/s", "Enter")
        session, _ = listener.accept()
    with session:
        session.settimeout(_PATIENCE)
        for message in (wire.Hello(), wire.Attached(0, 0, 0, {"name": "work"})):
            session.sendall(wire.encode(message))
        session.sendall(wire.encode(wire.Output(0, _EVERYTHING + b"full screen")))
        wait_until(lambda: tmux.state().startswith("1 1 1 0 1 1 1 0 0 2 9"), tmux.state)
        tmux.run("send-keys", "-t", "0", "C-\\", "d")
        wait_until(lambda: "[detached from work]" in tmux.text(), tmux.text)
        wait_until(lambda: tmux.state() == fresh, tmux.state)
    tmux.run("send-keys", "-t", "0", "echo he''llo", "Enter")
    wait_until(lambda: "\nhello\n" in tmux.text(), tmux.text)  # no colour, no line drawing characters
